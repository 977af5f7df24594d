"""What happened, step by step: a ring in memory and, where asked for, a file of JSON lines that can be replayed.

The first line of a file is a `Header`, each further one a `Record`. Because `step` is deterministic, the header and
the actions alone give the same effects again; `replay` says where they don't.
"""

from __future__ import annotations

import logging
import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.manager.actions import Action
from ssb_rtc.manager.effects import Effect
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Now, State, initial
from ssb_rtc.manager.step import step
from ssb_rtc.types import PeerId

TRACE_VERSION = 1
RING_RECORDS = 1_000
FILE_MAX_BYTES = 64 * 1024 * 1024
"""A trace file grows no further; the ring goes on."""

_log = logging.getLogger(__name__)


class Header(msgspec.Struct, frozen=True):
    """What a replay starts from."""

    version: int
    own: PeerId
    seed: int
    settings: Settings
    mono_s: float
    wall_s: float


class Record(msgspec.Struct, frozen=True):
    """One step: when, what came, what was ordered."""

    mono_s: float
    wall_s: float
    action: Action
    effects: tuple[Effect, ...]


class Mismatch(msgspec.Struct, frozen=True):
    """A step whose replay gave other effects than recorded."""

    record: int
    """Its number, from 0."""
    recorded: tuple[Effect, ...]
    replayed: tuple[Effect, ...]


class Replay(NamedTuple):
    """What came of running a trace once more."""

    steps: int
    mismatches: list[Mismatch]
    cut: bool
    """The last line is not whole, as the death of a process or a full disk leaves it; the steps before it count."""


class Trace:
    """Records steps. `ring` holds the last ones, `start` the state before the first of them."""

    def __init__(
        self, file: Path | None = None, *, ring_records: int = RING_RECORDS, file_max_bytes: int = FILE_MAX_BYTES
    ) -> None:
        """Records into `file` too, where given: made anew, readable by its owner alone. Raises ConfigFault."""
        self.ring: deque[Record] = deque(maxlen=ring_records)
        self._states: deque[State] = deque(maxlen=ring_records)
        self._room_bytes = file_max_bytes
        self._file: IO[bytes] | None = None
        if file is not None:
            try:
                self._file = _private_file(file)
            except OSError as error:
                raise ConfigFault(
                    f"the trace file {file} can't be written: {error.strerror}; name another one"
                ) from error
        self._fresh = True

    @property
    def start(self) -> State | None:
        """The state before the first record of the ring; with the ring it can be replayed."""
        return self._states[0] if self._states else None

    def record(self, before: State, now: Now, action: Action, effects: tuple[Effect, ...]) -> None:
        """Add one step. A file that can't be written ends the file, never the peer; nor does what is no text."""
        record = Record(now.mono_s, now.wall_s, action, effects)
        self.ring.append(record)
        self._states.append(before)
        if self._file is None:
            return
        try:
            lines = msgspec.json.encode(record) + b"\n"
        except (UnicodeError, msgspec.MsgspecError) as error:
            _log.warning("the trace file ends here, because a step can't be written: %s", error)
            self.close()
            return
        if self._fresh:
            self._fresh = False
            lines = msgspec.json.encode(_header(before)) + b"\n" + lines
        self._room_bytes -= len(lines)
        if self._room_bytes < 0:
            _log.warning("the trace file is full: it ends here")
            self.close()
            return
        try:
            written = self._file.write(lines)
        except OSError as error:
            _log.warning("the trace file ends here: %s", error)
            self.close()
            return
        if written != len(lines):
            _log.warning("the trace file ends here: the disk took %d of %d bytes", written, len(lines))
            self.close()

    def close(self) -> None:
        """Close the file. The ring stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _private_file(file: Path) -> IO[bytes]:
    handle = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "wb", buffering=0)
    try:
        if stat.S_ISREG(os.fstat(handle.fileno()).st_mode):
            # The mode above is for a file that is new; one that is there keeps its own.
            os.fchmod(handle.fileno(), 0o600)
            handle.truncate()
    except OSError:
        handle.close()
        raise
    return handle


def _header(state: State) -> Header:
    return Header(TRACE_VERSION, state.own, state.seed, state.settings, state.now.mono_s, state.now.wall_s)


def read_trace(lines: Iterable[bytes]) -> tuple[Header, Iterator[Record]]:
    """Parse a trace file's lines. Raises ConfigFault where they are none, at once or on the way."""
    rest = iter(lines)
    try:
        header = msgspec.json.decode(next(rest, b""), type=Header)
    except (msgspec.DecodeError, ConfigFault) as error:
        raise ConfigFault(f"no file of `start --trace FILE`: its first line is not a header: {error}") from error
    if header.version != TRACE_VERSION:
        raise ConfigFault(
            f"this trace has version {header.version}; this program reads version {TRACE_VERSION}: record it anew"
        )
    return header, _records(rest)


def _records(lines: Iterator[bytes]) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(Record)
    for number, line in enumerate(lines, start=2):
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise ConfigFault(f"line {number} of the trace is not a record: {error}") from error


def replay(lines: Iterable[bytes]) -> list[Mismatch]:
    """Run a trace's actions through `step` again; gives the steps whose effects differ. Raises ConfigFault.

    `lines` are whole, with or without their line breaks.
    """
    return replay_file(line.removesuffix(b"\n") + b"\n" for line in lines).mismatches


def replay_file(lines: Iterable[bytes]) -> Replay:
    """As `replay`, for a file with its line breaks: a last line without one was cut off, and is left out."""
    cut = False

    def whole() -> Iterator[bytes]:
        nonlocal cut
        for number, line in enumerate(lines):
            if number and not line.endswith(b"\n"):
                cut = True
            else:
                yield line

    header, records = read_trace(whole())
    try:
        state = initial(header.own, seed=header.seed, settings=header.settings, now=Now(header.mono_s, header.wall_s))
    except MisuseError as error:
        raise ConfigFault(f"no file of `start --trace FILE`: {error}") from error
    counted = 0

    def counting() -> Iterator[Record]:
        nonlocal counted
        for record in records:
            counted += 1
            yield record

    mismatches = replay_records(state, counting())
    return Replay(counted, mismatches, cut)


def replay_records(state: State, records: Iterable[Record]) -> list[Mismatch]:
    """Run records through `step` from a state, for instance a trace's `start` and `ring`."""
    mismatches = []
    for number, record in enumerate(records):
        state, effects = step(state, record.action, Now(record.mono_s, record.wall_s))
        if effects != record.effects:
            mismatches.append(Mismatch(number, record.effects, effects))
    return mismatches
