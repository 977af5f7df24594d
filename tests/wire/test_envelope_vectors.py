"""Our vectors of the sealed dialect: we make what they hold, stock libsodium opens it, and nothing wrong passes."""

from __future__ import annotations

import base64
import json
import struct
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Any

import pytest
from nacl.public import SealedBox
from nacl.secret import SecretBox
from nacl.signing import SigningKey, VerifyKey

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.feeds.keys import Keys, keys_from_seed, verify
from ssb_rtc.types import PeerId, peer_of
from ssb_rtc.wire import channels, letters
from ssb_rtc.wire.envelope import (
    Kind,
    Letter,
    is_curve_key,
    network_id,
    open_announcement,
    open_envelope,
    raw_key,
    seal,
    seal_announcement,
    seal_to,
)
from ssb_rtc.wire.swarm import app_name
from tests.vectors import make_envelopes
from tests.wire import handmade

FILE = Path(__file__).parent.parent / "vectors" / "envelopes.json"
VECTORS: dict[str, Any] = json.loads(FILE.read_text())
NETWORK_KEY = bytes.fromhex(VECTORS["network_key"])
PEERS = {name: keys_from_seed(bytes.fromhex(peer["seed"])) for name, peer in VECTORS["peers"].items()}


def keys_of(public: str) -> Keys:
    return next(keys for keys in PEERS.values() if keys.public.hex() == public)


def letter_of(vector: dict[str, Any]) -> Letter:
    return Letter(
        Kind(vector["kind"]),
        peer_of(keys_of(vector["from"]).id),
        bytes.fromhex(vector["session"]),
        vector["sequence"],
        vector["time_ms"],
        bytes.fromhex(vector["payload"]),
    )


def named(vectors: list[dict[str, Any]], key: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector[key] for vector in vectors])


def test_the_file_is_what_its_maker_makes() -> None:
    assert json.loads(json.dumps(make_envelopes.made())) == VECTORS


def test_the_names_of_the_network() -> None:
    assert network_id(NETWORK_KEY).hex() == VECTORS["network_id"] == sha256(NETWORK_KEY).hexdigest()
    assert app_name(NETWORK_KEY) == VECTORS["app"] == f"ssb-rtc-1-{VECTORS['network_id'][:8]}"


@pytest.mark.parametrize("vector", VECTORS["channels"])
def test_the_names_of_channels(vector: dict[str, Any]) -> None:
    peer = PeerId(vector.get("peer", ""))
    match vector["what"]:
        case "public inbox":
            assert channels.public_inbox(NETWORK_KEY, peer, vector["day"]) == vector["name"]
        case "friend inbox":
            assert channels.friend_inbox(bytes.fromhex(vector["secret"]), vector["day"]) == vector["name"]
        case "announce":
            path = channels.announce_path(NETWORK_KEY, peer, vector["day"])
            assert path == vector["path"]
            assert channels.announce_channel(NETWORK_KEY, path, vector["depth"]) == vector["name"]
        case _:
            assert channels.reply_channel(bytes.fromhex(vector["raw"])) == vector["name"]
            assert channels.reply_bytes(vector["name"]).hex() == vector["raw"]


@named(VECTORS["envelopes"], "name")
def test_a_letter_both_ways(vector: dict[str, Any]) -> None:
    letter, keys, to = letter_of(vector), keys_of(vector["from"]), keys_of(vector["to"])
    assert seal(letter, keys, peer_of(to.id), NETWORK_KEY, bytes.fromhex(vector["seed"])) == vector["body"]
    assert open_envelope(vector["body"], to, NETWORK_KEY) == letter


@named(VECTORS["announcements"], "name")
def test_an_announcement_both_ways(vector: dict[str, Any]) -> None:
    letter, keys = letter_of(vector), keys_of(vector["from"])
    assert seal_announcement(letter, keys, NETWORK_KEY, bytes.fromhex(vector["nonce"])) == vector["body"]
    assert open_announcement(vector["body"], NETWORK_KEY) == letter


def read_by_hand(plain: bytes, vector: dict[str, Any], to: bytes) -> None:
    """Takes the plain block apart as the table in docs/signalling.md says, with none of our code."""
    assert plain[:2] == bytes([1, vector["kind"]])
    assert plain[2:34].hex() == vector["from"]
    assert plain[34:50].hex() == vector["session"]
    assert struct.unpack(">IQH", plain[50:64]) == (
        vector["sequence"],
        vector["time_ms"],
        len(vector["payload"]) // 2,
    )
    end = 64 + len(vector["payload"]) // 2
    payload, signature, padding = plain[64:end], plain[end : end + 64], plain[end + 64 :]
    assert payload.hex() == vector["payload"]
    assert signature.hex() == vector["signature"]
    assert padding == bytes(len(padding))
    signed = b"ssb-rtc-1 envelope\0" + sha256(NETWORK_KEY).digest() + plain[2:34] + to
    signed += plain[1:2] + plain[34:62] + payload
    assert signed.hex() == vector["signed"]
    VerifyKey(plain[2:34]).verify(signed, signature)


