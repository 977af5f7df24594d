"""Where a peer listens that was told nothing: at private addresses alone, those that come later too."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv4Interface

import pytest

from ssb_rtc.errors import ListenFailed
from ssb_rtc.runtime import lan_listening
from ssb_rtc.runtime.lan_listening import LanListening, is_private


def test_which_addresses_are_private() -> None:
    private = ("10.1.2.3", "172.16.0.1", "192.168.1.5")
    others = ("8.8.8.8", "127.0.0.1", "169.254.1.1", "100.64.0.1")
    assert [str(each) for each in map(IPv4Address, (*private, *others)) if is_private(each)] == list(private)


async def test_it_listens_at_private_addresses_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan_listening, "LOOK_S", 0.01)
    networks = ["192.168.1.5/24", "8.8.8.8/24"]
    asked: list[str] = []
    news = asyncio.Event()

    async def listen(where: str) -> None:
        asked.append(where)
        news.set()
        if where.endswith(":8008"):
            raise ListenFailed("another program listens there")

    listening = LanListening(listen, lambda: [IPv4Interface(each) for each in networks])
    await listening.start()
    assert asked == ["net:192.168.1.5:8008", "net:192.168.1.5:0"]
    networks.append("10.0.0.7/8")
    async with asyncio.timeout(10):
        while len(asked) < 4:
            news.clear()
            await news.wait()
    assert asked[2:] == ["net:10.0.0.7:8008", "net:10.0.0.7:0"]
    await listening.close()
