"""muxrpc sessions: two machines and a fake wire between them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ssb_rtc.errors import FrameInvalid, LinkClosed, MisuseError, RemoteCallError
from ssb_rtc.wire.packets import GOODBYE, BodyKind, Decoder, Packet, RawJson, encode
from ssb_rtc.wire.rpc import Ended, Kind, Received, Session
from tests.wire.pair import ConnectionPair, json_packet, open_stream, opening, packets_of, shown

PARENT_ENDED = "unexpected end of parent stream"


# --- calls for one answer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.ASYNC, Kind.SYNC])
@pytest.mark.parametrize("piece_bytes", [0, 1, 7])
def test_a_call_and_its_answer(kind: Kind, piece_bytes: int) -> None:
    pair = ConnectionPair(piece_bytes=piece_bytes)
    request = pair.left.call(("whoami",), [{"a": 1}], kind)
    assert request == 1
    assert shown(pair.to_right()) == [("called", -1, "whoami", [{"a": 1}], Kind.ASYNC)]
    assert pair.right.is_open(-1)
    assert pair.right.reply(-1, {"id": "@me"})
    assert not pair.right.reply(-1, "again")
    assert shown(pair.to_left()) == [("received", 1, {"id": "@me"}), ("ended", 1, None)]
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_a_call_on_the_wire_is_what_muxrpc_writes() -> None:
    session = Session()
    session.call(("whoami",), [], Kind.SYNC)
    session.call(("ebt", "replicate"), [{"version": 3, "format": "classic"}], Kind.DUPLEX)
    first, second = packets_of(session)
    assert first == Packet(1, b'{"name":["whoami"],"args":[]}', BodyKind.JSON, stream=False, end=False)
    assert second.body == b'{"name":["ebt","replicate"],"args":[{"version":3,"format":"classic"}],"type":"duplex"}'
    assert (second.request, second.stream, second.end) == (2, True, False)


def test_an_error_answer() -> None:
    pair = ConnectionPair()
    pair.left.call(("publish",), [], Kind.ASYNC)
    pair.to_right()
    assert pair.right.reply_error(-1, RemoteCallError("no", name="TypeError"))
    (packet,) = Decoder().feed(data := pair.right.take_outgoing())
    assert (packet.request, packet.stream, packet.end) == (-1, False, True)
    assert json.loads(packet.body) == {"name": "TypeError", "message": "no", "stack": ""}
    (ended,) = pair.left.receive(data)
    assert isinstance(ended, Ended)
    assert ended.error is not None
    assert (ended.error.message, ended.error.name) == ("no", "TypeError")


@pytest.mark.parametrize(
    ("value", "body", "back"),
    [
        (None, b"null", None),
        (False, b"false", False),  # what JavaScript makes of undefined
        (0, b"0", 0),
        ("text", b"text", "text"),
        ("", b'""', ""),
        (b"\x00\xff", b"\x00\xff", b"\x00\xff"),
        (RawJson(b'{"a":1.50}'), b'{"a":1.50}', {"a": 1.5}),
    ],
)
def test_answers_of_every_type(value: Any, body: bytes, back: Any) -> None:
    pair = ConnectionPair()
    pair.left.call(("get",), [], Kind.ASYNC)
    pair.to_right()
    pair.right.reply(-1, value)
    received, ended = pair.to_left()
    assert isinstance(received, Received)
    assert (received.body, received.value) == (body, back)
    assert ended == Ended(1, None)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"message": "m", "name": "N", "stack": "s"}, "m"),
        ({"message": 7}, "the remote gave no reason"),
        ({}, "the remote gave no reason"),
        ("plain text", "plain text"),
        ([1], "[1]"),
        (True, "the remote ended the call without an answer"),
        (None, "the remote ended the call without an answer"),
    ],
)
def test_errors_of_every_shape(value: Any, message: str) -> None:
    session = Session()
    session.call(("x",), [], Kind.ASYNC)
    assert shown(session.receive(json_packet(-1, value, stream=False, end=True))) == [("ended", 1, message)]


def test_a_remote_error_has_a_limit() -> None:
    session = Session()
    session.call(("x",), [], Kind.ASYNC)
    (ended,) = session.receive(json_packet(-1, {"message": "m" * 10_000}, stream=False, end=True))
    assert isinstance(ended, Ended)
    assert ended.error is not None
    assert len(ended.error.message) == 4096


def test_answers_out_of_order_and_both_ways() -> None:
    pair = ConnectionPair()
    one, two = (pair.left.call((name,), [], Kind.ASYNC) for name in ("one", "two"))
    three = pair.right.call(("three",), [], Kind.ASYNC)
    pair.to_right()
    pair.to_left()
    pair.right.reply(-two, 2)
    pair.right.reply(-one, 1)
    pair.left.reply(-three, 3)
    at_left, at_right = pair.settle()
    assert shown(at_left) == [("received", two, 2), ("ended", two, None), ("received", one, 1), ("ended", one, None)]
    assert shown(at_right) == [("received", three, 3), ("ended", three, None)]


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [0, 1, 5])
def test_a_source_to_its_end(piece_bytes: int) -> None:
    pair = ConnectionPair(piece_bytes=piece_bytes)
    request = open_stream(pair, Kind.SOURCE)
    for value in (1, "two", b"three", {"four": 4}, b""):
        assert pair.right.write(-request, value)
    assert pair.right.end(-request)
    assert not pair.right.write(-request, 5)
    assert shown(pair.to_left()) == [
        ("received", request, 1),
        ("received", request, "two"),
        ("received", request, b"three"),
        ("received", request, {"four": 4}),
        ("ended", request, None),
    ]
    assert shown(pair.to_right()) == [("ended", -request, None)]  # echoed at once
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_a_source_that_fails() -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.SOURCE)
    pair.right.end(-request, RemoteCallError("disk"))
    at_left, at_right = pair.settle()
    assert shown(at_left) == [("ended", request, "disk")]
    assert shown(at_right) == [("ended", -request, "disk")]
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_a_source_that_its_reader_aborts() -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.SOURCE)
    pair.right.write(-request, "on its way")
    assert pair.left.end(request)
    assert not pair.left.end(request)
    assert shown(pair.to_left()) == []  # nothing more is delivered after an abort
    assert shown(pair.to_right()) == [("ended", -request, None)]
    assert not pair.right.write(-request, "late")
    assert not pair.right.is_open(-request)
    assert shown(pair.to_left()) == [("ended", request, None)]
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_a_sink_to_its_end() -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.SINK)
    pair.left.write(request, b"blob")
    pair.left.end(request)
    at_left, at_right = pair.settle()
    assert shown(at_right) == [("received", -request, b"blob"), ("ended", -request, None)]
    assert shown(at_left) == [("ended", request, None)]
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_a_sink_that_its_reader_aborts() -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.SINK)
    pair.left.write(request, b"on its way")
    pair.right.end(-request, RemoteCallError("full"))
    assert shown(pair.to_right()) == []
    assert shown(pair.to_left()) == [("ended", request, "full")]
    assert not pair.left.write(request, b"late")
    assert shown(pair.to_right()) == [("ended", -request, "full")]
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_a_duplex_stays_half_open() -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.DUPLEX)
    pair.left.write(request, "question")
    pair.left.end(request)
    assert shown(pair.to_right()) == [("received", -request, "question"), ("ended", -request, None)]
    assert pair.right.is_open(-request)
    pair.right.write(-request, "answer")
    pair.right.end(-request)
    assert shown(pair.to_left()) == [("received", request, "answer"), ("ended", request, None)]
    assert pair.left.open_calls == pair.right.open_calls == 0


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_an_error_ends_both_halves_of_a_duplex(who: str) -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.DUPLEX)
    failing, other, sign = (pair.left, pair.right, 1) if who == "caller" else (pair.right, pair.left, -1)
    other.write(-sign * request, "on its way")
    failing.end(sign * request, RemoteCallError("broken"))
    at_left, at_right = pair.settle()
    at_failing, at_other = (at_left, at_right) if who == "caller" else (at_right, at_left)
    assert shown(at_other) == [("ended", -sign * request, "broken")]
    assert shown(at_failing) == [("ended", sign * request, "broken")]
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_both_ends_cross_on_the_wire() -> None:
    for kind in (Kind.SOURCE, Kind.SINK, Kind.DUPLEX):
        pair = ConnectionPair()
        request = open_stream(pair, kind)
        pair.left.end(request)
        pair.right.end(-request)
        at_left, at_right = pair.settle()
        assert shown(at_left) == [("ended", request, None)]
        assert shown(at_right) == [("ended", -request, None)]
        assert pair.left.open_calls == pair.right.open_calls == 0


@pytest.mark.parametrize("end", [True, False, None])
def test_ends_that_are_clean(end: Any) -> None:
    session = Session()
    session.call(("x",), [], Kind.SOURCE)
    assert shown(session.receive(json_packet(-1, end, end=True))) == [("ended", 1, None)]


def test_items_are_parsed_only_when_looked_at() -> None:
    session = Session()
    session.call(("x",), [], Kind.SOURCE)
    (received,) = session.receive(encode(Packet(-1, b"{broken", BodyKind.JSON, stream=True, end=False)))
    assert isinstance(received, Received)
    assert received.body == b"{broken"
    with pytest.raises(FrameInvalid, match="says JSON and is none"):
        _ = received.value


# --- the end of the session -------------------------------------------------------------------------------------------


def test_goodbye_ends_everything_on_both_sides() -> None:
    pair = ConnectionPair()
    request = open_stream(pair, Kind.DUPLEX)
    called = pair.right.call(("y",), [], Kind.ASYNC)
    pair.to_left()
    pair.left.write(request, "last")
    pair.left.goodbye()
    pair.left.goodbye()
    assert shown(pair.to_right()) == [
        ("received", -request, "last"),
        ("ended", -request, PARENT_ENDED),
        ("ended", called, PARENT_ENDED),
        "goodbye",
    ]
    assert pair.right.closed
    assert shown(pair.to_left()) == [("ended", request, PARENT_ENDED), ("ended", -called, PARENT_ENDED), "goodbye"]
    assert pair.left.open_calls == pair.right.open_calls == 0
    assert pair.left.take_outgoing() == pair.right.take_outgoing() == b""
    assert pair.right.receive(b"noise") == []


def test_nothing_goes_out_after_our_goodbye() -> None:
    session = Session()
    session.receive(opening(1) + opening(2, stream=False) + opening(3, kind="source"))
    session.goodbye()
    assert session.take_outgoing() == GOODBYE
    assert not session.write(-1, "x")
    assert not session.end(-1)
    assert not session.reply(-2, "x")
    assert not session.reply_error(-2, RemoteCallError("x"))
    late = json_packet(9, True, end=True) + json_packet(10, "nonsense") + opening(11)
    assert shown(session.receive(json_packet(3, True, end=True) + late)) == [("ended", -3, None)]
    assert session.take_outgoing() == b""
    with pytest.raises(LinkClosed):
        session.call(("x",), [], Kind.ASYNC)


def test_an_end_in_the_goodbye_is_told_once() -> None:
    session = Session()
    session.call(("x",), [], Kind.DUPLEX)
    events = session.receive(json_packet(-1, True, end=True) + GOODBYE)
    assert shown(events) == [("ended", 1, None), "goodbye"]


def test_misuse() -> None:
    pair = ConnectionPair()
    source, sink, call = (pair.left.call(("x",), [], kind) for kind in (Kind.SOURCE, Kind.SINK, Kind.ASYNC))
    pair.to_right()
    for session, request in ((pair.left, source), (pair.right, -sink), (pair.left, call), (pair.right, -call)):
        with pytest.raises(MisuseError, match="does not write"):
            session.write(request, 1)
    for session, request in ((pair.left, call), (pair.right, -call)):
        with pytest.raises(MisuseError, match="answered, not ended"):
            session.end(request)
    for session, request in ((pair.right, -source), (pair.left, call)):
        with pytest.raises(MisuseError, match="can be answered"):
            session.reply(request, 1)
    with pytest.raises(MisuseError, match="empty"):
        pair.right.reply(-call, b"")
    with pytest.raises(MisuseError, match="no JSON"):
        pair.left.call(("x",), [object()], Kind.ASYNC)
    assert pair.right.reply(-call, 1)  # a mistake leaves the call as it was
