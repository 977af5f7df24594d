"""Peers and hubs by names that a person can read, and the way back."""

from __future__ import annotations

import base64

from ssb_rtc.manager.state import Now, State, initial
from ssb_rtc.types import HubUrl, PeerId


def peer_id(byte: int, second: int = 0) -> PeerId:
    """The peer whose raw key begins with these bytes: a greater byte is a greater key."""
    return PeerId("@" + base64.b64encode(bytes([byte, second]) + bytes([byte]) * 30).decode() + ".ed25519")


PEERS = {
    "amy": peer_id(0x10),
    "bob": peer_id(0x20),
    "carol": peer_id(0x30),
    "dave": peer_id(0x40),
    "me": peer_id(0x80),
    "xena": peer_id(0xE0),
    "yuri": peer_id(0xE8),
    "zoe": peer_id(0xF0),
}
"""In the order of their keys: `me` outranks those before it and gives way to those after it."""

ME, AMY, BOB, CAROL, DAVE, ZOE = (PEERS[name] for name in ("me", "amy", "bob", "carol", "dave", "zoe"))
ONE, TWO, THREE = (HubUrl(f"https://{name}.example") for name in ("one", "two", "three"))
HUBS = {"one": ONE, "two": TWO, "three": THREE}

START = Now(1_000.0, 1_700_000_000.0)


def at(mono_s: float) -> Now:
    """Both clocks so many seconds after the start."""
    return Now(START.mono_s + mono_s, START.wall_s + mono_s)


def fresh(seed: int = 1) -> State:
    """The state of `me` with the default settings."""
    return initial(ME, seed=seed, now=START)
