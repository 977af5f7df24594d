"""muxrpc sessions against remotes that break the rules, and against those that ask for too much."""

from __future__ import annotations

import json

import pytest

from ssb_rtc.errors import FrameInvalid, LinkClosed, MisuseError, RemoteCallError
from ssb_rtc.wire.packets import REQUEST_MAX, BodyKind, Decoder, Packet, encode
from ssb_rtc.wire.rpc import Called, Kind, Limits, Session
from tests.wire.pair import ConnectionPair, json_packet, open_stream, opening, packets_of, shown


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


def test_the_limit_of_what_the_remotes_open_streams_hold() -> None:
    pair = ConnectionPair.limited(right=Limits(streams_in_bytes=1_000))
    long = ["x" * 400]
    requests = [pair.left.call(("x",), long, kind) for kind in (Kind.SOURCE, Kind.ASYNC, Kind.DUPLEX, Kind.SINK)]
    at_left, at_right = pair.settle()
    assert [event.request for event in at_right if isinstance(event, Called)] == [-1, -2, -3]
    assert shown(at_left) == [("ended", requests[3], "too many open streams: they hold 1000 bytes")]
    pair.left.end(1)
    pair.settle()
    again = pair.left.call(("x",), long, Kind.SOURCE)
    assert shown(pair.to_right()) == [("called", -again, "x", long, Kind.SOURCE)]


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
