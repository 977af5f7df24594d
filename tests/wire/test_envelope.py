"""Envelopes: there and back, whoever they are not for, whatever was changed, and what a hub can see of them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from random import Random
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError, SignalInvalid
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.types import PeerId, peer_of
from ssb_rtc.wire import channels, letters
from ssb_rtc.wire.envelope import (
    ANNOUNCE_PAYLOAD_MAX_BYTES,
    BLOCK_BYTES,
    NONCE_BYTES,
    PAYLOAD_MAX_BYTES,
    SEAL_BYTES,
    WINDOW_S,
    Kind,
    Letter,
    is_fresh,
    open_announcement,
    open_envelope,
    open_sealed,
    raw_key,
    seal,
    seal_announcement,
    seal_to,
)
from tests.wire import handmade
from tests.wire.handmade import Parts

ALICE, BOB, CAROL = (keys_from_seed(sha256(name).digest()) for name in (b"alice", b"bob", b"carol"))
NETWORK, ELSEWHERE = sha256(b"network").digest(), sha256(b"elsewhere").digest()
SEED, NONCE, SESSION = bytes(range(32)), bytes(range(24)), bytes(range(16))
TIME_MS = 1_790_000_000_000
ENVELOPE_CHARS = [size // 3 * 4 + 4 + 2 for size in BLOCK_BYTES]
FIXED = 64 + 64
"""What stands in a letter around its payload."""

private_kinds = st.sampled_from([kind for kind in Kind if not kind.is_public])
public_kinds = st.sampled_from([kind for kind in Kind if kind.is_public])


def letters_of(kinds: st.SearchStrategy[Kind], payload_max: int) -> st.SearchStrategy[Letter]:
    return st.builds(
        Letter,
        kinds,
        st.just(peer_of(ALICE.id)),
        st.binary(min_size=16, max_size=16),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**64 - 1),
        st.binary(max_size=500) | st.integers(0, payload_max).map(bytes),
    ).filter(lambda letter: len(letter.payload) <= payload_max)


def a_letter(kind: Kind = Kind.KNOCK, payload: bytes = b"payload", keys: Keys = ALICE) -> Letter:
    return Letter(kind, peer_of(keys.id), SESSION, 7, TIME_MS, payload)


def to_bob(letter: Letter) -> str:
    return seal(letter, ALICE, peer_of(BOB.id), NETWORK, SEED)


def parts(kind: Kind = Kind.KNOCK, to: bytes = BOB.public, payload: bytes = b"payload") -> Parts:
    return Parts(NETWORK, ALICE.seed, ALICE.public, to, int(kind), SESSION, 7, TIME_MS, payload)


@given(letters_of(private_kinds, PAYLOAD_MAX_BYTES), st.binary(min_size=32, max_size=32))
@settings(max_examples=50)
def test_a_letter_arrives_as_it_was_sealed(letter: Letter, seed: bytes) -> None:
    body = seal(letter, ALICE, peer_of(BOB.id), NETWORK, seed)
    assert len(body) in ENVELOPE_CHARS
    assert open_envelope(body, BOB, NETWORK) == letter


@given(letters_of(public_kinds, ANNOUNCE_PAYLOAD_MAX_BYTES), st.binary(min_size=24, max_size=24))
@settings(max_examples=50)
def test_an_announcement_arrives_as_it_was_sealed(letter: Letter, nonce: bytes) -> None:
    body = seal_announcement(letter, ALICE, NETWORK, nonce)
    assert len(body) == ENVELOPE_CHARS[0]
    assert open_announcement(body, NETWORK) == letter


@pytest.mark.parametrize("size", BLOCK_BYTES)
def test_the_smallest_block_that_holds_it_is_used(size: int) -> None:
    fits = size - SEAL_BYTES - FIXED
    assert len(base64.b64decode(to_bob(a_letter(payload=bytes(fits)))[1:-1])) == size
    if size == BLOCK_BYTES[-1]:
        assert fits == PAYLOAD_MAX_BYTES
        with pytest.raises(MisuseError, match="at most"):
            to_bob(a_letter(payload=bytes(fits + 1)))
    else:
        assert len(base64.b64decode(to_bob(a_letter(payload=bytes(fits + 1)))[1:-1])) > size


def test_a_larger_block_than_needed_is_taken() -> None:
    for size in BLOCK_BYTES:
        block = handmade.sealed(parts().plain(size - SEAL_BYTES), BOB.public, SEED)
        assert open_envelope(handmade.text(block), BOB, NETWORK) == a_letter()


def test_only_the_receiver_in_its_network_opens_it() -> None:
    body = to_bob(a_letter())
    assert open_envelope(body, BOB, NETWORK) == a_letter()
    for keys, network_key in ((CAROL, NETWORK), (ALICE, NETWORK), (BOB, ELSEWHERE)):
        with pytest.raises(SignalInvalid):
            open_envelope(body, keys, network_key)
    with pytest.raises(SignalInvalid):
        open_announcement(body, NETWORK)


def test_an_announcement_is_for_its_network_and_no_envelope() -> None:
    body = seal_announcement(a_letter(Kind.ANNOUNCE), ALICE, NETWORK, NONCE)
    with pytest.raises(SignalInvalid):
        open_announcement(body, ELSEWHERE)
    with pytest.raises(SignalInvalid):
        open_envelope(body, BOB, NETWORK)


def test_a_receiver_cannot_pass_a_letter_on_as_sent_to_another() -> None:
    plain = parts().plain(BLOCK_BYTES[0] - SEAL_BYTES)
    assert open_envelope(handmade.text(handmade.sealed(plain, BOB.public, SEED)), BOB, NETWORK)
    with pytest.raises(SignalInvalid, match="signed"):
        open_envelope(handmade.text(handmade.sealed(plain, CAROL.public, SEED)), CAROL, NETWORK)


def test_no_kind_can_be_turned_into_another() -> None:
    for kind in Kind:
        to = bytes(32) if kind.is_public else BOB.public
        true = parts(kind, to)
        for other in Kind:
            turned = replace(true, kind=int(other), signature=true.made_signature())
            box = handmade.sealed(turned.plain(BLOCK_BYTES[0] - SEAL_BYTES), BOB.public, SEED)
            note = handmade.announced(turned.plain(BLOCK_BYTES[0] - 40), NETWORK, NONCE)
            for opened in (
                lambda box=box: open_envelope(handmade.text(box), BOB, NETWORK),
                lambda note=note: open_announcement(handmade.text(note), NETWORK),
            ):
                taken(opened, true, other)


def taken(opened: Callable[[], Letter], true: Parts, other: Kind) -> None:
    """What is taken at all is the letter that was signed."""
    try:
        assert opened().kind == true.kind == other
    except SignalInvalid:
        return


def test_whatever_byte_of_the_box_is_changed_it_is_refused() -> None:
    block = base64.b64decode(to_bob(a_letter())[1:-1])
    note = base64.b64decode(seal_announcement(a_letter(Kind.ANNOUNCE), ALICE, NETWORK, NONCE)[1:-1])
    dice = Random(5)
    for at in range(BLOCK_BYTES[0]):
        bit = 1 << dice.randrange(8)
        with pytest.raises(SignalInvalid):
            open_envelope(handmade.text(flipped(block, at, bit)), BOB, NETWORK)
        with pytest.raises(SignalInvalid):
            open_announcement(handmade.text(flipped(note, at, bit)), NETWORK)


def test_whatever_byte_of_the_letter_is_changed_it_is_refused() -> None:
    """By somebody who holds the letter, and may seal what they like: a receiver, or anybody for an announcement."""
    plain = parts().plain(BLOCK_BYTES[0] - SEAL_BYTES)
    note = parts(Kind.ANNOUNCE, bytes(32)).plain(BLOCK_BYTES[0] - 40)
    dice = Random(6)
    for at in range(len(note)):
        bit = 1 << dice.randrange(8)
        if at < len(plain):
            box = handmade.sealed(flipped(plain, at, bit), BOB.public, SEED)
            with pytest.raises(SignalInvalid):
                open_envelope(handmade.text(box), BOB, NETWORK)
        with pytest.raises(SignalInvalid):
            open_announcement(handmade.text(handmade.announced(flipped(note, at, bit), NETWORK, NONCE)), NETWORK)


def test_whatever_character_of_the_body_is_changed_it_is_refused() -> None:
    body = to_bob(a_letter())
    dice = Random(7)
    for at in range(len(body)):
        other = dice.choice([char for char in 'Az09+/-_="\\ \n\0\u00e9\ud800' if char != body[at]])
        for changed in (body[:at] + other + body[at + 1 :], body[:at] + body[at + 1 :], body[:at] + other + body[at:]):
            with pytest.raises(SignalInvalid):
                open_envelope(changed, BOB, NETWORK)


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


@given(st.text() | st.integers(0, 11_000).map(lambda size: f'"{"A" * size}"') | st.binary().map(handmade.text))
@example("")
@example('"')
@example('""')
@example("\ud800" * 686)
@settings(max_examples=60)
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(SignalInvalid):
        open_envelope(text, BOB, NETWORK)
    with pytest.raises(SignalInvalid):
        open_announcement(text, NETWORK)


@given(st.data())
@settings(max_examples=200)
def test_no_plain_block_raises_anything_else(data: st.DataObject) -> None:
    """Blocks that open, and hold anything; most begin as a letter does."""
    size = data.draw(st.sampled_from(BLOCK_BYTES))
    start = bytes([data.draw(st.integers(0, 2)), data.draw(st.integers(0, 18))]) + data.draw(st.binary(max_size=200))
    room = size - SEAL_BYTES
    box = handmade.sealed(start.ljust(room, data.draw(st.sampled_from([b"\0", b"\xff"])))[:room], BOB.public, SEED)
    with pytest.raises(SignalInvalid):
        open_envelope(handmade.text(box), BOB, NETWORK)
    note = handmade.announced(start.ljust(BLOCK_BYTES[0] - 40, b"\0")[: BLOCK_BYTES[0] - 40], NETWORK, NONCE)
    with pytest.raises(SignalInvalid):
        open_announcement(handmade.text(note), NETWORK)


def forms(raw: bytes) -> set[str]:
    """An identity in the ways in which it may be spelt; in base64, wherever it stands in a longer text."""
    found = {raw.hex(), raw.hex().upper(), raw.decode("latin-1")}
    for shift in range(3):
        # The characters at the edges depend on what stands there.
        inner = base64.b64encode(bytes(shift) + raw).decode()[2 * bool(shift) + shift :][:38]
        found |= {inner, inner.replace("+", "-").replace("/", "_"), quote(inner, safe="")}
    return found


def test_the_forms_are_found_where_they_are() -> None:
    """Else the next test would prove nothing."""
    raw = ALICE.public
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + raw + b"tail").decode()
        assert any(form in text for form in forms(raw))
    assert any(form in quote(peer_of(ALICE.id), safe="") for form in forms(raw))


def test_a_hub_sees_no_identity() -> None:
    names = forms(ALICE.public) | forms(BOB.public)
    alice, bob, day = peer_of(ALICE.id), peer_of(BOB.id), 20_717
    dice = Random(8)
    seen = [channels.friend_inbox(SEED, day), channels.announce_channel(NETWORK, 5, 3)]
    seen += [channels.public_inbox(NETWORK, peer, day) for peer in (alice, bob)]
    for kind in Kind:
        for payload in (b"", ALICE.public + BOB.public, BOB.public * 10):
            if kind.is_public:
                seen.append(seal_announcement(a_letter(kind, payload), ALICE, NETWORK, dice.randbytes(NONCE_BYTES)))
            else:
                seen.append(seal(a_letter(kind, payload), ALICE, bob, NETWORK, dice.randbytes(32)))
    for text in seen:
        raw = base64.b64decode(text.strip('"') + "==", altchars=None if '"' in text else b"-_")
        for shown in (text, raw.hex(), raw.decode("latin-1"), quote(text, safe="")):
            assert not any(name in shown for name in names)


def test_two_envelopes_of_one_letter_have_nothing_in_common() -> None:
    first, second = (
        base64.b64decode(seal(a_letter(), ALICE, peer_of(BOB.id), NETWORK, bytes([at]) * 32)[1:-1]) for at in (1, 2)
    )
    pieces = {first[at : at + 4] for at in range(len(first) - 3)}
    assert not any(second[at : at + 4] in pieces for at in range(len(second) - 3))


@pytest.mark.parametrize(
    ("letter", "match"),
    [
        (a_letter(keys=CAROL), "own key"),
        (replace(a_letter(), session=bytes(15)), "session must be 16"),
        (replace(a_letter(), sequence=2**32), "32 bits"),
        (replace(a_letter(), sequence=-1), "32 bits"),
        (replace(a_letter(), time_ms=2**64), "64"),
        (replace(a_letter(), sender=PeerId("alice")), "feed id"),
        (a_letter(Kind.ANNOUNCE), "announcement"),
    ],
)
def test_our_own_mistakes(letter: Letter, match: str) -> None:
    with pytest.raises(MisuseError, match=match):
        to_bob(letter)


def test_our_own_mistakes_with_keys() -> None:
    with pytest.raises(MisuseError, match="no point"):
        seal(a_letter(), ALICE, PeerId(f"@{base64.b64encode(bytes(32)).decode()}.ed25519"), NETWORK, SEED)
    with pytest.raises(MisuseError, match="feed id"):
        seal(a_letter(), ALICE, PeerId("bob"), NETWORK, SEED)
    with pytest.raises(MisuseError, match="seed must be 32"):
        seal(a_letter(), ALICE, peer_of(BOB.id), NETWORK, bytes(31))
    with pytest.raises(MisuseError, match="network_key must be 32"):
        seal(a_letter(), ALICE, peer_of(BOB.id), b"", SEED)
    with pytest.raises(MisuseError, match="one peer"):
        seal_announcement(a_letter(), ALICE, NETWORK, NONCE)
    with pytest.raises(MisuseError, match="nonce must be 24"):
        seal_announcement(a_letter(Kind.LEAVE), ALICE, NETWORK, b"")
    with pytest.raises(MisuseError, match="at most 344"):
        seal_announcement(a_letter(Kind.ANNOUNCE, bytes(345)), ALICE, NETWORK, NONCE)


def test_freshness_is_a_quarter_of_an_hour_both_ways() -> None:
    for ahead_ms, fresh in ((0, True), (WINDOW_S * 1000, True), (WINDOW_S * 1000 + 1, False), (1e12, False)):
        assert is_fresh(a_letter(), TIME_MS + ahead_ms) is fresh
        assert is_fresh(a_letter(), TIME_MS - ahead_ms) is fresh
    assert not is_fresh(replace(a_letter(), time_ms=2**64 - 1), TIME_MS)


@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32))
@settings(max_examples=30)
def test_sealing_to_a_session_s_key(plain: bytes, seed: bytes) -> None:
    secret = sha256(seed).digest()
    box = seal_to(letters.public_of(secret), plain, seed)
    assert len(box) == len(plain) + SEAL_BYTES
    assert open_sealed(box, secret) == plain
    for wrong, key in ((box, seed), (box[:-1], secret), (flipped(box, 0, 1), secret), (b"", secret)):
        with pytest.raises(SignalInvalid):
            open_sealed(wrong, key)


def test_a_raw_key_is_that_of_the_id() -> None:
    assert raw_key(peer_of(ALICE.id)) == ALICE.public
