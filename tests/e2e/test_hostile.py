"""What strangers can do to a running peer: it lives, answers, says nothing of a bug, leaks nothing, stays small."""

from __future__ import annotations

import asyncio
import base64
import random
import secrets
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.errors import HandshakeRefused, LinkClosed, RemoteCallError, SsbRtcError
from ssb_rtc.feeds import canonical
from ssb_rtc.feeds.keys import Keys, keys_from_seed, sign
from ssb_rtc.feeds.message import create, message_id
from ssb_rtc.transport.link import Duplex, Link
from ssb_rtc.types import JsonObject
from ssb_rtc.wire.packets import BodyKind, encode_parts
from ssb_rtc.wire.rpc import Kind, RawJson
from tests.e2e.hostile import (
    Caller,
    Refuses,
    Victim,
    attacker_keys,
    calling,
    header,
    linked,
    victim,
)
from tests.e2e.processes import eventually, run, run_ok


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    """One peer with an open port, which takes all the attacks on that."""
    with victim(tmp_path_factory.mktemp("hostile") / "peer", "--net", "0") as running:
        yield running


async def good_caller(peer: Victim) -> None:
    """Somebody decent still gets through."""
    async with linked(peer) as link:
        assert (await link.call("whoami")) == {"id": peer.id}


# --- before the handshake is done ---------------------------------------------------------------------------------


async def test_garbage_instead_of_a_handshake(peer: Victim) -> None:
    chance = random.Random(1)
    async with peer.watched():
        for size in (1, 63, 64, 65, 112, 1_000, 100_000):
            async with calling(peer) as caller:
                await caller.say(chance.randbytes(size))
                if size >= 64:
                    await caller.hung_up()
        for text in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3, b"\x16\x03\x01" + bytes(200), b"\xff" * 64):
            async with calling(peer) as caller:
                await caller.say(text)
                await caller.hung_up()
        await good_caller(peer)
