"""The log: text for people, JSON for programs, and what happens often only as numbers."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ssb_rtc.cli.logs import write_to
from ssb_rtc.hub.journal import LOGGER, tell_traffic
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.rates import Rate
from tests.hub.sockets import LIMIT_S, post, running


@contextmanager
def journal(style: str, level: str) -> Iterator[io.StringIO]:
    written = io.StringIO()
    root, before = logging.getLogger(), logging.getLogger().level
    handler = write_to(written, style, level, LOGGER)
    try:
        yield written
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
        logging.getLogger(LOGGER).setLevel(logging.NOTSET)


def test_a_line_of_text() -> None:
    with journal("text", "info") as written:
        fields = {"a": 1, "why": 'a "b" c', "line": "x\ny", "none": ""}
        logging.getLogger(LOGGER).info("it happened", extra={"fields": fields})
        logging.getLogger(LOGGER).debug("too much")
        logging.getLogger("asyncio").warning("others too")
    lines = written.getvalue().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info    it happened .*", lines[0])
    assert lines[0].endswith(r'a=1 why="a \"b\" c" line="x\ny" none=""')
    assert lines[1].endswith("warning others too")
    assert len(lines) == 2


@pytest.mark.parametrize("style", ["text", "json"])
def test_what_others_say_stays_on_its_line_and_passwords_out_of_it(style: str) -> None:
    hub = "https://me:hunter2@hub.example"
    with journal(style, "info") as written:
        log = logging.getLogger(LOGGER)
        log.info(
            "%s said: %s", "@a=.ed25519", "bye\n2026-01-01T00:00:00Z error FAKE\x1b[2J", extra={"fields": {"at": hub}}
        )
        log.info("no goodbye on %s: it said //x, and @b", hub)
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert "\x1b" not in lines[0]
    assert "hunter2" not in written.getvalue()
    assert "https://***@hub.example" in lines[0]
    assert "https://***@hub.example: it said //x, and @b" in lines[1]


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_exception_stands_with_its_line(style: str) -> None:
    with journal(style, "info") as written:
        try:
            raise ValueError("boom")
        except ValueError:
            logging.getLogger(LOGGER).exception("it broke", extra={"fields": {"a": 1}})
    text = written.getvalue()
    if style == "json":
        line = json.loads(text)
        assert (line["event"], line["level"], line["a"]) == ("it broke", "error", 1)
        text = line["trace"]
    assert "ValueError: boom" in text


async def test_traffic_is_told_in_numbers_and_who_is_limited_only_when_asked_for() -> None:
    limits = HubLimits(loopback_exempt=False, address_rate=Rate(0.1, 1, 1e6, 1e6))
    for level, told in (("info", 0), ("debug", 2)):
        with journal("json", level) as written:
            async with running(limits) as hub:
                telling = asyncio.create_task(tell_traffic(hub, 0.05))
                for _ in range(3):
                    await post(hub.port, b"/v1/app/secret", b"secret")
                async with asyncio.timeout(LIMIT_S):
                    while '"posts_limited":2' not in written.getvalue():
                        await asyncio.sleep(0.01)
                telling.cancel()
        lines = [json.loads(line) for line in written.getvalue().splitlines()]
        assert [line["client"] for line in lines if line["event"] == "post limited"] == ["127.0.0.1"] * told
        assert sum(line.get("posts", 0) for line in lines if line["event"] == "traffic") == 1
        assert "secret" not in written.getvalue()
