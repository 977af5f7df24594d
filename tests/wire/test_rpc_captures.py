"""Sessions replay what two JavaScript peers said to each other, byte for byte where the capture has it whole."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.wire.packets import BodyKind, Decoder, Packet, encode
from ssb_rtc.wire.rpc import Called, Ended, Kind, RawJson, Received, Session

TRACES = ["legA", "legB", "legAhist", "legBhist", "modA", "modB", "legB-to-modA", "modB-to-legA"]
HEAD = re.compile(
    r'\{"t":\d+,"dir":"(?P<dir>[^"]+)","req":(?P<req>-?\d+),"stream":(?P<stream>true|false),"end":(?P<end>true|false),'
    r'"value":(?P<value>.*)'
)
MESSAGE = re.compile(r'"message":("[^"]*")')


@dataclass
class Line:
    """One captured packet; what the capture cut is replaced by a short body of the same role."""

    outward: bool
    packet: Packet


def read_lines(path: Path, outward: str) -> list[Line]:
    lines: list[Line] = []
    for text in path.read_text().splitlines():
        match = HEAD.match(text)
        if match is None:
            continue
        body = match["value"][:-1].encode()
        if "...cut, " in text:
            message = MESSAGE.search(text)
            body = b'{"message":%s}' % message[1].encode() if message and match["end"] == "true" else b'{"cut":true}'
        json.loads(body)
        packet = Packet(
            int(match["req"]), body, BodyKind.JSON, stream=match["stream"] == "true", end=match["end"] == "true"
        )
        lines.append(Line(match["dir"] == outward, packet))
    return lines


def say(session: Session, packet: Packet) -> None:
    """Makes the session say what the captured side said."""
    value = json.loads(packet.body)
    if packet.end:
        session.end(packet.request, None if value is True else RemoteCallError(value["message"], name="Error"))
    elif isinstance(value, dict) and "args" in value:
        request = session.call(tuple(value["name"]), value["args"], Kind(value.get("type", "async")))
        assert request == packet.request
    elif packet.stream:
        session.write(packet.request, RawJson(packet.body))
    else:
        session.reply(packet.request, RawJson(packet.body))


def check_heard(session: Session, packet: Packet, opened: set[int]) -> None:
    """The events of one packet that came in."""
    events = session.receive(encode(packet))
    value: Any = json.loads(packet.body)
    request = -packet.request
    if packet.end:
        assert [type(event) for event in events] == [Ended]
    elif request < 0 and request not in opened:
        opened.add(request)
        assert events == [Called(request, tuple(value["name"]), value["args"], Kind(value.get("type", "async")))]
    else:
        assert events == [Received(request, packet.body, BodyKind.JSON)]


@pytest.mark.parametrize("name", TRACES)
def test_a_session_can_take_the_part_of_either_side(wire_captures: Path, name: str) -> None:
    lines = read_lines(wire_captures / f"trace.{name}.jsonl", "out")
    assert len(lines) == 40
    session = Session()
    opened: set[int] = set()
    for line in lines:
        if not line.outward:
            check_heard(session, line.packet, opened)
            session.take_outgoing()
            continue
        say(session, line.packet)
        (said,) = Decoder().feed(session.take_outgoing())
        if not line.packet.end:
            assert said.body == line.packet.body
        assert (said.request, said.stream, said.end) == (
            line.packet.request,
            line.packet.stream,
            line.packet.end,
        )


@pytest.mark.parametrize("who", ["legacy.JSclient", "legacy.JSserver", "modern.JSclient", "modern.JSserver"])
def test_javascript_echoes_our_errors(wire_captures: Path, who: str) -> None:
    """The stub answered every call with an error; so do we, with the same bytes.

    One call is never echoed: npm pull-weird forgets to when nothing reads its duplex, as in the legacy `ooo.stream`.
    """
    lines = read_lines(wire_captures / f"{who}.error.log", "me->")
    assert any(line.outward for line in lines)
    session = Session()
    refused: dict[int, str] = {}
    echoed: list[int] = []
    for line in lines:
        if line.outward:
            value = json.loads(line.packet.body)
            error = RemoteCallError(value["message"])
            _ = session.end(line.packet.request, error) or session.reply_error(line.packet.request, error)
            assert session.take_outgoing() == encode(line.packet)
            refused[line.packet.request] = value["message"]
            continue
        for event in session.receive(encode(line.packet)):
            if isinstance(event, Ended):
                assert event.error is not None
                assert event.error.message == refused[event.request]
                echoed.append(event.request)
        assert session.take_outgoing() == b""
    silent = {request for request, message in refused.items() if "ooo,stream" in message}
    assert len(silent) == (who == "legacy.JSclient")
    assert set(echoed) == refused.keys() - silent
    assert len(echoed) == len(set(echoed))
    assert session.open_calls == len(silent)