@named(VECTORS["envelopes"], "name")
def test_a_stock_sealed_box_opens_a_letter(vector: dict[str, Any]) -> None:
    block = base64.b64decode(json.loads(vector["body"]))
    assert len(block) == vector["block_bytes"]
    to = keys_of(vector["to"])
    plain = SealedBox(SigningKey(to.seed).to_curve25519_private_key()).decrypt(block)
    assert len(plain) == vector["block_bytes"] - 48
    read_by_hand(plain, vector, to.public)


@named(VECTORS["announcements"], "name")
def test_a_stock_secretbox_opens_an_announcement(vector: dict[str, Any]) -> None:
    block = base64.b64decode(json.loads(vector["body"]))
    assert len(block) == vector["block_bytes"] == 512
    assert block[:24].hex() == vector["nonce"]
    key = blake2b(b"ssb-rtc-1 announce key\0", key=NETWORK_KEY, digest_size=32).digest()
    plain = SecretBox(key).decrypt(block)
    assert len(plain) == 512 - 40
    read_by_hand(plain, vector, bytes(32))


@named(VECTORS["envelopes"] + VECTORS["announcements"], "name")
def test_what_a_letter_says(vector: dict[str, Any]) -> None:
    payload, says = bytes.fromhex(vector["payload"]), vector["says"]
    secret = bytes.fromhex(says.get("opened_with", ""))
    match Kind(vector["kind"]):
        case Kind.KNOCK:
            found = letters.parse_knock(payload)
            assert (found.ephemeral.hex(), found.reply.hex()) == (says["ephemeral"], says["reply"])
            assert found.alone is says["alone"]
        case Kind.OFFER:
            offer = letters.parse_offer(payload, secret)
            assert (offer.ephemeral.hex(), offer.reply.hex()) == (says["ephemeral"], says["reply"])
            assert offer.sdp == says["sdp"]
        case Kind.ANSWER:
            assert letters.parse_answer(payload, secret) == says["sdp"]
        case Kind.CANDIDATE:
            signal = letters.parse_candidate(payload, secret)
            assert signal.candidate == says["candidate"]
            assert (signal.sdp_mid, signal.sdp_m_line_index) == (says["sdpMid"], says["sdpMLineIndex"])
        case Kind.BUSY:
            assert letters.parse_busy(payload) == says["seconds"]
        case Kind.CLOCK:
            assert letters.parse_clock(payload) == says["wall_ms"]
        case Kind.ANNOUNCE:
            assert letters.parse_announce(payload) == says["free"]
        case Kind.LEAVE:
            letters.parse_leave(payload)


@named(VECTORS["refused_by_bob"], "why")
def test_an_envelope_that_is_wrong_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(SignalInvalid):
        open_envelope(vector["body"], PEERS["bob"], NETWORK_KEY)


@named(VECTORS["refused_announcements"], "why")
def test_an_announcement_that_is_wrong_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(SignalInvalid):
        open_announcement(vector["body"], NETWORK_KEY)


def test_every_kind_of_letter_has_a_vector() -> None:
    assert {vector["kind"] for vector in VECTORS["envelopes"]} == {kind for kind in Kind if not kind.is_public}
    assert {vector["kind"] for vector in VECTORS["announcements"]} == {kind for kind in Kind if kind.is_public}
    assert {vector["block_bytes"] for vector in VECTORS["envelopes"]} == {512, 2_048, 8_192}


def test_the_key_of_mixed_order_does_sign() -> None:
    """Else its vectors would be refused for another reason than they name."""
    parts = handmade.of_mixed_order(make_envelopes.good_knock())
    assert verify(parts.sender, parts.made_signature(), parts.signed())


@pytest.mark.parametrize("key", VECTORS["curve_keys_of_low_order"])
def test_nothing_is_sealed_to_a_key_of_low_order(key: str) -> None:
    raw = bytes.fromhex(key)
    assert not is_curve_key(raw)
    with pytest.raises(MisuseError, match="low order"):
        seal_to(raw, b"plain", bytes(32))
    with pytest.raises(SignalInvalid, match="low order"):
        letters.parse_knock(raw + bytes(17))
    with pytest.raises(SignalInvalid, match="low order"):
        letters.parse_offer(raw + bytes(100), bytes(32))


def test_the_peers_are_who_they_say() -> None:
    for peer in VECTORS["peers"].values():
        assert raw_key(PeerId(peer["id"])).hex() == peer["public"]
