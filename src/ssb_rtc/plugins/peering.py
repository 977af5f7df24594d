"""What the remote's manager tells ours over a link: `peers.goodbye` and `peers.tell`. Ours; JavaScript has neither.

    peers.goodbye({reason, notBefore})      the link is about to end: why, and for how many seconds to stay away
    peers.tell({onlyLink, downloading})     how the remote stands with this link

A remote can only speak of its own link, and neither call gives it anything but an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.signalhub.admission import TokenBucket
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json, JsonObject

REASON_LIMIT_CHARS: Final = 200
NOT_BEFORE_MAX_S: Final = 10.0**9
"""Longer than this means nothing."""
TELLS_PER_MIN: Final = 20
"""More of one link are not passed on."""


class Listening(Protocol):
    """Who is told what remotes say of their links: runtime.network.Network."""

    def hear_goodbye(self, link: Link, reason: str, not_before_s: float | None) -> None: ...

    def hear(self, link: Link, *, only_link: bool, downloading: bool) -> None: ...


class Peering:
    """Takes what remote managers say."""

    name = "peers"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"peers.goodbye": "async", "peers.tell": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": ["peers.goodbye", "peers.tell"], "local": []}

    def __init__(self, listening: Callable[[], Listening | None]) -> None:
        self._listening = listening
        self._tells: dict[Link, TokenBucket] = {}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._now_s = context.now_s
        return {"peers.goodbye": self._goodbye, "peers.tell": self._tell}

    async def _goodbye(self, link: Link, said: Json = None) -> Json:
        reason, not_before_s = read_goodbye(said)
        listening = self._listening()
        if listening is not None:
            listening.hear_goodbye(link, reason, not_before_s)
        return True

    async def _tell(self, link: Link, said: Json = None) -> Json:
        """True where it was taken in, False where it comes too often."""
        if not isinstance(said, dict):
            raise RemoteCallError("peers.tell takes {onlyLink, downloading}")
        now_s = self._now_s()
        bucket = self._tells.get(link)
        if bucket is None:
            bucket = self._tells[link] = TokenBucket(TELLS_PER_MIN / 60, TELLS_PER_MIN, now_s)
            link.closed.add_done_callback(lambda _: self._tells.pop(link, None))
        listening = self._listening()
        if listening is None or not bucket.take(now_s):
            return False
        listening.hear(link, only_link=said.get("onlyLink") is True, downloading=said.get("downloading") is True)
        return True


def read_goodbye(said: Json) -> tuple[str, float | None]:
    """The reason, for people: short, printable and not empty; and the seconds to stay away, where they make sense."""
    told: JsonObject = said if isinstance(said, dict) else {}
    reason: Json = told.get("reason")
    not_before_s: Json = told.get("notBefore")
    text = reason[:REASON_LIMIT_CHARS] if isinstance(reason, str) else ""
    text = "".join(character if character.isprintable() else " " for character in text).strip()
    if type(not_before_s) not in (int, float) or not 0 <= not_before_s <= NOT_BEFORE_MAX_S:
        not_before_s = None
    return text or "the other side closed the link", None if not_before_s is None else float(not_before_s)
