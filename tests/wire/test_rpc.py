"""muxrpc sessions: two machines and a fake wire between them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.wire.pair import ConnectionPair

from ssb_rtc.errors import FrameInvalid, LinkClosed, MisuseError, RemoteCallError
from ssb_rtc.wire.packets import GOODBYE, REQUEST_MAX, BodyKind, Decoder, Packet, RawJson, encode
from ssb_rtc.wire.rpc import Called, Ended, Event, Goodbye, Kind, Limits, Received, Session

PARENT_ENDED = "unexpected end of parent stream"


def shown(events: list[Event]) -> list[Any]:
    """Events as plain tuples, so that a test reads like the conversation."""
    plain: list[Any] = []
    for event in events:
        match event:
            case Called(request, name, args, kind):
                plain.append(("called", request, ".".join(name), args, kind))
            case Received():
                plain.append(("received", event.request, event.value))
            case Ended(request, error):
                plain.append(("ended", request, None if error is None else error.message))
            case Goodbye():
                plain.append("goodbye")
    return plain


def packets_of(session: Session) -> list[Packet]:
    return Decoder().feed(session.take_outgoing())


def json_packet(request: int, value: Any, *, stream: bool = True, end: bool = False) -> bytes:
    return encode(Packet(request, json.dumps(value).encode(), BodyKind.JSON, stream=stream, end=end))


def opening(request: int, name: Any = ("x",), kind: Any = "duplex", args: Any = (), *, stream: bool = True) -> bytes:
    return json_packet(request, {"name": name, "args": args, "type": kind}, stream=stream)


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


def open_stream(pair: ConnectionPair, kind: Kind) -> int:
    request = pair.left.call(("x",), [], kind)
    assert shown(pair.to_right()) == [("called", -request, "x", [], kind)]
    return request


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


# --- what the remote may get wrong ------------------------------------------------------------------------------------


def test_packets_for_unknown_answers_are_ignored() -> None:
    session = Session()
    for stream in (True, False):
        for end in (True, False):
            for request in (-1, -7, -(2**31), 0):
                assert session.receive(json_packet(request, True, stream=stream, end=end)) == []
    assert session.take_outgoing() == b""


def test_late_answers_are_ignored() -> None:
    session = Session()
    session.call(("x",), [], Kind.ASYNC)
    answer = json_packet(-1, 1, stream=False)
    assert len(session.receive(answer)) == 2
    assert session.receive(answer) == []
    session.call(("x",), [], Kind.SOURCE)
    end = json_packet(-2, True, end=True)
    assert len(session.receive(end)) == 1
    assert session.receive(end) == []
    assert session.receive(json_packet(-2, "item")) == []


def test_what_follows_an_end_is_dropped() -> None:
    session = Session()
    session.call(("x",), [], Kind.DUPLEX)
    session.take_outgoing()
    end = json_packet(-1, True, end=True)
    assert shown(session.receive(end + end + json_packet(-1, "late"))) == [("ended", 1, None)]
    assert session.is_open(1)
    assert session.take_outgoing() == b""


def test_an_unknown_end_is_echoed_as_muxrpc_does() -> None:
    session = Session()
    assert session.receive(json_packet(9, True, end=True)) == []
    assert packets_of(session) == [Packet(-9, b"true", BodyKind.JSON, stream=True, end=True)]
    assert session.open_calls == 0


def test_items_for_a_call_that_was_refused_are_no_new_calls() -> None:
    """A JavaScript dialler writes into gossip.ping before it can know that it was refused."""
    session = Session()
    session.receive(opening(1, ["gossip", "ping"]))
    session.end(-1, RemoteCallError("no"))
    assert session.receive(json_packet(1, 1795329587234)) == []
    assert len(packets_of(session)) == 1
    assert shown(session.receive(json_packet(1, {"message": "no"}, end=True))) == [("ended", -1, "no")]
    assert session.open_calls == 0


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (opening(1, ["x"], "teleport"), "unsupported stream type: teleport"),
        (opening(1, ["x"], "async"), "unsupported stream type: async"),
        (opening(1, ["x"], None), "unsupported stream type: none"),
        (opening(1, [], "source"), "name should be"),
        (opening(1, "", "source"), "name should be"),
        (opening(1, [""], "source"), "name should be"),
        (opening(1, [7], "source"), "name should be"),
        (opening(1, {"a": 1}, "source"), "name should be"),
        (opening(1, ["x"] * 9, "source"), "name should be"),
        (opening(1, ["x" * 129], "source"), "name should be"),
        (opening(1, ["x"], "source", {}), "args should be array"),
        (opening(1, ["x"], "source", None), "args should be array"),
        (json_packet(1, {"name": ["x"]}, stream=False), "args should be array"),
        (json_packet(1, 7), "invalid request"),
        (json_packet(1, None, stream=False), "invalid request"),
        (json_packet(1, [], stream=False), "invalid request"),
        (encode(Packet(1, b"text", BodyKind.STRING, stream=True, end=False)), "invalid request"),
        (encode(Packet(1, b"bytes", BodyKind.BINARY, stream=False, end=False)), "invalid request"),
    ],
)
def test_malformed_calls_are_answered_with_an_error(call: bytes, why: str) -> None:
    session = Session()
    assert session.receive(call) == []
    (packet,) = packets_of(session)
    asked = Decoder().feed(call)[0]
    assert (packet.request, packet.stream, packet.end) == (-1, asked.stream, True)
    assert why in json.loads(packet.body)["message"]
    assert session.open_calls == 0


def test_a_name_may_be_a_plain_text() -> None:
    session = Session()
    assert shown(session.receive(opening(1, "whoami", stream=False))) == [("called", -1, "whoami", [], Kind.ASYNC)]


@pytest.mark.parametrize(
    "data",
    [
        encode(Packet(1, b"{broken", BodyKind.JSON, stream=True, end=False)),
        encode(Packet(1, b"{broken", BodyKind.JSON, stream=False, end=False)),
        b"\x03\x00\x00\x00\x01\x00\x00\x00\x01x",
        opening(1) + opening(1, stream=False),
        opening(1, stream=False) + opening(1),
        opening(1, stream=False) + opening(1, stream=False),
    ],
)
def test_what_ends_the_link(data: bytes) -> None:
    session = Session()
    with pytest.raises(FrameInvalid):
        session.receive(data)
    with pytest.raises(FrameInvalid):
        session.receive(b"")
    assert session.closed
    with pytest.raises(LinkClosed):
        session.call(("x",), [], Kind.ASYNC)


def test_an_answer_of_the_wrong_shape_ends_the_link() -> None:
    for kind, stream in ((Kind.ASYNC, True), (Kind.SOURCE, False)):
        session = Session()
        session.call(("x",), [], kind)
        with pytest.raises(FrameInvalid, match="says otherwise"):
            session.receive(json_packet(-1, 1, stream=stream))


def test_a_malformed_error_ends_the_link() -> None:
    session = Session()
    session.call(("x",), [], Kind.SOURCE)
    with pytest.raises(FrameInvalid):
        session.receive(encode(Packet(-1, b"{", BodyKind.JSON, stream=True, end=True)))


# --- limits -----------------------------------------------------------------------------------------------------------


def test_the_limit_of_open_calls_of_the_remote() -> None:
    pair = ConnectionPair.limited(right=Limits(open_in_max=2))
    requests = [pair.left.call(("x",), [], kind) for kind in (Kind.SOURCE, Kind.ASYNC, Kind.DUPLEX, Kind.ASYNC)]
    at_left, at_right = pair.settle()
    assert [event.request for event in at_right if isinstance(event, Called)] == [-1, -2]
    assert shown(at_left) == [("ended", request, "too many open calls: the limit is 2") for request in requests[2:]]
    pair.right.reply(-2, 1)
    pair.settle()
    again = pair.left.call(("x",), [], Kind.ASYNC)
    assert shown(pair.to_right()) == [("called", -again, "x", [], Kind.ASYNC)]


def test_refused_streams_do_not_leak() -> None:
    pair = ConnectionPair.limited(right=Limits(open_in_max=1))
    for _ in range(50):
        request = open_stream(pair, Kind.DUPLEX)
        pair.right.end(-request, RemoteCallError("no"))
        pair.settle()
    assert pair.left.open_calls == pair.right.open_calls == 0


def test_the_limit_of_our_own_open_calls() -> None:
    session = Session(Limits(open_out_max=2))
    session.receive(opening(1))
    session.call(("x",), [], Kind.ASYNC)
    session.call(("x",), [], Kind.ASYNC)
    with pytest.raises(MisuseError, match="2 calls are open"):
        session.call(("x",), [], Kind.ASYNC)


def test_the_limit_of_arguments() -> None:
    pair = ConnectionPair.limited(right=Limits(args_bytes=100))
    pair.left.call(("x",), ["a" * 100], Kind.ASYNC)
    pair.left.call(("x",), ["a" * 50], Kind.ASYNC)
    at_left, at_right = pair.settle()
    assert shown(at_left) == [("ended", 1, "the call is too large: the limit is 100 bytes")]
    assert [event.request for event in at_right if isinstance(event, Called)] == [-2]


def test_the_limit_of_bodies() -> None:
    pair = ConnectionPair.limited(left=Limits(body_bytes=100))
    request = open_stream(pair, Kind.SOURCE)
    pair.right.write(-request, b"x" * 101)
    with pytest.raises(FrameInvalid, match="the limit is 100"):
        pair.to_left()


def test_request_numbers_wrap_around_and_pass_over_open_calls() -> None:
    session = Session()
    first = session.call(("x",), [], Kind.ASYNC)
    session._next_request = REQUEST_MAX
    assert session.call(("x",), [], Kind.ASYNC) == REQUEST_MAX
    assert session.call(("x",), [], Kind.ASYNC) == first + 1
    assert [packet.request for packet in packets_of(session)] == [1, REQUEST_MAX, 2]


def test_the_highest_request_number_of_the_remote_can_be_answered() -> None:
    session = Session()
    session.receive(opening(REQUEST_MAX, stream=False))
    assert session.reply(-REQUEST_MAX, 1)


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
    session.receive(json_packet(3, True, end=True) + json_packet(9, True, end=True) + json_packet(10, "nonsense"))
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
