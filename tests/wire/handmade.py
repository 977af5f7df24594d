"""Envelopes made by hand from docs/signalling.md, with none of our code: right ones and wrong ones."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass, replace
from hashlib import blake2b, sha256, sha512

from nacl.bindings import (
    crypto_box,
    crypto_core_ed25519_add,
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_base,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_secretbox,
    crypto_sign,
    crypto_sign_ed25519_pk_to_curve25519,
    crypto_sign_seed_keypair,
)

ORDER_2 = bytes([0xEC]) + b"\xff" * 30 + b"\x7f"
"""The point (0, -1)."""
ORDER_4 = bytes(32)
"""A point with y = 0."""
LOW_ORDER_X25519 = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]


@dataclass(frozen=True)
class Parts:
    """All that one letter is made of; each part can be put wrong by `replace`."""

    network_key: bytes
    signing_seed: bytes
    sender: bytes
    to: bytes
    """32 zero bytes in an announcement."""
    kind: int
    session: bytes
    sequence: int
    time_ms: int
    payload: bytes
    version: int = 1
    length: int | None = None
    """What stands in the length field, where it is not true."""
    filler: bytes = b""
    """What stands first behind the signature, where zeros belong."""
    signature: bytes | None = None

    def signed(self) -> bytes:
        """The bytes under the signature."""
        return b"".join(
            [
                b"ssb-rtc-1 envelope\0",
                sha256(self.network_key).digest(),
                self.sender,
                self.to,
                struct.pack(">B", self.kind),
                self.session,
                struct.pack(">IQ", self.sequence, self.time_ms),
                self.payload,
            ]
        )

    def made_signature(self) -> bytes:
        """The given one, or the right one."""
        if self.signature is not None:
            return self.signature
        secret = crypto_sign_seed_keypair(self.signing_seed)[1]
        return crypto_sign(self.signed(), secret)[:64]

    def plain(self, size: int) -> bytes:
        """The letter in a block of `size` bytes (that of what is sealed, without what sealing adds)."""
        length = len(self.payload) if self.length is None else self.length
        head = struct.pack(">BB", self.version, self.kind) + self.sender + self.session
        head += struct.pack(">IQH", self.sequence, self.time_ms, length)
        return (head + self.payload + self.made_signature() + self.filler).ljust(size, b"\0")


def text(block: bytes) -> str:
    """The body on the hub."""
    return '"' + base64.b64encode(block).decode() + '"'


def sealed(plain: bytes, receiver: bytes, seed: bytes) -> bytes:
    """libsodium's sealed box to an Ed25519 identity."""
    return sealed_to_curve(plain, crypto_sign_ed25519_pk_to_curve25519(receiver), seed)


def sealed_to_curve(plain: bytes, curve: bytes, seed: bytes) -> bytes:
    """libsodium's sealed box to an X25519 key."""
    ephemeral = crypto_scalarmult_base(seed)
    return ephemeral + crypto_box(plain, blake2b(ephemeral + curve, digest_size=24).digest(), curve, seed)


def announced(plain: bytes, network_key: bytes, nonce: bytes) -> bytes:
    """What everybody in the network can open."""
    key = blake2b(b"ssb-rtc-1 announce key\0", key=network_key, digest_size=32).digest()
    return nonce + crypto_secretbox(plain, nonce, key)


def of_mixed_order(parts: Parts) -> Parts:
    """The same letter by a key with a part of order four: the signature holds, and no box can be sealed to it.

    A part of order two would pass for none in libsodium up to 1.0.20 (CVE-2025-69277).
    """
    scalar = crypto_core_ed25519_scalar_reduce(sha512(parts.signing_seed).digest())
    sender = crypto_core_ed25519_add(crypto_scalarmult_ed25519_base_noclamp(scalar), ORDER_4)
    parts = replace(parts, sender=sender)
    for count in range(256):
        nonce = crypto_core_ed25519_scalar_reduce(sha512(parts.signing_seed + bytes([count])).digest())
        point = crypto_scalarmult_ed25519_base_noclamp(nonce)
        challenge = crypto_core_ed25519_scalar_reduce(sha512(point + sender + parts.signed()).digest())
        # The part of order four falls out where the challenge is a multiple of four.
        if challenge[0] % 4 == 0:
            proof = crypto_core_ed25519_scalar_add(nonce, crypto_core_ed25519_scalar_mul(challenge, scalar))
            return replace(parts, signature=point + proof)
    raise AssertionError("one challenge in four is a multiple of four")
