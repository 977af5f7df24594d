"""The options that the streams of ssb-db have in common, read from what a caller sent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds import refs
from ssb_rtc.types import FeedId, Json

_BOUND_MAX: Final = 2**53


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """`sync`: a live stream says {sync: true} between old and new. `private`: contents in clear if they are for us."""

    live: bool = False
    old: bool = True
    sync: bool = True
    reverse: bool = False
    keys: bool = True
    values: bool = True
    private: bool = False
    limit: int | None = None


def options_of(options: Json) -> StreamOptions:
    """Reads an options object; what is absent, or no object at all, means the defaults. Raises RemoteCallError."""
    if not isinstance(options, dict):
        return StreamOptions()
    limit = _number(options.get("limit"), "limit")
    return StreamOptions(
        live=options.get("live") is True,
        old=options.get("old") is not False,
        sync=options.get("sync") is not False,
        reverse=options.get("reverse") is True,
        keys=options.get("keys") is not False,
        values=options.get("values") is not False,
        private=options.get("private") is True,
        limit=None if limit is None or limit < 0 else math.floor(limit),
    )


def range_of(options: Json) -> tuple[int | None, int | None]:
    """The first and the last whole number that `gt`, `gte`, `lt` and `lte` leave; None for no bound."""
    if not isinstance(options, dict):
        return None, None
    gt, gte, lt, lte = (_number(options.get(name), name) for name in ("gt", "gte", "lt", "lte"))
    lows = [*([] if gt is None else [math.floor(gt) + 1]), *([] if gte is None else [math.ceil(gte)])]
    highs = [*([] if lt is None else [math.ceil(lt) - 1]), *([] if lte is None else [math.floor(lte)])]
    return max(lows, default=None), min(highs, default=None)


def id_of(feed: Json) -> FeedId:
    """The id of a feed. Raises RemoteCallError."""
    if not refs.is_feed_id(feed):
        raise RemoteCallError(f"{feed!r:.100} is not a feed")
    return FeedId(feed)


def _number(value: Json, name: str) -> float | None:
    """A number within what JavaScript counts exactly; what lies beyond is as good as that bound."""
    if value is None:
        return None
    if type(value) not in (int, float):
        raise RemoteCallError(f"{name} must be a number")
    number: float = max(-_BOUND_MAX + 1, min(_BOUND_MAX - 1, value))
    return number
