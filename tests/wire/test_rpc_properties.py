"""muxrpc sessions under random conversations and under whatever a remote may send."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import FrameInvalid, RemoteCallError
from ssb_rtc.wire.packets import BodyKind, Decoder, Packet, encode
from ssb_rtc.wire.rpc import Called, Ended, Event, Goodbye, Kind, Limits, Received, Session
from tests.wire.cutting import cut_at, cuts
from tests.wire.pair import ConnectionPair

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
openings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", ["x"], ["a", "b"], [], [""], 7, None]),
        "args": st.sampled_from([[], [1], {}, None]),
        "type": st.sampled_from(["source", "sink", "duplex", "async", "sync", "other", 7, None, [[]]]),
    },
)
bodies = st.one_of(
    openings.map(lambda value: json.dumps(value).encode()),
    jsons.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([b"true", b"null", b"false", b"{", b"[" * 2000 + b"]" * 2000, b"9" * 5000]),
    st.binary(min_size=1, max_size=20),
)
hostile_packets = st.builds(
    Packet,
    request=st.one_of(st.integers(-4, 6), st.sampled_from([-(2**31), 2**31 - 1])),
    body=bodies,
    kind=st.sampled_from([BodyKind.JSON, BodyKind.JSON, BodyKind.JSON, BodyKind.STRING, BodyKind.BINARY]),
    stream=st.booleans(),
    end=st.booleans(),
).map(encode)


def session_with_calls() -> Session:
    """A session that has one call of each kind open."""
    session = Session(Limits(body_bytes=10_000, args_bytes=200, open_in_max=3))
    for kind in Kind:
        session.call(("x",), [], kind)
    session.take_outgoing()
    return session


@settings(max_examples=200)
@given(st.lists(st.one_of(hostile_packets, hostile_packets, st.binary(max_size=20)), max_size=12), st.data())
def test_a_remote_only_ever_raises_frame_invalid(pieces: list[bytes], data: st.DataObject) -> None:
    session = session_with_calls()
    for piece in pieces:
        try:
            events = session.receive(piece)
        except FrameInvalid:
            assert session.closed
            break
        for event in events:
            answer(session, event, data.draw(st.integers(0, 4)))
    assert session.open_calls <= 5 + 3
    decoder = Decoder()
    decoder.feed(session.take_outgoing())
    assert decoder.buffered_bytes == 0


def answer(session: Session, event: Event, how: int) -> None:
    """Does with an event what a link might do; whatever it is, it must not raise because of the remote."""
    if isinstance(event, Received):
        try:
            _ = event.value
        except FrameInvalid:
            return
    elif isinstance(event, Called) and not event.kind.is_stream:
        _ = session.reply(event.request, 1) if how % 2 else session.reply_error(event.request, RemoteCallError("no"))
    elif isinstance(event, Called):
        if event.kind is not Kind.SINK:
            session.write(event.request, 1)
        if how < 3:
            session.end(event.request, RemoteCallError("no") if how else None)
    elif isinstance(event, Ended):
        session.end(event.request)
        session.end(event.request)


@given(st.binary(max_size=120), st.data())
def test_outside_bytes_only_ever_raise_frame_invalid(noise: bytes, data: st.DataObject) -> None:
    session = session_with_calls()
    try:
        for piece in cut_at(noise, data.draw(cuts(len(noise)))):
            session.receive(piece)
    except FrameInvalid:
        assert session.closed


class Conversation:
    """Random talk between two sessions, and what each stream said and heard."""

    def __init__(self) -> None:
        self.pair = ConnectionPair()
        self.sessions = (self.pair.left, self.pair.right)
        self.kinds: list[dict[int, Kind]] = [{}, {}]
        self.said: list[defaultdict[int, list[Any]]] = [defaultdict(list), defaultdict(list)]
        self.heard: list[defaultdict[int, list[Any]]] = [defaultdict(list), defaultdict(list)]
        self.ended: list[defaultdict[int, int]] = [defaultdict(int), defaultdict(int)]
        self.aborted: set[tuple[int, int]] = set()

    def call(self, side: int, kind: Kind) -> None:
        self.kinds[side][self.sessions[side].call(("x",), [], kind)] = kind

    def writes(self, side: int, request: int) -> bool:
        kind = self.kinds[side][request]
        return kind is Kind.DUPLEX or (kind is Kind.SINK and request > 0) or (kind is Kind.SOURCE and request < 0)

    def write(self, side: int, request: int, value: int) -> None:
        kind = self.kinds[side][request]
        if not kind.is_stream:
            if request < 0 and self.sessions[side].reply(request, value):
                self.said[side][request].append(value)
        elif self.writes(side, request) and self.sessions[side].write(request, value):
            self.said[side][request].append(value)

    def end(self, side: int, request: int, *, failed: bool) -> None:
        if self.kinds[side][request].is_stream:
            if failed or not self.writes(side, request):
                self.aborted.add((side, request))
            self.sessions[side].end(request, RemoteCallError("failed") if failed else None)

    def carry(self, side: int) -> None:
        for event in self.pair.to_right() if side == 0 else self.pair.to_left():
            self.hear(1 - side, event)

    def hear(self, side: int, event: Event) -> None:
        if isinstance(event, Called):
            self.kinds[side][event.request] = event.kind
        elif isinstance(event, Received):
            assert not self.ended[side][event.request], "an item after the end"
            self.heard[side][event.request].append(event.value)
        elif isinstance(event, Ended):
            self.ended[side][event.request] += 1

    def finish(self) -> None:
        for _ in range(4):
            self.carry(0)
            self.carry(1)
            for side in (0, 1):
                for request in list(self.kinds[side]):
                    self.write(side, request, -1) if not self.kinds[side][request].is_stream else None
                    self.end(side, request, failed=False)

    def check(self) -> None:
        assert self.pair.left.open_calls == self.pair.right.open_calls == 0
        for side in (0, 1):
            for request, kind in self.kinds[side].items():
                if kind.is_stream or request > 0:
                    assert self.ended[side][request] == 1, (kind, request)
                heard, said = self.heard[side][request], self.said[1 - side][-request]
                assert heard == said[: len(heard)]
                if (side, request) not in self.aborted and (1 - side, -request) not in self.aborted:
                    assert heard == said


@settings(max_examples=200)
@given(st.data())
def test_conversations_lose_nothing_and_leave_nothing_open(data: st.DataObject) -> None:
    talk = Conversation()
    for step in range(data.draw(st.integers(0, 40))):
        side = data.draw(st.integers(0, 1))
        requests = sorted(talk.kinds[side])
        match data.draw(st.sampled_from(["call", "write", "write", "end", "fail", "carry", "carry"])):
            case "call":
                talk.call(side, data.draw(st.sampled_from(Kind)))
            case "write" if requests:
                talk.write(side, data.draw(st.sampled_from(requests)), step)
            case "end" if requests:
                talk.end(side, data.draw(st.sampled_from(requests)), failed=False)
            case "fail" if requests:
                talk.end(side, data.draw(st.sampled_from(requests)), failed=True)
            case "carry":
                talk.carry(side)
    talk.finish()
    talk.check()


@given(st.data())
def test_a_goodbye_at_any_time_ends_every_call_once(data: st.DataObject) -> None:
    talk = Conversation()
    for _ in range(data.draw(st.integers(0, 6))):
        talk.call(data.draw(st.integers(0, 1)), data.draw(st.sampled_from(Kind)))
    talk.carry(data.draw(st.integers(0, 1)))
    talk.sessions[data.draw(st.integers(0, 1))].goodbye()
    goodbyes = [0, 0]
    while any(session.outgoing_bytes for session in talk.sessions):
        for side, events in ((1, talk.pair.to_right()), (0, talk.pair.to_left())):
            for event in events:
                goodbyes[side] += isinstance(event, Goodbye)
                talk.hear(side, event)
    assert goodbyes == [1, 1]
    for side in (0, 1):
        assert all(talk.ended[side][request] == 1 for request in talk.kinds[side])
    assert talk.pair.left.open_calls == talk.pair.right.open_calls == 0
