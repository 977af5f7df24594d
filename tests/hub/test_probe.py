"""Against the capture of npm signalhub 4.9.0: the same heads, header by header, and the same frames."""

from __future__ import annotations

import re
from pathlib import Path

from tests.hub.sockets import HOST, Raw, connected, post, running, without_date


def sections(capture: Path) -> dict[str, bytes]:
    """The capture's answers by their titles, line ends as on the wire, without the Date."""
    found: dict[str, bytes] = {}
    text = capture.read_bytes().replace(b"\r\n", b"\n")
    for part in re.split(rb"^(?:## |--- )", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition(b"\n")
        found[title.decode().strip()] = re.sub(rb"Date: [^\n]*\n", b"", body)
    return found


def head_of(section: bytes) -> bytes:
    return section.partition(b"\n\n")[0].replace(b"\n", b"\r\n") + b"\r\n\r\n"


async def ask(raw: Raw, line: bytes) -> tuple[bytes, bytes]:
    await raw.send(line + b" HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n")
    return await raw.answer()


async def test_answers_have_the_captured_heads(wire_captures: Path) -> None:
    captured = sections(wire_captures / "signalhub.probe.txt")
    asked = {
        "root": b"GET /",
        "POST no subscribers": b"POST /v1/app/nobody",
        "OPTIONS": b"OPTIONS /v1/app/a",
        "PUT": b"PUT /v1/app/a",
        "GET /v2": b"GET /v2",
        "GET /v1": b"GET /v1",
    }
    async with running() as hub, connected(hub.port) as raw:
        for title, line in asked.items():
            head, _ = await ask(raw, line)
            assert head == head_of(captured[title]), title


async def test_the_status_has_the_captured_form(wire_captures: Path) -> None:
    captured = sections(wire_captures / "signalhub.probe.txt")["root"].partition(b"\n\n")[2]
    async with running() as hub, connected(hub.port) as raw:
        _, body = await ask(raw, b"GET /")
    keys = re.sub(rb'("name"|"version"): "[^"]*"', rb"\1: _", captured)
    assert re.sub(rb'("name"|"version"): "[^"]*"', rb"\1: _", body) == keys


async def test_a_subscription_has_the_captured_head_and_frames(wire_captures: Path) -> None:
    captured = sections(wire_captures / "signalhub.probe.txt")
    head, _, frames = captured["sub1"].partition(b"\n\n")
    async with running() as hub, connected(hub.port) as raw:
        await raw.send(b"GET /v1/app/a,b,c/ HTTP/1.1\r\n" + HOST + b"\r\n")
        assert without_date(await raw.until(b"\r\n\r\n")) == head_of(head + b"\n\n")
        for path, body in [
            (b"a", b'{"to":"a"}'),
            (b"b", b'{"to":"b"}'),
            (b"c", b'{"to":"c"}'),
            (b"c/", b'{"to":"c/"}'),
            (b"a,b", b'{"to":"a,b"}'),
            (b"a?q", b'{"to":"a?q"}'),
            (b"%61", b'{"to":"%61"}'),
            (b"a", "not json é".encode()),
            (b"a", b""),
            (b"a", b"x" * 65535),
        ]:
            assert (await post(hub.port, b"/v1/app/" + path, body)).startswith(b"HTTP/1.1 200 OK")
        got = b"".join([await raw.chunk() for _ in range(7)])
    # The capture's newline bodies are what ours refuses; its last line is cut.
    expected = re.sub(rb"data: line1.*?data: injected\n*", b"", frames, flags=re.DOTALL).rstrip(b"x\n")
    assert got.rstrip(b"x\n") == expected
