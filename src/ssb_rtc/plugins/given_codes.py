"""What plugins.invite and plugins.welcome do alike with the codes that they give out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from ssb_rtc.errors import MisuseError
from ssb_rtc.types import Json, JsonObject


class CodeRecord(Protocol):
    """A row of storage.invites or storage.welcomes. Times are of the wall clock, in milliseconds."""

    @property
    def id(self) -> str: ...

    @property
    def uses(self) -> int: ...

    @property
    def used(self) -> int: ...

    @property
    def note(self) -> str | None: ...

    @property
    def created_ms(self) -> int: ...

    @property
    def expires_ms(self) -> int: ...

    def usable(self, now_ms: int) -> bool: ...


def rows_of(records: Iterable[CodeRecord], now_ms: int) -> list[Json]:
    """What `list` answers: [{id, uses, used, note, createdMs, expiresMs, usable}]."""
    return [
        {
            "id": each.id,
            "uses": each.uses,
            "used": each.used,
            "note": each.note,
            "createdMs": each.created_ms,
            "expiresMs": each.expires_ms,
            "usable": each.usable(now_ms),
        }
        for each in records
    ]


def options_of(given: Json, kinds: Mapping[str, type], method: str) -> JsonObject:
    """The options of a `create`: none, or an object whose values are of these kinds; null is as good as not given.

    Raises MisuseError, which names `method` and all that it takes.
    """
    if given is not None and not isinstance(given, dict):
        raise MisuseError(f"{method} takes {{{', '.join(kinds)}}}")
    chosen = {name: value for name, value in (given or {}).items() if value is not None}
    if any(name not in kinds or type(value) is not kinds[name] for name, value in chosen.items()):
        raise MisuseError(f"{method} takes {{{', '.join(kinds)}}}")
    return chosen
