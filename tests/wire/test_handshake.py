"""The secret handshake in both roles, against our own vector and against everything that may go wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_secretbox, crypto_sign_seed_keypair

from ssb_rtc.errors import HandshakeRefused, MisuseError
from ssb_rtc.wire.handshake import (
    ACCEPT_BYTES,
    CHALLENGE_BYTES,
    HELLO_BYTES,
    Client,
    Server,
    authenticator,
    ephemeral_keys,
)

OWN_VECTOR = Path(__file__).parent.parent / "vectors" / "handshake.json"
NETWORK = bytes(range(32))
ALICE_SEED, BOB_SEED = b"a" * 32, b"b" * 32
ALICE = crypto_sign_seed_keypair(ALICE_SEED)[0]
BOB = crypto_sign_seed_keypair(BOB_SEED)[0]

SECRETS = ("_secret", "_secret_hash", "_a_bob", "_secret2", "_b_alice", "_secret3", "_ephemeral_secret", "_signing_key")

P = 2**255 - 19
LOW_ORDER_X25519 = [
    number.to_bytes(32, "little")
    for number in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        P - 1,
        P,
        P + 1,
    )
]
LOW_ORDER_ED25519 = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


def make_pair(
    *, network: bytes = NETWORK, server_network: bytes = NETWORK, server_public: bytes = BOB
) -> tuple[Client, Server]:
    client = Client(network, ALICE_SEED, ALICE, server_public, b"1" * 32)
    return client, Server(server_network, BOB_SEED, BOB, b"2" * 32)


def shake(client: Client, server: Server, *, flip: tuple[int, int, int] | None = None) -> list[bytes]:
    """Runs the whole handshake; `flip` is (packet, byte, mask). Returns the four packets as they were sent."""
    packets: list[bytes] = []

    def carry(packet: bytes) -> bytes:
        packets.append(packet)
        if flip is not None and flip[0] == len(packets) - 1:
            changed = bytearray(packet)
            changed[flip[1]] ^= flip[2]
            return bytes(changed)
        return packet

    challenge = server.receive(carry(client.start()))
    hello = client.receive(carry(challenge))
    accept = server.receive(carry(hello))
    assert client.receive(carry(accept)) == b""
    return packets


def raw(value: str) -> bytes:
    return bytes.fromhex(value)


def test_own_vector() -> None:
    vector = json.loads(OWN_VECTOR.read_text())
    keys = {name: raw(value) for name, value in vector["inputs"].items()}
    client = Client(
        keys["network_key"], keys["client_seed"], keys["client_public"], keys["server_public"], keys["client_ephemeral"]
    )
    server = Server(keys["network_key"], keys["server_seed"], keys["server_public"], keys["server_ephemeral"])
    assert [packet.hex() for packet in shake(client, server)] == vector["packets"]
    for party, name in ((client, "client"), (server, "server")):
        outcome = party.outcome
        assert {
            "encrypt_key": outcome.encrypt_key.hex(),
            "encrypt_nonce": outcome.encrypt_nonce.hex(),
            "decrypt_key": outcome.decrypt_key.hex(),
            "decrypt_nonce": outcome.decrypt_nonce.hex(),
            "remote_public": outcome.remote_public.hex(),
        } == vector[name]


# --- both roles together ----------------------------------------------------------------------------------------------


def test_both_sides_agree() -> None:
    client, server = make_pair()
    packets = shake(client, server)
    assert [len(packet) for packet in packets] == [CHALLENGE_BYTES, CHALLENGE_BYTES, HELLO_BYTES, ACCEPT_BYTES]
    assert client.done
    assert server.done
    assert (client.outcome.encrypt_key, client.outcome.encrypt_nonce) == (
        server.outcome.decrypt_key,
        server.outcome.decrypt_nonce,
    )
    assert (client.outcome.decrypt_key, client.outcome.decrypt_nonce) == (
        server.outcome.encrypt_key,
        server.outcome.encrypt_nonce,
    )
    assert client.outcome.encrypt_key != client.outcome.decrypt_key
    assert server.outcome.remote_public == ALICE
    assert client.outcome.remote_public == BOB


def test_wants_leads_through_the_handshake() -> None:
    client, server = make_pair()
    assert (client.wants, server.wants) == (0, CHALLENGE_BYTES)
    assert server.remote_public is None
    challenge = server.receive(client.start())
    assert (client.wants, server.wants) == (CHALLENGE_BYTES, HELLO_BYTES)
    hello = client.receive(challenge)
    assert (client.wants, client.done) == (ACCEPT_BYTES, False)
    accept = server.receive(hello)
    assert (server.wants, server.done) == (0, True)
    client.receive(accept)
    assert (client.wants, client.done) == (0, True)


def test_every_flipped_byte_of_every_packet_is_refused() -> None:
    sizes = [CHALLENGE_BYTES, CHALLENGE_BYTES, HELLO_BYTES, ACCEPT_BYTES]
    for packet, size in enumerate(sizes):
        for position in range(size):
            client, server = make_pair()
            with pytest.raises(HandshakeRefused):
                shake(client, server, flip=(packet, position, 1 << (position % 8)))
            victim: Client | Server = server if packet % 2 == 0 else client
            assert not victim.done


@given(st.sampled_from([0, 1, 2, 3]), st.integers(0, 63), st.integers(1, 255))
def test_any_change_of_a_byte_is_refused(packet: int, position: int, mask: int) -> None:
    with pytest.raises(HandshakeRefused):
        shake(*make_pair(), flip=(packet, position, mask))


@given(st.data())
def test_outside_bytes_are_only_ever_refused(data: st.DataObject) -> None:
    server = make_pair()[1]
    with pytest.raises(HandshakeRefused):
        server.receive(data.draw(st.binary(min_size=CHALLENGE_BYTES, max_size=CHALLENGE_BYTES)))
    client, server = make_pair()
    client.receive(server.receive(client.start()))
    with pytest.raises(HandshakeRefused):
        server.receive(data.draw(st.binary(min_size=HELLO_BYTES, max_size=HELLO_BYTES)))
    with pytest.raises(HandshakeRefused):
        client.receive(data.draw(st.binary(min_size=ACCEPT_BYTES, max_size=ACCEPT_BYTES)))


@pytest.mark.parametrize("size", [0, 1, 63, 65])
def test_truncated_and_overlong_packets_are_refused(size: int) -> None:
    client, server = make_pair()
    packet = (client.start() + b"x")[:size]
    with pytest.raises(HandshakeRefused, match="hung up"):
        server.receive(packet)


def test_a_refused_machine_stays_dead() -> None:
    client, server = make_pair()
    challenge = client.start()
    with pytest.raises(HandshakeRefused):
        server.receive(bytes(CHALLENGE_BYTES))
    with pytest.raises(HandshakeRefused):
        server.receive(challenge)
    assert server.wants == 0
    assert not server.done
    with pytest.raises(MisuseError):
        _ = server.outcome


def test_another_network_is_refused() -> None:
    with pytest.raises(HandshakeRefused, match="another network"):
        shake(*make_pair(server_network=b"n" * 32))


def test_another_server_key_is_refused() -> None:
    with pytest.raises(HandshakeRefused, match="another key than ours"):
        shake(*make_pair(server_public=ALICE))


def test_an_impostor_server_is_refused() -> None:
    """Somebody who knows the network key and Bob's public key, but not his secret."""
    client = make_pair()[0]
    impostor = Server(NETWORK, b"m" * 32, crypto_sign_seed_keypair(b"m" * 32)[0], b"2" * 32)
    client.receive(impostor.receive(client.start()))
    with pytest.raises(HandshakeRefused, match="did not accept us"):
        client.receive(bytes(ACCEPT_BYTES))


