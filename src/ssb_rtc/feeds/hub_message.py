"""Published `hub` messages: an author's word for a hub that lasts until it is taken back. No I/O.

    {"type": "ssb-rtc/hub", "url": URL}                     this is a hub that I can recommend
    {"type": "ssb-rtc/hub", "url": URL, "retired": true}    no longer

The nearest thing in the SSB world is the message `pub` with `{address: {host, port, key}}`, by which JavaScript peers
learn of pubs. It can't be taken back and names a peer, so ours is a type of its own, with the prefix that newer types
have (`room/alias`, `metafeed/announce`). `private: true` keeps a message from being told on, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ssb_rtc.feeds.hub_entry import AHEAD_MAX_MS, DAY_MS, URL_CHARACTERS_MAX
from ssb_rtc.types import HubUrl, Json, JsonObject

TYPE: Final = "ssb-rtc/hub"
LIFE_MS: Final = 365 * DAY_MS
"""So long a message counts. Longer than an entry, because its author can take it back and people don't publish each
month; not for ever, because an author who is gone takes nothing back."""


@dataclass(frozen=True, slots=True)
class HubMessage:
    """What one message says of one hub. `time_ms` is when it was written, or when we got it if that was earlier."""

    url: HubUrl
    time_ms: int
    retired: bool

    def counts(self, now_ms: int) -> bool:
        """Whether it speaks for the hub now."""
        return not self.retired and -AHEAD_MAX_MS <= now_ms - self.time_ms < LIFE_MS


def hub_content(url: HubUrl, *, retired: bool = False) -> JsonObject:
    """The content to publish."""
    return {"type": TYPE, "url": url, "retired": True} if retired else {"type": TYPE, "url": url}


def hub_of(content: Json, *, written_ms: object, received_ms: int) -> HubMessage | None:
    """What a message says; None where it is no hub message, or a private one."""
    if not isinstance(content, dict) or content.get("type") != TYPE or content.get("private") not in (None, False):
        return None
    url = content.get("url")
    if not isinstance(url, str) or not url.isascii() or not 0 < len(url) <= URL_CHARACTERS_MAX:
        return None
    written = int(written_ms) if isinstance(written_ms, int | float) and 0 < written_ms < received_ms else received_ms
    return HubMessage(HubUrl(url), written, content.get("retired") is True)
