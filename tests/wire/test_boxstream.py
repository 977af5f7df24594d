"""The box stream against the field's vectors, cut anywhere, tampered with, and cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_secretbox

from ssb_rtc.errors import FrameInvalid, MisuseError
from ssb_rtc.wire.boxstream import BODY_LIMIT_BYTES, HEADER_BYTES, Boxer, Unboxer
from tests.wire.cutting import cut_at, cuts

KEY = bytes(range(32))
NONCE = b"\xff" * 24  # the very first increment carries through all of it


def load_sessions(vectors: Path) -> list[dict[str, Any]]:
    return list(json.loads((vectors / "box-stream" / "box.json").read_text()))


def test_boxes_what_javascript_boxes(vectors: Path) -> None:
    sessions = load_sessions(vectors)
    assert len(sessions) == 4
    for session in sessions:
        boxer = Boxer(bytes.fromhex(session["key"]), bytes.fromhex(session["nonce"]))
        wire = b"".join(boxer.box(bytes.fromhex(chunk)) for chunk in session["chunks"]) + boxer.goodbye()
        assert wire.hex() == session["wire"], session["name"]


def test_opens_what_javascript_boxed_split_at_every_byte(vectors: Path) -> None:
    for session in load_sessions(vectors):
        wire = bytes.fromhex(session["wire"])
        plain = b"".join(bytes.fromhex(chunk) for chunk in session["chunks"])
        step = 1 if len(wire) < 200 else 97
        for position in range(0, len(wire) + 1, step):
            unboxer = Unboxer(bytes.fromhex(session["key"]), bytes.fromhex(session["nonce"]))
            first = unboxer.feed(wire[:position])
            assert unboxer.ended is (position == len(wire))
            assert b"".join(first + unboxer.feed(wire[position:])) == plain
            assert unboxer.ended


def test_byte_by_byte() -> None:
    wire = Boxer(KEY, NONCE).box(b"x" * 5000)
    unboxer = Unboxer(KEY, NONCE)
    parts = [part for index in range(len(wire)) for part in unboxer.feed(wire[index : index + 1])]
    assert [len(part) for part in parts] == [BODY_LIMIT_BYTES, 5000 - BODY_LIMIT_BYTES]
    assert not unboxer.ended


@given(st.lists(st.binary(max_size=10_000), max_size=5), st.data())
def test_what_goes_in_comes_out_however_it_is_cut(messages: list[bytes], data: st.DataObject) -> None:
    boxer, unboxer = Boxer(KEY, NONCE), Unboxer(KEY, NONCE)
    wire = b"".join(boxer.box(message) for message in messages) + boxer.goodbye()
    parts = [part for piece in cut_at(wire, data.draw(cuts(len(wire)))) for part in unboxer.feed(piece)]
    assert b"".join(parts) == b"".join(messages)
    assert all(0 < len(part) <= BODY_LIMIT_BYTES for part in parts)
    assert unboxer.ended


@given(st.binary(min_size=1, max_size=300))
def test_outside_bytes_only_ever_raise_frame_invalid(noise: bytes) -> None:
    unboxer = Unboxer(KEY, NONCE)
    if len(noise) < HEADER_BYTES:
        assert unboxer.feed(noise) == []
        return
    with pytest.raises(FrameInvalid):
        unboxer.feed(noise)


def test_every_flipped_byte_is_refused() -> None:
    boxer = Boxer(KEY, NONCE)
    wire = boxer.box(b"hello") + boxer.box(b"again") + boxer.goodbye()
    for position in range(len(wire)):
        changed = bytearray(wire)
        changed[position] ^= 1 << (position % 8)
        unboxer = Unboxer(KEY, NONCE)
        with pytest.raises(FrameInvalid, match="tampered"):
            unboxer.feed(bytes(changed))
        with pytest.raises(FrameInvalid, match="tampered"):
            unboxer.feed(b"")
        assert not unboxer.ended


def test_a_lost_or_repeated_box_is_refused() -> None:
    boxer = Boxer(KEY, NONCE)
    first, second = boxer.box(b"first"), boxer.box(b"second")
    with pytest.raises(FrameInvalid):
        Unboxer(KEY, NONCE).feed(second)
    with pytest.raises(FrameInvalid):
        Unboxer(KEY, NONCE).feed(first + first)


def test_a_cut_stream_never_looks_ended() -> None:
    boxer = Boxer(KEY, NONCE)
    wire = boxer.box(b"hello") + boxer.goodbye()
    for size in range(len(wire)):
        unboxer = Unboxer(KEY, NONCE)
        unboxer.feed(wire[:size])
        assert not unboxer.ended


def test_what_follows_the_goodbye_is_dropped() -> None:
    boxer = Boxer(KEY, NONCE)
    unboxer = Unboxer(KEY, NONCE)
    assert unboxer.feed(boxer.box(b"last") + boxer.goodbye() + b"noise" * 100) == [b"last"]
    assert unboxer.feed(b"more noise" * 100) == []
    assert unboxer.ended


@pytest.mark.parametrize("size", [0, BODY_LIMIT_BYTES + 1, 0xFFFF])
def test_headers_outside_the_limit_are_refused(size: int) -> None:
    header = size.to_bytes(2, "big") + b"m" * 16
    with pytest.raises(FrameInvalid, match="1 to 4096"):
        Unboxer(KEY, NONCE).feed(crypto_secretbox(header, NONCE, KEY))


def test_sizes_on_the_wire() -> None:
    boxer = Boxer(KEY, NONCE)
    assert boxer.box(b"") == b""
    assert len(boxer.box(b"x")) == HEADER_BYTES + 1
    assert len(boxer.box(b"x" * 16_384)) == 4 * HEADER_BYTES + 16_384
    assert len(boxer.goodbye()) == HEADER_BYTES


def test_any_buffer_can_be_boxed() -> None:
    data = b"0123456789" * 1000
    expected = Boxer(KEY, NONCE).box(data)
    assert Boxer(KEY, NONCE).box(bytearray(data)) == expected
    assert Boxer(KEY, NONCE).box(memoryview(data)) == expected
    assert Boxer(KEY, NONCE).box(memoryview(data[:10])) == Boxer(KEY, NONCE).box(data[:10])


def test_misuse() -> None:
    boxer = Boxer(KEY, NONCE)
    assert boxer.goodbye()
    assert boxer.ended
    assert boxer.goodbye() == b""
    with pytest.raises(MisuseError, match="goodbye"):
        boxer.box(b"x")
    with pytest.raises(MisuseError):
        Boxer(KEY, b"short")
    with pytest.raises(MisuseError):
        Unboxer(b"short", NONCE)
