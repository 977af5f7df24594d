"""The code by which a person invites a friend: who invites, where to meet, and a secret that is good for a while.

    ssbjoin1 and base32 (RFC 4648, without padding) of:

    version 1 | network 4 | key 32 | secret 16 | last day 2 | hubs 1 | (length 1 | hub) ...
      | length 1 | address | check 4

Case, blanks, line breaks and hyphens don't matter, so that a code survives mail programs and being read aloud. What the
secret is good for is derived from it (`Welcome.inbox`, `.token`, `.guest_seed`), so that who keeps one of them does not
hold the others. docs/invitations.md says what whoever sees a code can do with it.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from typing import Final
from urllib.parse import urlsplit

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.types import PeerId
from ssb_rtc.wire.envelope import raw_key, require_bytes
from ssb_rtc.wire.hub_url import SWARM, is_loopback

PREFIX: Final = "ssbjoin1"
"""The last character stands for the version, too: a code of a later one is not taken for a mistyped one."""
VERSION: Final = 1
KEY_BYTES: Final = 32
SECRET_BYTES: Final = 16
HUBS_MAX: Final = 3
TEXT_BYTES_MAX: Final = 120
"""Of a hub or an address."""
CODE_LIMIT_CHARS: Final = 1_000
LAST_DAY_MAX: Final = 0xFFFF
DAYS_MAX: Final = 365
"""A code is good for so long at most; one that says more is not used."""
PROOF_BYTES: Final = 16

_NETWORK_BYTES: Final = 4
_CHECK_BYTES: Final = 4
_HTTPS: Final = "https://"
_HEAD: Final = struct.Struct(f">B{_NETWORK_BYTES}s{KEY_BYTES}s{SECRET_BYTES}sH")
_IGNORED: Final = str.maketrans("", "", " \t\r\n-\u00ad\u200b\ufeff")
_WRONG: Final = "copy it again as a whole, from the first character to the last"
_NOT_WELL: Final = "this invitation was not made well: ask for another one"
_ADDRESS: Final = re.compile(r"(?:net:|wss?://)[^/?#~;@\s]+~shs:[A-Za-z0-9+/]{43}=")
"""Where a peer listens on a network. No path: with one, whoever makes codes has others ask any server anything."""


@dataclass(frozen=True, slots=True)
class Welcome:
    """A code taken apart. Keep the secret as secret as a password until it is used."""

    network: bytes
    """The first 4 bytes of SHA-256 of the network key."""
    key: bytes
    """Who invites: 32 bytes, Ed25519."""
    secret: bytes = field(repr=False)
    """16 random bytes."""
    last_day: int
    """The code is good until the end of this day: days since 1970-01-01 UTC."""
    hubs: tuple[str, ...] = ()
    """Where to meet; as written down, not checked."""
    address: str = ""
    """A multiserver address of who invites, or nothing. Its key is that of the code, and so is not written twice."""

    @property
    def host(self) -> PeerId:
        """Who invites."""
        return PeerId(f"@{base64.b64encode(self.key).decode()}.ed25519")

    @property
    def id(self) -> str:
        """Names the code in lists; nothing can be done with it."""
        return self._derived(b"id").hex()[:8]

    @property
    def inbox(self) -> bytes:
        """The secret of the inbox where holders of the code knock: 32 bytes."""
        return self._derived(b"inbox")

    @property
    def token(self) -> bytes:
        """What the holder shows over a link: 32 bytes."""
        return self._derived(b"token")

    @property
    def guest_seed(self) -> bytes:
        """The seed of the key under which the holder calls an address: 32 bytes."""
        return self._derived(b"guest")

    def is_over(self, wall_s: float) -> bool:
        """Whether its last day has passed."""
        return wall_s >= (self.last_day + 1) * 86_400

    def _derived(self, what: bytes) -> bytes:
        return blake2b(b"ssb-rtc welcome\0" + what + b"\0" + self.key, key=self.secret, digest_size=32).digest()


def network_mark(network_key: bytes) -> bytes:
    """What a code says of its network."""
    return sha256(network_key).digest()[:_NETWORK_BYTES]


def token_hash(token: bytes) -> bytes:
    """What the inviter keeps of a token: who reads it there can't use the code."""
    return sha256(b"ssb-rtc welcome token hash\0" + token).digest()


def proof(inbox: bytes, sender: PeerId, session: bytes, ephemeral: bytes) -> bytes:
    """What stands in a knock of somebody who holds a code: 16 bytes that are of no use in any other knock."""
    require_bytes("an inbox secret", inbox, 32)
    said = b"ssb-rtc-1 welcome knock\0" + raw_key(sender) + session + ephemeral
    return blake2b(said, key=inbox, digest_size=PROOF_BYTES).digest()


def format_welcome(welcome: Welcome) -> str:
    """The code, in lower case. Raises MisuseError where something in it is too long."""
    require_bytes("a network mark", welcome.network, _NETWORK_BYTES)
    require_bytes("a key", welcome.key, KEY_BYTES)
    require_bytes("a secret", welcome.secret, SECRET_BYTES)
    if not 0 <= welcome.last_day <= LAST_DAY_MAX or len(welcome.hubs) > HUBS_MAX:
        raise MisuseError(f"a code has at most {HUBS_MAX} hubs, and a day before the year 2149")
    head = _HEAD.pack(VERSION, welcome.network, welcome.key, welcome.secret, welcome.last_day)
    if any(_spelled_out(hub.removeprefix(_HTTPS)) != hub for hub in welcome.hubs):
        raise MisuseError("a hub in a code is named by its whole address, with https:// or http://")
    hubs = b"".join(_text(hub.removeprefix(_HTTPS)) for hub in welcome.hubs)
    address = welcome.address.removesuffix(_key_part(welcome.key))
    if _with_key(address, welcome.key) != welcome.address:
        raise MisuseError("an address in a code is one of its maker's, with ~shs: and the key")
    body = head + bytes([len(welcome.hubs)]) + hubs + _text(address)
    encoded = base64.b32encode(body + _check(body)).decode().rstrip("=").lower()
    return PREFIX + encoded


