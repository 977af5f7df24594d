"""Published hub messages: what they say, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from ssb_rtc.feeds.hub_message import LIFE_MS, HubMessage, hub_content, hub_of
from ssb_rtc.types import HubUrl

URL = HubUrl("https://hub.example.org")
NOW_MS = 1_700_000_000_000


def read(content: Any, written_ms: object = NOW_MS - 5) -> HubMessage | None:
    return hub_of(content, written_ms=written_ms, received_ms=NOW_MS)


def test_what_is_published_reads_back() -> None:
    assert read(hub_content(URL)) == HubMessage(URL, NOW_MS - 5, retired=False)
    assert read(hub_content(URL, retired=True)) == HubMessage(URL, NOW_MS - 5, retired=True)


@pytest.mark.parametrize("written", [NOW_MS + 1, -1, None, "x", float("nan"), float("inf"), 1e300])
def test_nobody_writes_later_than_we_receive(written: object) -> None:
    message = read(hub_content(URL), written)
    assert message is not None
    assert message.time_ms == NOW_MS


def test_for_how_long_it_counts() -> None:
    message = HubMessage(URL, NOW_MS, retired=False)
    assert message.counts(NOW_MS)
    assert message.counts(NOW_MS + LIFE_MS - 1)
    assert not message.counts(NOW_MS + LIFE_MS)
    assert not HubMessage(URL, NOW_MS, retired=True).counts(NOW_MS)


@pytest.mark.parametrize(
    "content",
    [
        "sealed.box",
        None,
        {"type": "post", "url": URL},
        {"type": "ssb-rtc/hub"},
        {"type": "ssb-rtc/hub", "url": ""},
        {"type": "ssb-rtc/hub", "url": "https://bücher.example"},
        {"type": "ssb-rtc/hub", "url": "x" * 2_000},
        {"type": "ssb-rtc/hub", "url": URL, "private": True},
        {"type": "ssb-rtc/hub", "url": URL, "private": "yes"},
    ],
)
def test_what_says_nothing(content: Any) -> None:
    assert read(content) is None


def test_only_true_retires() -> None:
    message = read({"type": "ssb-rtc/hub", "url": URL, "retired": "no", "private": False})
    assert message is not None
    assert not message.retired