def test_a_client_that_cannot_sign_is_refused() -> None:
    """Mallory knows the network and Bob's key, and says that she is Alice."""
    _, server = make_pair()
    mallory = Client(NETWORK, b"m" * 32, crypto_sign_seed_keypair(b"m" * 32)[0], BOB, b"1" * 32)
    mallory.receive(server.receive(mallory.start()))
    for signature in (mallory._hello[:64], bytes(64)):
        server = make_pair()[1]
        server.receive(mallory.challenge)
        with pytest.raises(HandshakeRefused, match="could not prove its key"):
            server.receive(crypto_secretbox(signature + ALICE, bytes(24), mallory._secret2))
        assert server.remote_public is None


def test_a_hello_of_another_handshake_proves_nothing() -> None:
    """Alice's signature covers the secret of her handshake, so Bob can't use it with anybody, nor anybody with Bob."""
    client, server = make_pair()
    client.receive(server.receive(client.start()))
    other = Client(NETWORK, b"m" * 32, crypto_sign_seed_keypair(b"m" * 32)[0], BOB, b"4" * 32)
    server = make_pair()[1]
    other.receive(server.receive(other.start()))
    with pytest.raises(HandshakeRefused, match="could not prove its key"):
        server.receive(crypto_secretbox(client._hello, bytes(24), other._secret2))


