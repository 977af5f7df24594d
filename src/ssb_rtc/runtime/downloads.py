"""What comes over each link, told to the manager: a look at the progress of replication, once a second.

    something is missing        DOWNLOAD_STARTED
    some of it came             DOWNLOAD_PROGRESSED
    nothing is missing          DOWNLOAD_ENDED
    it is asked of others now   DOWNLOAD_STALLED, because this remote was too slow

A remote without EBT does not say what it has: from such a one a download is what comes in bulk. While nothing changes
nothing is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from ssb_rtc.manager import actions as a
from ssb_rtc.types import PeerId

LOOK_S: Final = 1.0
BULK_MESSAGES: Final = 20
"""New messages of one look that are a download, whatever is known to be missing: more than people write."""


class Progress(Protocol):
    """How replication with one peer goes: plugins.base.Progress."""

    @property
    def missing(self) -> int:
        """Messages that it claims to have and that are asked of it."""

    @property
    def received(self) -> int:
        """New messages that came from it."""

    @property
    def given_up(self) -> bool:
        """It has what we lack, and is too slow to be asked for it."""


@dataclass(slots=True)
class _Told:
    """What the manager knows of one peer."""

    link: int
    received: int = 0
    missing: int = 0
    downloading: bool = False
    stalled: bool = False


class DownloadWatch:
    """Looks, and dispatches what has changed. `link_of` gives the number of the link that replicates."""

    def __init__(
        self,
        progress: Mapping[PeerId, Progress],
        link_of: Callable[[PeerId], int | None],
        dispatch: Callable[[a.Action], bool],
    ) -> None:
        self._progress = progress
        self._link_of = link_of
        self._dispatch = dispatch
        self._told: dict[PeerId, _Told] = {}
        self._initial_sync = False
        self._timer: asyncio.TimerHandle | None = None

    def start(self, *, initial_sync: bool) -> None:
        """Begins to look. `initial_sync`: also says when the first sync is over. Needs a running event loop."""
        self._initial_sync = initial_sync
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._tick)

    def close(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._tick)
        self.look()

    def look(self) -> None:
        """Once over all links."""
        linked = {
            peer: (link, progress)
            for peer, progress in self._progress.items()
            if (link := self._link_of(peer)) is not None
        }
        for peer in self._told.keys() - linked.keys():
            del self._told[peer]  # the end of a link is the end of what came over it
        for peer, (link, progress) in linked.items():
            told = self._told.get(peer)
            if told is None or told.link != link:
                told = self._told[peer] = _Told(link)
            self._look_at(peer, told, progress)
        something_came = any(told.received for told in self._told.values())
        if self._initial_sync and something_came and not any(told.downloading for told in self._told.values()):
            self._initial_sync = False
            self._dispatch(a.InitialSyncEnded())

    def _look_at(self, peer: PeerId, told: _Told, progress: Progress) -> None:
        new, missing = progress.received - min(told.received, progress.received), progress.missing
        comes = missing > 0 or new >= BULK_MESSAGES
        if comes and not told.downloading:
            told.downloading, told.missing = True, missing
            self._dispatch(a.DownloadStarted(peer, told.link, missing))
        if told.downloading and (new or missing != told.missing):
            told.stalled = told.stalled and not new
            self._dispatch(a.DownloadProgressed(peer, told.link, new, missing))
        told.received, told.missing = progress.received, missing
        if comes or not told.downloading:
            return
        if not progress.given_up:
            told.downloading = told.stalled = self._initial_sync = False  # the first end is the manager's, too
            self._dispatch(a.DownloadEnded(peer, told.link))
        elif not told.stalled:
            told.stalled = True
            self._dispatch(a.DownloadStalled(peer, told.link, "it is too slow: others are asked for what it has"))
