"""Envelopes of the sealed dialect: one signed letter, padded and sealed: a hub sees random bytes of three sizes.

    version 1 | kind 1 | from 32 | session 16 | sequence 4 | time 8 | length 2 | payload | signature 64 | zeros

A letter to one peer lies in a libsodium sealed box to its key; an announcement in a secretbox under a key of the
network, which on the main network everybody has. The Ed25519 signature covers network, sender, receiver and all that
the letter says, so none can be turned to another receiver, network or purpose. docs/signalling.md has the layout to the
byte, and what it protects against whom; tests/vectors/envelopes.json has examples.

Time and randomness are arguments. What comes in raises SignalInvalid, or is a letter that its sender has signed. That
says nothing about when: see `is_fresh`.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from enum import IntEnum, unique
from functools import lru_cache
from hashlib import blake2b, sha256
from typing import Final, Protocol

from nacl.bindings import (
    crypto_box,
    crypto_box_seal_open,
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_secretbox,
    crypto_secretbox_open,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_ed25519_sk_to_curve25519,
    crypto_sign_open,
)
from nacl.exceptions import CryptoError

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.types import PeerId
from ssb_rtc.wire.swarm import is_peer_id

VERSION: Final = 1
BLOCK_BYTES: Final = (512, 2_048, 8_192)
"""The sizes of what a hub carries, before base64."""
SESSION_BYTES: Final = 16
KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
NONCE_BYTES: Final = 24
SEAL_BYTES: Final = 48
"""What a sealed box adds: an ephemeral key and a tag."""
SIGNATURE_BYTES: Final = 64
WINDOW_S: Final = 900.0
"""How far a letter's time may be from ours where its time decides: see `is_fresh`."""