def test_a_server_that_cannot_sign_is_refused() -> None:
    """Even with every shared secret known, the accept needs the server's signature over this hello."""
    for forged in (bytes(64), b"s" * 64):
        client, server = make_pair()
        hello = client.receive(server.receive(client.start()))
        server._open_hello(hello)
        with pytest.raises(HandshakeRefused, match="could not prove the key"):
            client.receive(crypto_secretbox(forged, bytes(24), server._secret3))
        assert not client.done


@pytest.mark.parametrize("point", LOW_ORDER_X25519, ids=lambda point: point.hex()[:8])
@pytest.mark.parametrize("high_bit", [0, 0x80])
def test_low_order_ephemeral_keys_are_refused(point: bytes, high_bit: int) -> None:
    point = point[:31] + bytes([point[31] | high_bit])
    challenge = authenticator(point, NETWORK) + point
    client, server = make_pair()
    client.start()
    for party in (client, server):
        with pytest.raises(HandshakeRefused):
            party.receive(challenge)


@pytest.mark.parametrize("point", LOW_ORDER_ED25519, ids=lambda point: point.hex()[:8])
def test_low_order_client_keys_are_refused(point: bytes) -> None:
    """A signature of zeros verifies under a low-order key in a careless library."""
    client, server = make_pair()
    client.receive(server.receive(client.start()))
    hello = (1).to_bytes(32, "little") + bytes(32) + point
    packet = crypto_secretbox(hello, bytes(24), client._secret2)
    with pytest.raises(HandshakeRefused):
        server.receive(packet)


@pytest.mark.parametrize("point", [*LOW_ORDER_ED25519, b"\xff" * 32], ids=lambda point: point.hex()[:8])
def test_a_server_key_that_is_no_point_is_refused(point: bytes) -> None:
    client, server = make_pair(server_public=point)
    with pytest.raises(HandshakeRefused, match="not a point"):
        client.receive(server.receive(client.start()))


def test_reflected_challenge_is_no_proof() -> None:
    """Sending our own packets back may start, and never finishes."""
    client = make_pair()[0]
    hello = client.receive(client.start())
    with pytest.raises(HandshakeRefused):
        client.receive(hello[:ACCEPT_BYTES])


def test_fresh_ephemeral_seeds_give_fresh_secrets() -> None:
    first, second = make_pair(), make_pair()
    second = (Client(NETWORK, ALICE_SEED, ALICE, BOB, b"3" * 32), second[1])
    shake(*first)
    shake(*second)
    assert first[0].outcome.encrypt_key != second[0].outcome.encrypt_key
    assert ephemeral_keys(b"3" * 32) != ephemeral_keys(b"1" * 32)


def test_secrets_are_dropped_and_not_shown() -> None:
    client, server = make_pair()
    shake(client, server)
    for party in (client, server):
        for name in SECRETS:
            assert getattr(party, name) == b"", name
        assert repr(party.outcome.encrypt_key) not in repr(party.outcome)


def test_misuse() -> None:
    with pytest.raises(MisuseError, match="network_key must be 32 bytes, not 31"):
        Client(b"x" * 31, ALICE_SEED, ALICE, BOB, b"1" * 32)
    with pytest.raises(MisuseError, match="server_public"):
        Client(NETWORK, ALICE_SEED, ALICE, b"", b"1" * 32)
    client, server = make_pair()
    with pytest.raises(MisuseError, match="start it first"):
        client.receive(bytes(64))
    with pytest.raises(MisuseError, match="not finished"):
        _ = client.outcome
    shake(client, server)
    with pytest.raises(MisuseError, match="started already"):
        client.start()
    with pytest.raises(MisuseError, match="takes nothing now"):
        client.receive(bytes(64))