def is_welcome(text: str) -> bool:
    """Whether this begins like such a code, of whatever version; if not, it may be one of npm ssb-invite."""
    return text[: 2 * CODE_LIMIT_CHARS].strip(" \t\r\n\"'<>").lower().startswith(PREFIX[:-1])


def parse_welcome(text: str) -> Welcome:
    """Takes a code apart. Raises ConfigFault, which never quotes it: a mistyped code is most of a secret."""
    if len(text) > CODE_LIMIT_CHARS:
        raise ConfigFault(f"an invitation has at most {CODE_LIMIT_CHARS} characters, this text has {len(text)}")
    code = text.strip(" \t\r\n\"'<>").translate(_IGNORED).lower()
    if not code.startswith(PREFIX[:-1]):
        raise ConfigFault(f"this is no invitation: one begins with {PREFIX}; {_WRONG}")
    if not code.startswith(PREFIX):
        raise ConfigFault("this invitation comes from another version of ssb-rtc: update this one, or ask for another")
    body = _checked(code[len(PREFIX) :])
    try:
        return _parsed(body)
    except (IndexError, struct.error, UnicodeDecodeError, ValueError):
        # The check holds, so it was written so.
        raise ConfigFault(_NOT_WELL) from None


def require_as_made(welcome: Welcome, wall_s: float) -> None:
    """Refuses what no maker writes, and whoever makes codes by hand could: for whoever is about to use one.

    That is a hub where we would be announced by name or with somebody's password, one that is a path of some server on
    this machine, an address that is no place of a
    network or leads to somebody else, and a year or more of trying. Raises ConfigFault.
    """
    address = welcome.address
    good_address = not address or (_ADDRESS.fullmatch(address) and address.endswith(_key_part(welcome.key)))
    if not good_address or any(_is_odd(hub) for hub in welcome.hubs):
        raise ConfigFault(_NOT_WELL)
    if welcome.is_over(wall_s):
        return
    if welcome.last_day > wall_s // 86_400 + DAYS_MAX + 1:
        raise ConfigFault(
            f"this invitation claims to be good for more than {DAYS_MAX} days, which none is: ask for another one, or "
            "set this machine's clock"
        )


def _is_odd(hub: str) -> bool:
    try:
        parts = urlsplit(hub)
        # On this machine all sorts of programs listen, and a path would be a question of the maker's choice to one.
        asks = parts.scheme == "http" and is_loopback(parts.hostname or "") and parts.path.strip("/") != ""
    except ValueError:
        return True
    return asks or "@" in parts.netloc or hub.lower().startswith(SWARM)


def _checked(encoded: str) -> bytes:
    if not encoded.isascii() or not encoded.isalnum():
        raise ConfigFault(f"this invitation holds a character that none has: {_WRONG}")
    wrong = sorted({character for character in encoded if character in "0189"})
    if wrong:
        # Single digits that occur in no code give nothing away.
        raise ConfigFault(f"an invitation holds no {' and no '.join(wrong)}: perhaps it is an o, l, b or g; {_WRONG}")
    try:
        whole = base64.b32decode(encoded.upper() + "=" * (-len(encoded) % 8))
    except (binascii.Error, ValueError):
        raise ConfigFault(f"a part of this invitation is missing: {_WRONG}") from None
    body, check = whole[:-_CHECK_BYTES], whole[-_CHECK_BYTES:]
    canonical = base64.b32encode(whole).decode().rstrip("=").lower()
    if len(whole) <= _CHECK_BYTES or _check(body) != check or canonical != encoded:
        raise ConfigFault(f"a character of this invitation is wrong, or a part is missing: {_WRONG}")
    return body


def _parsed(body: bytes) -> Welcome:
    version, network, key, secret, last_day = _HEAD.unpack_from(body)
    at, hubs = _HEAD.size + 1, []
    if version != VERSION or body[_HEAD.size] > HUBS_MAX:
        raise ValueError("another layout")
    for _ in range(body[_HEAD.size]):
        hub, at = _read(body, at)
        if not hub:
            raise ValueError("an empty hub")
        hubs.append(_spelled_out(hub))
    address, at = _read(body, at)
    if at != len(body):
        raise ValueError("something behind it")
    return Welcome(network, key, secret, last_day, tuple(hubs), _with_key(address, key))


def _key_part(key: bytes) -> str:
    return f"~shs:{base64.b64encode(key).decode()}"


def _with_key(address: str, key: bytes) -> str:
    return address if not address or "~shs:" in address else address + _key_part(key)


def _spelled_out(hub: str) -> str:
    return hub if "://" in hub else _HTTPS + hub


def _read(body: bytes, at: int) -> tuple[str, int]:
    length = body[at]
    raw = body[at + 1 : at + 1 + length]
    text = raw.decode()
    if len(raw) != length or length > TEXT_BYTES_MAX or not text.isprintable():
        raise ValueError("no text")
    return text, at + 1 + length


def _text(text: str) -> bytes:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raw = b"x" * (TEXT_BYTES_MAX + 1)
    if len(raw) > TEXT_BYTES_MAX or not text.isprintable():
        raise MisuseError(f"a hub or an address in a code has at most {TEXT_BYTES_MAX} printable bytes")
    return bytes([len(raw)]) + raw


def _check(body: bytes) -> bytes:
    return blake2b(body, key=b"ssb-rtc welcome check", digest_size=_CHECK_BYTES).digest()
