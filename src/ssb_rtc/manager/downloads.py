"""The slice of downloads: what comes over a link, and what both sides tell each other of it.

Whether a link is busy or stuck follows from these facts and the time: see `activity`. The initial sync ends when the
first download has ended.
"""

from __future__ import annotations

from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.activity import mono_s, moves
from ssb_rtc.manager.state import Download, Link, Peer, State
from ssb_rtc.manager.turn import Turn

_DownloadAction = a.DownloadStarted | a.DownloadProgressed | a.DownloadStalled | a.DownloadEnded


def started(turn: Turn, action: a.DownloadStarted) -> None:
    """The remote has messages that we want."""
    found = _row_of(turn, action)
    if found is not None:
        row, link = found
        if link.download is not None:
            return turn.ignore(action, "that was known")
        turn.tell = True
        _put(turn, row, link, Download(turn.mono_s, turn.mono_s, missing=max(0, action.missing)))
    return None


def progressed(turn: Turn, action: a.DownloadProgressed) -> None:
    """Messages came: enough of them, and the link is busy."""
    found = _row_of(turn, action)
    if found is None:
        return
    row, link = found
    down = link.download or Download(turn.mono_s, turn.mono_s)
    counted = down.counted + max(0, action.messages)
    enough = counted >= min(turn.settings.download_floor, max(1, down.missing))
    down = replace(
        down,
        counted=0 if enough else counted,
        moved_s=turn.mono_s if enough else down.moved_s,
        missing=max(0, action.missing),
        given_up=down.given_up and not enough,
    )
    active_s = turn.mono_s if action.messages > 0 else link.active_s
    _put(turn, row, replace(link, active_s=active_s), down)


def stalled(turn: Turn, action: a.DownloadStalled) -> None:
    """Replication asks elsewhere, sooner than we give up a link: the initial sync goes on with others."""
    found = _row_of(turn, action)
    if found is not None:
        row, link = found
        if link.download is None:
            return turn.ignore(action, "nothing is missing from that peer")
        turn.refill |= turn.initial_sync
        _put(turn, row, link, replace(link.download, given_up=True))
    return None


def ended(turn: Turn, action: a.DownloadEnded) -> None:
    """Nothing is missing from that peer any longer."""
    found = _row_of(turn, action)
    if found is not None:
        row, link = found
        if link.download is None:
            return turn.ignore(action, "nothing was missing from that peer")
        turn.initial_sync = False
        sum_s = link.fetched_sum_s + turn.mono_s - link.download.since_s
        _put(turn, row, replace(link, active_s=turn.mono_s, fetched_sum_s=sum_s), None)
    return None


def _row_of(turn: Turn, action: _DownloadAction | a.RemotePeerDidTell) -> tuple[Peer, Link] | None:
    row = turn.peers.get(action.peer)
    if row is None or row.link is None or row.link.id != action.link:
        turn.ignore(action, "that link does not replicate")
        return None
    return row, row.link


def _put(turn: Turn, row: Peer, link: Link, download: Download | None) -> None:
    was_free = link.download is None or not moves(link, turn.settings, turn.mono_s)
    link = replace(link, download=download)
    if was_free != (download is None or not moves(link, turn.settings, turn.mono_s)) or turn.initial_sync:
        turn.refill = True
    turn.put_peer(replace(row, link=link))


def initial_sync_started(turn: Turn, action: a.InitialSyncStarted) -> None:
    """We hold next to nothing."""
    if turn.initial_sync:
        return turn.ignore(action, "the initial sync is under way")
    turn.initial_sync = True
    return None


def initial_sync_ended(turn: Turn, action: a.InitialSyncEnded) -> None:
    """We have caught up."""
    if not turn.initial_sync:
        return turn.ignore(action, "there is no initial sync")
    turn.initial_sync = False
    turn.refill = True
    return None


def syncing_until_s(tables: State | Turn) -> float | None:
    """Until when nobody else is dialled, unless more comes: one peer brings all that we lack. None: no such time."""
    if not tables.initial_sync:
        return None
    settings = tables.settings
    links = [tables.peers[peer].link for peer in tables.linked]
    downs = [link.download for link in links if link is not None and link.download and not link.download.given_up]
    moves_s = [down.moved_s + settings.initial_sync_patience_s for down in downs]
    ends_s = [down.since_s + settings.initial_sync_max_s for down in downs]
    until_s = max(map(min, moves_s, ends_s), default=float("-inf"))
    return until_s if until_s > mono_s(tables) else None


def told(turn: Turn, action: a.RemotePeerDidTell) -> None:
    """The remote says how it stands with this link."""
    found = _row_of(turn, action)
    if found is not None:
        row, link = found
        since_s, sum_s = link.served_s, link.served_sum_s
        if action.downloading:
            since_s = turn.mono_s if since_s is None else since_s
        elif since_s is not None:
            sum_s += turn.mono_s - since_s
            since_s = None
        active_s = turn.mono_s if action.downloading or link.served_s is not None else link.active_s
        link = replace(link, only_link=action.only_link, served_s=since_s, served_sum_s=sum_s, active_s=active_s)
        turn.put_peer(replace(row, link=link))


def tell(turn: Turn) -> None:
    """Tell each linked peer what it does not know yet of how we stand with its link.

    That a download begins is told at once, before the other side ends the link; that it is over, with the next tick.
    """
    for peer in turn.linked:
        row = turn.peers[peer]
        assert row.link is not None
        says = (len(turn.linked) == 1, moves(row.link, turn.settings, turn.mono_s))
        if says != (row.link.told or (False, False)):
            turn.put_peer(replace(row, link=replace(row.link, told=says)))
            reason = "so that it knows when it may end the link"
            turn.emit(e.TellRemotePeer(peer, row.link.id, says[0], says[1], reason))