_HEAD: Final = struct.Struct(">BB32s16sIQH")
_FRAME_BYTES: Final = _HEAD.size + SIGNATURE_BYTES
_SECRETBOX_BYTES: Final = NONCE_BYTES + 16
_SIGNED_PREFIX: Final = b"ssb-rtc-1 envelope\0"
_ANNOUNCE_PREFIX: Final = b"ssb-rtc-1 announce key\0"
_EVERYBODY: Final = bytes(KEY_BYTES)
# Quotes, and base64 with one "=" at its end: all three sizes leave a remainder of two bytes.
_BLOCK_OF_CHARS: Final = {(size + 2) // 3 * 4 + 2: size for size in BLOCK_BYTES}
_CURVE_KEYS_MAX: Final = 1_024

PAYLOAD_MAX_BYTES: Final = BLOCK_BYTES[-1] - SEAL_BYTES - _FRAME_BYTES
ANNOUNCE_PAYLOAD_MAX_BYTES: Final = BLOCK_BYTES[0] - _SECRETBOX_BYTES - _FRAME_BYTES


@unique
class Kind(IntEnum):
    """What a letter is for. Up to 15 they go to one peer, from 16 on to everybody."""

    KNOCK = 1
    OFFER = 2
    ANSWER = 3
    CANDIDATE = 4
    BUSY = 5
    CLOCK = 6
    ANNOUNCE = 16
    LEAVE = 17

    @property
    def is_public(self) -> bool:
        """Travels as an announcement, not in an envelope to one peer."""
        return self >= Kind.ANNOUNCE


@dataclass(frozen=True, slots=True)
class Letter:
    """What was sealed. (sender, session, sequence) names it, whichever hub it came through."""

    kind: Kind
    sender: PeerId
    session: bytes
    """16 random bytes, the same for all letters of one attempt."""
    sequence: int
    """Counts the sender's letters in this session, from 0; below 2^32."""
    time_ms: int
    """The sender's wall clock, milliseconds since 1970."""
    payload: bytes
    """Made and parsed by `letters`."""


class IdentityKeys(Protocol):
    """An Ed25519 key pair; `feeds.keys.Keys` is one."""

    @property
    def public(self) -> bytes:
        """32 bytes."""

    @property
    def secret(self) -> bytes:
        """64 bytes: seed and public key."""


def seal(letter: Letter, keys: IdentityKeys, to: PeerId, network_key: bytes, seed: bytes) -> str:
    """The body that carries this letter to one peer: a JSON string. `seed` is 32 fresh random bytes, used only here.

    Raises MisuseError where the letter is not ours, too large, or for everybody, and where `to` is no usable key.
    """
    if letter.kind.is_public:
        raise MisuseError(f"{letter.kind.name} is an announcement: seal_announcement seals it")
    receiver = raw_key(to)
    block = next((size for size in BLOCK_BYTES if len(letter.payload) <= size - SEAL_BYTES - _FRAME_BYTES), None)
    if block is None:
        raise MisuseError(f"a payload has at most {PAYLOAD_MAX_BYTES} bytes, this one {len(letter.payload)}")
    plain = _plain(letter, keys, receiver, network_key)
    try:
        curve = _curve_key(receiver)
    except CryptoError:
        raise MisuseError("nothing can be sealed to this peer: its id is no point of the curve") from None
    return _text(seal_to(curve, plain.ljust(block - SEAL_BYTES, b"\0"), seed))


def open_envelope(text: str, keys: IdentityKeys, network_key: bytes) -> Letter:
    """The letter to us in what a hub carried, its sender proven. Raises SignalInvalid for everything else."""
    box = _block(text)
    secret = crypto_sign_ed25519_sk_to_curve25519(keys.secret)
    try:
        plain = crypto_box_seal_open(box, _curve_key(keys.public), secret)
    except CryptoError:
        raise SignalInvalid("an envelope is not for us, or was changed") from None
    letter = _letter(plain, keys.public, network_key)
    if letter.kind.is_public:
        raise SignalInvalid(f"an envelope holds an announcement ({letter.kind.name})")
    return letter


def seal_announcement(letter: Letter, keys: IdentityKeys, network_key: bytes, nonce: bytes) -> str:
    """The body that carries this letter to everybody in the network. `nonce` is 24 fresh random bytes.

    Raises MisuseError where the letter is not ours, too large, or of a kind for one peer.
    """
    if not letter.kind.is_public:
        raise MisuseError(f"{letter.kind.name} is for one peer: seal seals it")
    if len(letter.payload) > ANNOUNCE_PAYLOAD_MAX_BYTES:
        raise MisuseError(f"an announcement has at most {ANNOUNCE_PAYLOAD_MAX_BYTES} bytes")
    require_bytes("nonce", nonce, NONCE_BYTES)
    plain = _plain(letter, keys, _EVERYBODY, network_key).ljust(BLOCK_BYTES[0] - _SECRETBOX_BYTES, b"\0")
    return _text(nonce + crypto_secretbox(plain, nonce, _announce_key(network_key)))


def open_announcement(text: str, network_key: bytes) -> Letter:
    """The announcement in what a hub carried, its sender proven. Raises SignalInvalid for everything else."""
    box = _block(text)
    if len(box) != BLOCK_BYTES[0]:
        raise SignalInvalid(f"an announcement has {BLOCK_BYTES[0]} bytes, not {len(box)}")
    try:
        plain = crypto_secretbox_open(box[NONCE_BYTES:], box[:NONCE_BYTES], _announce_key(network_key))
    except CryptoError:
        raise SignalInvalid("this is no announcement of our network, or it was changed") from None
    letter = _letter(plain, _EVERYBODY, network_key)
    if not letter.kind.is_public:
        raise SignalInvalid(f"an announcement holds a letter for one peer ({letter.kind.name})")
    return letter


def looks_sealed(text: object) -> bool:
    """Whether this has the length and the spelling of what a hub carries; who can't open it sees no more of it."""
    try:
        return isinstance(text, str) and bool(_block(text))
    except SignalInvalid:
        return False


def is_fresh(letter: Letter, wall_ms: float) -> bool:
    """Whether the letter's time is within 15 min of ours: required of a knock, an announcement and a goodbye.

    The other kinds are answers: they are fresh because they carry the session of a letter that we sent or took lately,
    and their time decides nothing.
    """
    return abs(letter.time_ms - wall_ms) <= WINDOW_S * 1000


def seal_to(curve_key: bytes, plain: bytes, seed: bytes) -> bytes:
    """libsodium's sealed box to an X25519 key, but with the ephemeral secret (32 random bytes) as an argument.

    Raises MisuseError for a key to which nothing can be sealed: `is_curve_key` tells.
    """
    require_bytes("seed", seed, SEED_BYTES)
    require_bytes("curve_key", curve_key, KEY_BYTES)
    ephemeral = crypto_scalarmult_base(seed)
    nonce = blake2b(ephemeral + curve_key, digest_size=NONCE_BYTES).digest()
    try:
        return ephemeral + crypto_box(plain, nonce, curve_key, seed)
    except CryptoError:
        raise MisuseError("nothing can be sealed to this X25519 key: it has a low order") from None


def open_sealed(box: bytes, curve_secret: bytes) -> bytes:
    """What was sealed to this X25519 secret's public key. Raises SignalInvalid."""
    require_bytes("curve_secret", curve_secret, KEY_BYTES)
    if len(box) < SEAL_BYTES:
        raise SignalInvalid("a sealed box is too short")
    try:
        return crypto_box_seal_open(box, crypto_scalarmult_base(curve_secret), curve_secret)
    except CryptoError:
        raise SignalInvalid("a sealed box is not for this session's key, or was changed") from None


def is_curve_key(key: bytes) -> bool:
    """Whether something can be sealed to this X25519 key: 32 bytes, and not of a low order."""
    try:
        return len(key) == KEY_BYTES and bool(crypto_scalarmult(_ANY_SECRET, key))
    except CryptoError:
        return False


# Every secret is clamped to a multiple of eight, so each of them gives zero with a point of low order.
_ANY_SECRET: Final = bytes(KEY_BYTES)


def raw_key(peer: PeerId) -> bytes:
    """The 32 bytes of a peer's id. Raises MisuseError for what is none."""
    if not is_peer_id(peer):
        raise MisuseError("a peer is named by its feed id, @<44 characters>.ed25519")
    return base64.b64decode(peer[1:45])


def require_bytes(name: str, value: bytes, size: int) -> None:
    """Raises MisuseError where one of our own values has another size."""
    if len(value) != size:
        raise MisuseError(f"{name} must be {size} bytes, not {len(value)}")


def _plain(letter: Letter, keys: IdentityKeys, receiver: bytes, network_key: bytes) -> bytes:
    """The signed letter, without padding."""
    require_bytes("session", letter.session, SESSION_BYTES)
    if raw_key(letter.sender) != keys.public:
        raise MisuseError("a letter is signed by its sender's own key")
    try:
        head = _HEAD.pack(
            VERSION,
            letter.kind,
            keys.public,
            letter.session,
            letter.sequence,
            letter.time_ms,
            len(letter.payload),
        )
    except struct.error:
        raise MisuseError("a letter's sequence has 32 bits, its time 64") from None
    signed = _signed(letter, keys.public, receiver, network_key)
    return head + letter.payload + crypto_sign(signed, keys.secret)[:SIGNATURE_BYTES]


def _letter(plain: bytes, receiver: bytes, network_key: bytes) -> Letter:
    """Takes an opened block apart and proves who signed it. Raises SignalInvalid."""
    version, kind, sender, session, sequence, time_ms, length = _HEAD.unpack_from(plain)
    if version != VERSION:
        raise SignalInvalid(f"a letter of version {version}: we speak {VERSION}")
    end = _FRAME_BYTES + length
    if end > len(plain):
        raise SignalInvalid("a letter's payload is longer than its block")
    if plain.count(0, end) != len(plain) - end:
        raise SignalInvalid("a letter's padding is not zero")
    try:
        kind = Kind(kind)
    except ValueError:
        raise SignalInvalid(f"a letter of an unknown kind ({kind})") from None
    payload, signature = plain[_HEAD.size : end - SIGNATURE_BYTES], plain[end - SIGNATURE_BYTES : end]
    letter = Letter(kind, _peer(sender), session, sequence, time_ms, payload)
    try:
        crypto_sign_open(signature + _signed(letter, sender, receiver, network_key), sender)
        # A key of mixed order can sign, and nothing could be sealed to it in answer.
        _curve_key(sender)
    except CryptoError:
        raise SignalInvalid("a letter is not signed by its sender, for this receiver and network") from None
    return letter


def _signed(letter: Letter, sender: bytes, receiver: bytes, network_key: bytes) -> bytes:
    numbers = struct.pack(">B16sIQ", letter.kind, letter.session, letter.sequence, letter.time_ms)
    return _SIGNED_PREFIX + network_id(network_key) + sender + receiver + numbers + letter.payload


def network_id(network_key: bytes) -> bytes:
    """What names a network where its key must not stand: 32 bytes."""
    require_bytes("network_key", network_key, KEY_BYTES)
    return sha256(network_key).digest()


def _announce_key(network_key: bytes) -> bytes:
    require_bytes("network_key", network_key, KEY_BYTES)
    return blake2b(_ANNOUNCE_PREFIX, key=network_key, digest_size=KEY_BYTES).digest()


@lru_cache(_CURVE_KEYS_MAX)
def _curve_key(public: bytes) -> bytes:
    """The X25519 form of an identity, which costs as much as a signature: peers come back. Raises CryptoError."""
    return bytes(crypto_sign_ed25519_pk_to_curve25519(public))


def _block(text: str) -> bytes:
    """The bytes in a body of one of the three sizes, in its only spelling: quotes, standard base64, no escapes."""
    size = _BLOCK_OF_CHARS.get(len(text))
    if size is None or text[0] != '"' or text[-1] != '"':
        raise SignalInvalid("this is no envelope: one is a JSON string of 686, 2,734 or 10,926 characters")
    try:
        block = binascii.a2b_base64(text[1:-1], strict_mode=True)
    except ValueError:
        raise SignalInvalid("an envelope is not base64") from None
    if len(block) != size or _text(block) != text:
        raise SignalInvalid("an envelope's base64 is not spelt in the usual way")
    return block


def _text(block: bytes) -> str:
    return f'"{base64.b64encode(block).decode()}"'


def _peer(public: bytes) -> PeerId:
    return PeerId(f"@{base64.b64encode(public).decode()}.ed25519")
