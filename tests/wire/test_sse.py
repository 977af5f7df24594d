"""Server-sent events from hubs that nobody vouches for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import FrameInvalid
from ssb_rtc.wire.sse import Parser
from tests.wire.cutting import cut_at, cuts


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: one\n\n", ["one"]),
        (b"data: one\r\n\r\n", ["one"]),
        (b"data: one\r\r", ["one"]),
        (b"data: one\n\ndata: two\r\n\r\ndata: three\r\r", ["one", "two", "three"]),
        (b"data:one\n\n", ["one"]),
        (b"data:  one\n\n", [" one"]),
        (b"data: one\ndata: two\n\n", ["one\ntwo"]),
        (b"data: one\r\ndata: two\r\n\r\n", ["one\ntwo"]),
        (b"data: one\rdata: two\r\r", ["one\ntwo"]),
        (b"data: \n\n", [""]),
        (b"data\n\n", [""]),
        (b"data\ndata\n\n", ["\n"]),
        (b"\n\n\n", []),
        (b"event: x\nid: 7\nretry: 10\n\n", []),
        (b"event: x\ndata: one\nid: 7\nunknown\nretry: x\n\n", ["one"]),
        (b"datas: one\n data: two\n\n", []),
        (b"\xef\xbb\xbfdata: one\n\n", ["one"]),
        (b"data: one\n\n\xef\xbb\xbfdata: two\n\n", ["one"]),
        (b"data: \xff\xfe\n\n", ["\ufffd\ufffd"]),
        (b"data: caf\xc3\xa9\n\n", ["caf\u00e9"]),
        (b"data: a\x00b\x0bc\x0cd\x85e\xe2\x80\xa8f\n\n", ["a\x00b\x0bc\x0cd\ufffde\u2028f"]),
        (b"data: unfinished\n", []),
    ],
)
def test_events(stream: bytes, events: list[str]) -> None:
    parser = Parser()
    assert parser.feed(stream) == events
    byte_by_byte = Parser()
    assert [event for byte in stream for event in byte_by_byte.feed(bytes([byte]))] == events


def test_heartbeats_are_signs_of_life() -> None:
    parser = Parser()
    assert parser.feed(b":heartbeat signal\n\n") == []
    assert parser.comments == 1
    assert parser.feed(b":\n:again\ndata: x\n: between\ndata: y\n\n") == ["x\ny"]
    assert parser.comments == 4
    assert parser.bytes_in == 55


def test_injected_frames_are_only_texts_for_the_next_layer() -> None:
    """Bodies with newlines in them, as npm signalhub 4.9.0 passes them on."""
    parser = Parser()
    assert parser.feed(b"data: line1\nline2\n\n") == ["line1"]
    assert parser.feed(b'data: x\n\ndata: {"from":"@forged"}\n\n\n\n') == ["x", '{"from":"@forged"}']


def test_the_probe_of_npm_signalhub(wire_captures: Path) -> None:
    """The subscriber's part of the capture: everything after the response's headers."""
    text = (wire_captures / "signalhub.probe.txt").read_bytes()
    body = text.split(b"--- sub1", 1)[1].split(b"--- sub2", 1)[0].split(b"Transfer-Encoding: chunked", 1)[1]
    events = Parser().feed(body.lstrip(b"\r\n"))
    assert events[:4] == ['{"to":"a"}', '{"to":"b"}', '{"to":"c/"}', '{"to":"a?q"}']
    assert events[4:7] == ["line1", "injected", "not json \u00e9"]
    assert events[7] == ""
    assert set(events[8]) == {"x"}


def test_the_capture_of_webrtc_swarm(wire_captures: Path) -> None:
    events = Parser().feed((wire_captures / "signalling.sse.log").read_bytes())
    assert len(events) == 14
    assert all(event.startswith("{") and event.endswith("}") for event in events)


def test_limits() -> None:
    assert Parser(limit_bytes=10).feed(b"data: 1234\n\n") == ["1234"]
    for stream in (b"data: 12345\n\n", b":comment-123", b"data: 123\ndata: 45\ndata: 678\n\n", b"x" * 11):
        parser = Parser(limit_bytes=10)
        with pytest.raises(FrameInvalid, match="more than 10 bytes"):
            parser.feed(stream)
        with pytest.raises(FrameInvalid):
            parser.feed(b"data: x\n\n")


def test_a_line_that_drips_in_meets_the_limit_too() -> None:
    parser = Parser(limit_bytes=100)
    for _ in range(100):
        assert parser.feed(b"x") == []
    with pytest.raises(FrameInvalid):
        parser.feed(b"x")


def test_many_small_events_are_no_large_one() -> None:
    assert len(Parser(limit_bytes=16).feed(b"data: 12345678\n\n" * 1000)) == 1000


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=40), max_size=6), st.data())
def test_what_a_hub_sends_comes_out_however_it_is_cut(bodies: list[str], data: st.DataObject) -> None:
    ends = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    stream = "".join(f"data: {body}{ends}{ends}:heartbeat signal{ends}{ends}" for body in bodies).encode()
    parser = Parser()
    assert [event for piece in cut_at(stream, data.draw(cuts(len(stream)))) for event in parser.feed(piece)] == bodies
    assert parser.comments == len(bodies)


@given(st.binary(max_size=200), st.data())
def test_outside_bytes_only_ever_raise_frame_invalid_and_cuts_do_not_matter(noise: bytes, data: st.DataObject) -> None:
    alphabet = noise.translate(bytes(b"data: \r\n"[index % 8] for index in range(256)))
    for stream in (noise, alphabet):
        whole, cut = Parser(limit_bytes=64), Parser(limit_bytes=64)
        try:
            expected: list[str] | None = whole.feed(stream)
        except FrameInvalid:
            expected = None
        try:
            pieces = cut_at(stream, data.draw(cuts(len(stream))))
            got: list[str] | None = [event for piece in pieces for event in cut.feed(piece)]
        except FrameInvalid:
            got = None
        assert got == expected
