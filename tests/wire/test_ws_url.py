"""The addresses of WebSockets."""

from __future__ import annotations

import pytest

from ssb_rtc.errors import ConfigFault
from ssb_rtc.wire.ws_url import Endpoint, endpoint


@pytest.mark.parametrize(
    ("url", "found", "again"),
    [
        ("ws://example.com", Endpoint(False, "example.com", 80), "ws://example.com"),
        ("wss://example.com", Endpoint(True, "example.com", 443), "wss://example.com"),
        ("ws://example.com:80/", Endpoint(False, "example.com", 80), "ws://example.com"),
        ("wss://h:80/a/b?c=d", Endpoint(True, "h", 80, "/a/b?c=d"), "wss://h:80/a/b?c=d"),
        ("ws://[2001:db8::1]:9", Endpoint(False, "2001:db8::1", 9), "ws://[2001:db8::1]:9"),
    ],
)
def test_urls_come_apart_and_together(url: str, found: Endpoint, again: str) -> None:
    assert endpoint(url) == found
    assert found.url == again


@pytest.mark.parametrize(
    "url",
    ["", "ws:", "ws://", "http://h", "ws://h:x", "ws://h:99999", "ws://u:p@h", "ws://h/a b", "ws://h#f", "ws://[::1", "ws://h/ü"],
)  # fmt: skip
def test_what_is_no_address_of_a_websocket(url: str) -> None:
    with pytest.raises(ConfigFault):
        endpoint(url)
