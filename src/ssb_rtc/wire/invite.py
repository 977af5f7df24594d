"""Invite codes, as npm ssb-invite writes and reads them: where a peer is, its key, and the seed of a key that it knows.

    example.com:8008:@KEY.ed25519~SEED             legacy, for net
    net:example.com:8008~shs:KEY:SEED              as a multiserver address
    ws://example.com:8989~shs:KEY:SEED

Whoever has the code can use it: the seed makes the key pair with which the peer is called.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.wire.address import Address, NetTarget, Protocol, WsTarget, format_addresses, net_address, parse, target

SEED_BYTES: Final = 32
CODE_LIMIT_CHARS: Final = 1024

_LEGACY: Final = re.compile(
    r"(?P<host>[!-~]+):(?P<port>\d{1,5}):@(?P<key>[A-Za-z0-9/+]{43}=)\.ed25519~(?P<seed>[!-~]+)"
)


@dataclass(frozen=True, slots=True)
class Invite:
    """A code that was taken apart. Keep the seed as secret as a password."""

    address: str
    """The peer's own multiserver address, with its key and without the seed."""
    key: bytes
    seed: bytes

    def __repr__(self) -> str:
        return f"Invite({self.address})"


def parse_invite(text: str) -> Invite:
    """Takes a code apart; quotes around it, blanks and a `#...` behind it don't matter. Raises ConfigFault."""
    # What follows is never quoted back: a mistyped code is most of a secret.
    if len(text) > CODE_LIMIT_CHARS:
        raise ConfigFault(f"an invite code has at most {CODE_LIMIT_CHARS} characters, this text has {len(text)}")
    code = text.strip().strip("\"'").partition("#")[0]
    legacy = _LEGACY.fullmatch(code)
    if legacy is not None:
        return _legacy(legacy)
    try:
        addresses = parse(code)
        to = target(addresses[0])
    except (ConfigFault, MisuseError):
        raise _no_code() from None
    steps = addresses[0].protocols
    if len(addresses) != 1 or not isinstance(to, NetTarget | WsTarget) or to.key is None or len(steps) != 2:
        raise _no_code()
    if len(steps[1].data) != 2:
        raise _no_code()
    bare = Address((steps[0], Protocol("shs", (base64.b64encode(to.key).decode(),))))
    return Invite(str(bare), to.key, _seed(steps[1].data[1]))


def format_invite(address: str, seed: bytes, *, modern: bool = False) -> str:
    """The code for our own address (net, ws or wss, with our key); that of net is legacy unless `modern` is set.

    Raises MisuseError for other addresses.
    """
    if len(seed) != SEED_BYTES:
        raise MisuseError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    [found] = parse(address)
    to = target(found)
    if not isinstance(to, NetTarget | WsTarget) or to.key is None:
        raise MisuseError(f"{address}: others can't be invited to this kind of address")
    seed_text = base64.b64encode(seed).decode()
    key_text = base64.b64encode(to.key).decode()
    if isinstance(to, NetTarget) and not modern:
        return f"{to.host}:{to.port}:@{key_text}.ed25519~{seed_text}"
    return format_addresses([Address((found.protocols[0], Protocol("shs", (key_text, seed_text))))])


def _legacy(match: re.Match[str]) -> Invite:
    port = int(match["port"])
    key = _decoded(match["key"])
    if not 0 < port <= 65_535 or key is None:
        raise _no_code()
    try:
        address = net_address(match["host"].removeprefix("[").removesuffix("]"), port, key)
        to = target(parse(address)[0])
    except (ConfigFault, MisuseError):
        raise _no_code() from None
    if not isinstance(to, NetTarget):
        raise _no_code()
    return Invite(address, key, _seed(match["seed"]))


def _seed(text: str) -> bytes:
    seed = _decoded(text)
    if seed is None:
        raise _no_code()
    return seed


def _decoded(text: str) -> bytes | None:
    """32 bytes of canonical base64."""
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == SEED_BYTES and base64.b64encode(found).decode() == text else None


def _no_code() -> ConfigFault:
    return ConfigFault(
        "this is no invite code; one looks like example.com:8008:@<44 characters>.ed25519~<44 characters>, "
        "or like ws://example.com:8989~shs:<44 characters>:<44 characters>"
    )
