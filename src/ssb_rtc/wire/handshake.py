"""The secret handshake, both roles, without I/O: four packets prove both keys and agree on the box stream's keys.

    client                                   server
      challenge 64  ----------------------->
                    <-----------------------  challenge 64
      hello    112  ----------------------->            proves the client's key, to this server's key only
                    <-----------------------  accept 80  proves the server's key

Feed each machine exactly `wants` bytes at a time; send what `start` and `receive` return. Byte-compatible with npm
secret-handshake 1.1.21 (Tarr, "Designing a Secret Handshake", 2015). A machine that refused stays dead: close the way.
"""

from __future__ import annotations

import hmac
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final, NoReturn

from nacl.bindings import (
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

from ssb_rtc.errors import HandshakeRefused, MisuseError

KEY_BYTES: Final = 32
CHALLENGE_BYTES: Final = 64
HELLO_BYTES: Final = 112
ACCEPT_BYTES: Final = 80
NONCE_BYTES: Final = 24
CURVE_KEYS_MAX: Final = 256

_ZERO_NONCE: Final = bytes(NONCE_BYTES)
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a finished handshake agreed on: two keys of 32 bytes, two first nonces of 24 bytes, and who is there."""

    encrypt_key: bytes = field(repr=False)
    encrypt_nonce: bytes = field(repr=False)
    decrypt_key: bytes = field(repr=False)
    decrypt_nonce: bytes = field(repr=False)
    remote_public: bytes
    """The Ed25519 public key that the other side has proved to hold."""


def authenticator(message: bytes, network_key: bytes) -> bytes:
    """libsodium's crypto_auth: HMAC-SHA512 cut to 32 bytes."""
    return hmac.digest(network_key, message, "sha512")[:32]


def ephemeral_keys(ephemeral_seed: bytes) -> tuple[bytes, bytes]:
    """The Curve25519 (public, secret) pair of one handshake.

    JavaScript seeds an Ed25519 pair and converts both halves. The public half comes out the same from the secret one,
    at a third of the cost; of an Ed25519 secret the conversion reads only the seed.
    """
    secret = crypto_sign_ed25519_sk_to_curve25519(ephemeral_seed + bytes(32))
    return crypto_scalarmult_base(secret), secret


@lru_cache(CURVE_KEYS_MAX)
def _curve_key(public: bytes) -> bytes:
    """The Curve25519 form of somebody's long-term key, which costs as much as a signature: peers come back."""
    return bytes(crypto_sign_ed25519_pk_to_curve25519(public))


class _Party(ABC):
    """What both roles share: the keys, the first exchange, and the way to refuse for good."""

    def __init__(self, network_key: bytes, seed: bytes, public: bytes, ephemeral_seed: bytes) -> None:
        for name, value in (
            ("network_key", network_key),
            ("seed", seed),
            ("public", public),
            ("ephemeral_seed", ephemeral_seed),
        ):
            _require_key(name, value)
        self._network_key = network_key
        self._public = public
        self._signing_key = seed + public
        self._ephemeral_public, self._ephemeral_secret = ephemeral_keys(ephemeral_seed)
        self._mac = authenticator(self._ephemeral_public, network_key)
        self._remote_ephemeral = b""
        self._remote_mac = b""
        self._secret = b""
        self._secret_hash = b""
        self._a_bob = b""
        self._secret2 = b""
        self._b_alice = b""
        self._secret3 = b""
        self._wants = 0
        self._refusal: str | None = None
        self._outcome: Secrets | None = None
        self._remote_public: bytes | None = None

    @property
    def wants(self) -> int:
        """How many bytes `receive` takes next; 0 when there is nothing more to receive."""
        return 0 if self._refusal is not None else self._wants

    @property
    def done(self) -> bool:
        """Both sides are proved (on the server: once the packet that `receive` returned has been sent)."""
        return self._outcome is not None

    @property
    def remote_public(self) -> bytes | None:
        """The other side's key: the wanted one on a client, on a server None until the hello has proved it."""
        return self._remote_public

    @property
    def outcome(self) -> Secrets:
        """The box stream's keys. Raises MisuseError before `done`."""
        if self._outcome is None:
            raise MisuseError("the handshake is not finished: feed it until .done")
        return self._outcome

    @property
    def challenge(self) -> bytes:
        """The 64 bytes that open this side: the network's authenticator and the ephemeral public key."""
        return self._mac + self._ephemeral_public

    def receive(self, packet: bytes) -> bytes:
        """Takes the next whole packet of `wants` bytes and returns what to send, which may be empty.

        Raises HandshakeRefused: end the connection, send nothing more. Every later call raises it again.
        """
        if self._refusal is not None:
            raise HandshakeRefused(self._refusal)
        if self._wants == 0:
            raise MisuseError("the handshake takes nothing now: start it first, and stop when it is done")
        if len(packet) != self._wants:
            self._refuse(
                f"the handshake ended after {len(packet)} of {self._wants} bytes: the other side hung up on us"
            )
        try:
            return self._step(bytes(packet))
        except CryptoError:
            # libsodium fails on low-order points and on bytes that are no point at all.
            self._refuse("a key in the handshake is not a point of the curve that anybody may use")

    @abstractmethod
    def _step(self, packet: bytes) -> bytes:
        """Takes a packet of the right length; the answer."""

    def _refuse(self, why: str) -> NoReturn:
        self._refusal = why
        self._forget()
        raise HandshakeRefused(why)

    def _open_challenge(self, packet: bytes) -> None:
        mac, remote_ephemeral = packet[:32], packet[32:]
        if not hmac.compare_digest(mac, authenticator(remote_ephemeral, self._network_key)):
            self._refuse("the other side speaks for another network (its challenge does not fit our network key)")
        self._remote_ephemeral, self._remote_mac = remote_ephemeral, mac
        self._secret = _shared(self._ephemeral_secret, remote_ephemeral)
        self._secret_hash = sha256(self._secret).digest()

    def _finish(self, remote_public: bytes) -> None:
        agreed = sha256(self._secret3).digest()
        self._outcome = Secrets(
            encrypt_key=sha256(agreed + remote_public).digest(),
            encrypt_nonce=self._remote_mac[:NONCE_BYTES],
            decrypt_key=sha256(agreed + self._public).digest(),
            decrypt_nonce=self._mac[:NONCE_BYTES],
            remote_public=remote_public,
        )
        self._wants = 0
        self._forget()

    def _forget(self) -> None:
        """Drops what would break forward secrecy; Python can't overwrite it, only let it go."""
        self._ephemeral_secret = self._signing_key = b""
        self._secret = self._secret_hash = self._a_bob = self._secret2 = self._b_alice = self._secret3 = b""


class Client(_Party):
    """The side that dials, and knows whose key it wants.

    All five arguments are 32 bytes; `ephemeral_seed` must be fresh randomness for each handshake.
    """

    def __init__(
        self, network_key: bytes, keys_seed: bytes, keys_public: bytes, server_public: bytes, ephemeral_seed: bytes
    ) -> None:
        _require_key("server_public", server_public)
        super().__init__(network_key, keys_seed, keys_public, ephemeral_seed)
        self._remote_public = server_public
        self._server_public = server_public
        self._hello = b""

    def start(self) -> bytes:
        """The first packet; send it, then receive. Raises MisuseError when called again."""
        if self._wants or self._hello or self._refusal is not None:
            raise MisuseError("the handshake has started already")
        self._wants = CHALLENGE_BYTES
        return self.challenge

    def _step(self, packet: bytes) -> bytes:
        if not self._hello:
            self._open_challenge(packet)
            hello = self._make_hello()
            self._wants = ACCEPT_BYTES
            return hello
        self._open_accept(packet)
        self._finish(self._server_public)
        return b""

    def _make_hello(self) -> bytes:
        self._a_bob = _shared(self._ephemeral_secret, _curve_key(self._server_public))
        self._secret2 = sha256(self._network_key + self._secret + self._a_bob).digest()
        signed = self._network_key + self._server_public + self._secret_hash
        self._hello = _signature(signed, self._signing_key) + self._public
        return crypto_secretbox(self._hello, _ZERO_NONCE, self._secret2)

    def _open_accept(self, packet: bytes) -> None:
        own_curve = crypto_sign_ed25519_sk_to_curve25519(self._signing_key)
        self._b_alice = _shared(own_curve, self._remote_ephemeral)
        self._secret3 = sha256(self._network_key + self._secret + self._a_bob + self._b_alice).digest()
        signature = _unbox(packet, self._secret3)
        if signature is None:
            self._refuse("the server did not accept us, or it is not the holder of the key that we wanted")
        if not _is_signed(signature, self._network_key + self._hello + self._secret_hash, self._server_public):
            self._refuse("the server could not prove the key that we wanted")


class Server(_Party):
    """The side that was dialled, and learns who is there from the hello.

    All four arguments are 32 bytes; `ephemeral_seed` must be fresh randomness for each handshake. To turn a known key
    away, look at `remote_public` after `receive` has returned the accept packet and close without sending it: that is
    what JavaScript's `authorize` does.
    """

    def __init__(self, network_key: bytes, seed: bytes, public: bytes, ephemeral_seed: bytes) -> None:
        super().__init__(network_key, seed, public, ephemeral_seed)
        self._wants = CHALLENGE_BYTES

    def _step(self, packet: bytes) -> bytes:
        if not self._secret:
            self._open_challenge(packet)
            self._wants = HELLO_BYTES
            return self.challenge
        hello, client_public = self._open_hello(packet)
        accept = self._make_accept(hello)
        self._remote_public = client_public
        self._finish(client_public)
        return accept

    def _open_hello(self, packet: bytes) -> tuple[bytes, bytes]:
        own_curve = crypto_sign_ed25519_sk_to_curve25519(self._signing_key)
        self._a_bob = _shared(own_curve, self._remote_ephemeral)
        self._secret2 = sha256(self._network_key + self._secret + self._a_bob).digest()
        hello = _unbox(packet, self._secret2)
        if hello is None:
            self._refuse("the client dialled another key than ours")
        signature, client_public = hello[:_SIGNATURE_BYTES], hello[_SIGNATURE_BYTES:]
        if not _is_signed(signature, self._network_key + self._public + self._secret_hash, client_public):
            self._refuse("the client could not prove its key")
        self._b_alice = _shared(self._ephemeral_secret, _curve_key(client_public))
        self._secret3 = sha256(self._network_key + self._secret + self._a_bob + self._b_alice).digest()
        return hello, client_public

    def _make_accept(self, hello: bytes) -> bytes:
        okay = _signature(self._network_key + hello + self._secret_hash, self._signing_key)
        return crypto_secretbox(okay, _ZERO_NONCE, self._secret3)


def _require_key(name: str, value: bytes) -> None:
    if len(value) != KEY_BYTES:
        raise MisuseError(f"{name} must be {KEY_BYTES} bytes, not {len(value)}")


def _shared(secret: bytes, public: bytes) -> bytes:
    """X25519; raises one of PyNaCl's CryptoErrors on a low-order point."""
    return crypto_scalarmult(secret, public)


def _signature(message: bytes, signing_key: bytes) -> bytes:
    return crypto_sign(message, signing_key)[:_SIGNATURE_BYTES]


def _is_signed(signature: bytes, message: bytes, public: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public)
    except CryptoError:
        return False
    return True


def _unbox(box: bytes, key: bytes) -> bytes | None:
    try:
        return crypto_secretbox_open(box, _ZERO_NONCE, key)
    except CryptoError:
        return None
