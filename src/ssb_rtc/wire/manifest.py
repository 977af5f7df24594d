"""Which methods a peer offers, of what kind, and who may call them.

A manifest travels nested, `{"ebt": {"replicate": "duplex"}, "whoami": "sync"}`; here it is flat, by name. The texts of
refusals are those of npm muxrpc 8.0 and its callers: ssb-ebt 9 compares two of them to the letter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum
from typing import Final, TypeAlias

from ssb_rtc.errors import FrameInvalid, MisuseError, RemoteCallError
from ssb_rtc.types import Json, JsonObject

Name: TypeAlias = tuple[str, ...]

NAME_DEPTH_MAX: Final = 8
NAMES_MAX: Final = 1024


class Kind(Enum):
    """How a method is called: for one answer (ASYNC and SYNC, the same on the wire), or as a stream."""

    ASYNC = "async"
    SYNC = "sync"
    SOURCE = "source"
    SINK = "sink"
    DUPLEX = "duplex"

    @property
    def is_stream(self) -> bool:
        """A stream is over when both sides have ended it; a call for one answer is over with the answer."""
        return self in _STREAMS


_STREAMS: Final = frozenset({Kind.SOURCE, Kind.SINK, Kind.DUPLEX})


def split_name(dotted: str) -> Name:
    """`"ebt.replicate"` as `("ebt", "replicate")`. Raises MisuseError for an empty part."""
    name = tuple(dotted.split("."))
    if not all(name):
        raise MisuseError(f"{dotted!r} is no method name: it has an empty part")
    return name


class Manifest:
    """An immutable table of method names and their kinds."""

    __slots__ = ("_kinds",)

    def __init__(self, kinds: Mapping[Name, Kind] | None = None) -> None:
        self._kinds: dict[Name, Kind] = dict(kinds or {})

    @classmethod
    def from_json(cls, nested: Json) -> Manifest:
        """Reads a manifest that a remote sent. Raises FrameInvalid for one that is none or is too large."""
        if not isinstance(nested, dict):
            raise FrameInvalid("a manifest must be an object")
        kinds: dict[Name, Kind] = {}
        pending: list[tuple[Name, JsonObject]] = [((), nested)]
        while pending:
            path, table = pending.pop()
            for key, entry in table.items():
                name = (*path, key)
                if isinstance(entry, dict) and len(name) < NAME_DEPTH_MAX:
                    pending.append((name, entry))
                elif isinstance(entry, str) and entry in _KIND_OF:
                    kinds[name] = _KIND_OF[entry]
                else:
                    raise FrameInvalid(f"a manifest says of {'.'.join(name)[:100]!r} neither its kind nor its methods")
                if len(kinds) + len(pending) > NAMES_MAX:
                    raise FrameInvalid(f"a manifest names more than {NAMES_MAX} methods")
        return cls(kinds)

    def to_json(self) -> JsonObject:
        """The nested form. Raises MisuseError when one name is a method and a group of methods at once."""
        nested: JsonObject = {}
        for name, kind in self._kinds.items():
            table = nested
            for part in name[:-1]:
                table = table.setdefault(part, {})
                if not isinstance(table, dict):
                    raise MisuseError(f"{'.'.join(name)}: a part of its name is a method itself")
            if name[-1] in table:
                raise MisuseError(f"{'.'.join(name)} is a method and a group of methods at once")
            table[name[-1]] = kind.value
        return nested

    def merged(self, other: Manifest) -> Manifest:
        """Both tables together; a name in both is MisuseError."""
        twice = self._kinds.keys() & other._kinds.keys()
        if twice:
            raise MisuseError(f"two plugins offer the same method: {', '.join(sorted('.'.join(n) for n in twice))}")
        return Manifest({**self._kinds, **other._kinds})

    def kind_of(self, name: Name) -> Kind | None:
        """The kind of this method; None when there is no such method."""
        return self._kinds.get(name)

    def __iter__(self) -> Iterator[Name]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __contains__(self, name: object) -> bool:
        return name in self._kinds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self._kinds == other._kinds

    # It may not be a key; mypy does not know Python's way to say so.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Manifest({', '.join('.'.join(name) + ':' + kind.value for name, kind in self._kinds.items())})"


_KIND_OF: Final = {kind.value: kind for kind in Kind}


class Permissions:
    """Which methods a caller may call. `allow` holds dotted names, of methods or of whole groups; None allows all."""

    __slots__ = ("_allow",)

    def __init__(self, allow: Collection[str] | None = None) -> None:
        self._allow = None if allow is None else frozenset(split_name(dotted) for dotted in allow)

    def allows(self, name: Name) -> bool:
        """True when the name or a group that it is in is on the list."""
        return self._allow is None or any(name[:depth] in self._allow for depth in range(1, len(name) + 1))

    def merged(self, other: Permissions) -> Permissions:
        """What either of the two allows."""
        merged = Permissions()
        merged._allow = None if self._allow is None or other._allow is None else self._allow | other._allow
        return merged


def refusal_not_allowed(name: Name) -> str:
    """What muxrpc 8.0 answers to a caller that may not call this method."""
    return f"method:{','.join(name)} is not in list of allowed methods"


def refusal_no_such_command(name: Name) -> str:
    """What the field answers where there is no such method."""
    return f"muxrpc: no such command: {'.'.join(name)}"


def refusal_wrong_kind(name: Name, kind: Kind) -> str:
    """What muxrpc 8.0 answers when the method is of another kind than the call."""
    return f"no {kind.value}:{','.join(name)}"


def check_call(manifest: Manifest, permissions: Permissions, name: Name, kind: Kind) -> Kind:
    """The kind of the method that this call means (SYNC or ASYNC for a call for one answer).

    Raises RemoteCallError with the text to answer. Permission is looked at first, as muxrpc does, so that a caller
    can't list what it may not call.
    """
    if not permissions.allows(name):
        raise RemoteCallError(refusal_not_allowed(name))
    offered = manifest.kind_of(name)
    if offered is None:
        raise RemoteCallError(refusal_no_such_command(name))
    if offered is not kind and (offered.is_stream or kind.is_stream):
        raise RemoteCallError(refusal_wrong_kind(name, kind))
    return offered
