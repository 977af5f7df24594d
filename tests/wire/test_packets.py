"""The muxrpc codec against the field's frames, cut anywhere, and against what no codec should swallow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import FrameInvalid, MisuseError
from ssb_rtc.wire.packets import (
    GOODBYE,
    HEADER_BYTES,
    BodyKind,
    Decoder,
    Packet,
    RawJson,
    encode,
    from_body,
    to_body,
)
from tests.wire.cutting import cut_at, cuts

packets = st.builds(
    Packet,
    request=st.integers(-(2**31), 2**31 - 1),
    body=st.binary(min_size=1, max_size=200),
    kind=st.sampled_from(BodyKind),
    stream=st.booleans(),
    end=st.booleans(),
)


def load_frames(vectors: Path) -> list[dict[str, Any]]:
    return list(json.loads((vectors / "muxrpc" / "frames.json").read_text()))


def value_of(message: dict[str, Any]) -> Any:
    """The vector's value; `{"type": "Buffer"}` is Node's way to write bytes."""
    value = message["value"]
    return bytes(value["data"]) if isinstance(value, dict) and value.get("type") == "Buffer" else value


def test_frames_of_the_field(vectors: Path) -> None:
    frames = load_frames(vectors)
    assert len(frames) == 16
    for frame in frames:
        wire = bytes.fromhex(frame["head"] + (frame["body"] or ""))
        decoder = Decoder()
        decoded = decoder.feed(wire)
        if frame["body"] in (None, ""):  # the goodbye, and the empty text that every decoder takes for it
            assert decoded == []
            assert decoder.ended
            continue
        message = frame["msg"]
        (packet,) = decoded
        assert (packet.request, packet.stream, packet.end) == (message["req"], message["stream"], message.get("end"))
        assert packet.body == bytes.fromhex(frame["body"])
        assert from_body(packet.body, packet.kind) == value_of(message)
        assert encode(packet) == wire
        assert to_body(value_of(message)) == (packet.body, packet.kind)
        assert not decoder.ended


def test_goodbye() -> None:
    assert bytes(9) == GOODBYE
    decoder = Decoder()
    one = encode(Packet(1, b"x", BodyKind.BINARY, stream=True, end=False))
    assert len(decoder.feed(one + GOODBYE + one)) == 1
    assert decoder.ended
    assert decoder.feed(one) == []


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 8, 12, 255])
def test_an_empty_body_is_goodbye_whatever_its_flags_say(flags: int) -> None:
    decoder = Decoder()
    assert decoder.feed(bytes([flags]) + bytes(4) + b"\xff\xff\xff\xff") == []
    assert decoder.ended


@given(st.lists(packets, max_size=6), st.data())
def test_what_goes_in_comes_out_however_it_is_cut(sent: list[Packet], data: st.DataObject) -> None:
    wire = b"".join(encode(packet) for packet in sent)
    decoder = Decoder()
    assert [got for piece in cut_at(wire, data.draw(cuts(len(wire)))) for got in decoder.feed(piece)] == sent
    assert decoder.buffered_bytes == 0


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_outside_bytes_only_ever_raise_frame_invalid(pieces: list[bytes]) -> None:
    decoder = Decoder(limit_bytes=100)
    for piece in pieces:
        try:
            got = decoder.feed(piece)
        except FrameInvalid:
            with pytest.raises(FrameInvalid):
                decoder.feed(b"")
            return
        assert all(0 < len(packet.body) <= 100 for packet in got)
        assert decoder.buffered_bytes < 100 + HEADER_BYTES


def test_the_limit_is_checked_before_the_body_arrives() -> None:
    packet = encode(Packet(1, b"x" * 101, BodyKind.BINARY, stream=True, end=False))
    decoder = Decoder(limit_bytes=100)
    with pytest.raises(FrameInvalid, match="101 bytes: the limit is 100"):
        decoder.feed(packet[:HEADER_BYTES])
    assert decoder.buffered_bytes == 0
    assert len(Decoder(limit_bytes=101).feed(packet)) == 1


def test_a_body_of_no_known_kind_is_refused() -> None:
    with pytest.raises(FrameInvalid, match="neither bytes nor text nor JSON"):
        Decoder().feed(b"\x03\x00\x00\x00\x01\x00\x00\x00\x01x")


def test_unknown_flags_are_ignored_as_javascript_does() -> None:
    (packet,) = Decoder().feed(b"\xfa\x00\x00\x00\x01\x00\x00\x00\x017")
    assert (packet.stream, packet.end, packet.kind) == (True, False, BodyKind.JSON)


def test_an_empty_body_or_a_request_beyond_32_bits_is_not_encoded() -> None:
    with pytest.raises(MisuseError, match="empty"):
        encode(Packet(1, b"", BodyKind.STRING, stream=False, end=False))
    with pytest.raises(MisuseError, match="32-bit"):
        encode(Packet(2**31, b"x", BodyKind.STRING, stream=False, end=False))


@pytest.mark.parametrize(
    ("value", "body", "kind"),
    [
        (b"bytes", b"bytes", BodyKind.BINARY),
        (bytearray(b"bytes"), b"bytes", BodyKind.BINARY),
        ("text \u00e9", b"text \xc3\xa9", BodyKind.STRING),
        ("", b'""', BodyKind.JSON),
        ("\ud800", b'"\\ud800"', BodyKind.JSON),
        (RawJson(b'{"a": 1}'), b'{"a": 1}', BodyKind.JSON),
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}', BodyKind.JSON),
        (None, b"null", BodyKind.JSON),
        (2**80, b"1208925819614629174706176", BodyKind.JSON),
    ],
)
def test_bodies_of_values(value: Any, body: bytes, kind: BodyKind) -> None:
    assert to_body(value) == (body, kind)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {3}}], ids=["object", "number as key", "set"])
def test_values_without_json_are_the_callers_mistake(value: Any) -> None:
    with pytest.raises(MisuseError, match="no JSON"):
        to_body(value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'"\\ud800"', "\ud800"),
        (b'"\xff"', "\ufffd"),
        (b"1e999", float("inf")),
        (b' {"a":1,"a":2} ', {"a": 2}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_json_that_javascript_takes_is_taken(body: bytes, value: Any) -> None:
    assert from_body(body, BodyKind.JSON) == (pytest.approx(value) if isinstance(value, int) else value)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"Infinity", b"-", b"01", b"\xef\xbb\xbf1", b"'a'", b"[" * 100_000])
def test_json_that_javascript_refuses_is_refused(body: bytes) -> None:
    with pytest.raises(FrameInvalid, match="says JSON and is none"):
        from_body(body, BodyKind.JSON)


@given(st.binary(max_size=100), st.sampled_from(BodyKind))
def test_bodies_from_outside_only_ever_raise_frame_invalid(body: bytes, kind: BodyKind) -> None:
    try:
        from_body(body, kind)
    except FrameInvalid:
        assert kind is BodyKind.JSON
