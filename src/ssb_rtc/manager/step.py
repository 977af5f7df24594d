"""The peers state manager: `step(state, action, now)` gives the next state and the effects to perform.

It is pure (the state that goes in is unchanged and stays valid), total (whatever a remote side says, it raises
nothing) and deterministic (the same state, action and clocks give the same effects, in the same order, on every
machine). An action is taken by one slice, named in `SLICES`; afterwards free slots are filled. The runtime performs
the effects and dispatches the actions that answer them: see `effects.ANSWERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import (
    downloads,
    handover,
    hub_gossip,
    hub_probe,
    hub_table,
    hubs,
    introductions,
    knocks,
    links,
    offers,
    peers,
    schedule,
)
from ssb_rtc.manager.effects import Effect
from ssb_rtc.manager.state import Now, State
from ssb_rtc.manager.turn import BROADCAST, CONNECT, SAVE, TICK, Turn


def _timer_expired(turn: Turn, action: a.TimerExpired) -> None:
    if turn.timers.get(action.key) != action.due_mono_s:
        return turn.ignore(action, "that timer was cancelled or armed anew")
    turn.timers = turn.timers.delete(action.key)
    name, _, rest = action.key.partition(":")
    return TIMERS[name](turn, rest)


SLICES: dict[type[Any], Callable[[Turn, Any], None]] = {
    a.RemotePeerDidAnnounce: peers.did_announce,
    a.RemotePeerDidDisconnect: peers.did_disconnect,
    a.RemotePeerDidAppear: peers.did_appear,
    a.RemotePeerConnectionSucceeded: links.connection_succeeded,
    a.RemotePeerConnectionFailed: links.connection_failed,
    a.DisconnectFromRemotePeer: peers.disconnect,
    a.HubAddressAdded: hubs.address_added,
    a.HubAddressRemoved: hubs.address_removed,
    a.HubConnectionSucceeded: hubs.connection_succeeded,
    a.HubConnectionFailed: hubs.connection_failed,
    a.HubConnectionLost: hubs.connection_lost,
    a.HubDidLimit: hubs.did_limit,
    a.AnnounceToHubFailed: hubs.announce_failed,
    a.RemotePeerDidOffer: offers.did_offer,
    a.RemotePeerLinkEnded: links.link_ended,
    a.LinkDidAnswer: handover.did_answer,
    a.RemotePeerDidTell: downloads.told,
    a.DownloadStarted: downloads.started,
    a.DownloadProgressed: downloads.progressed,
    a.DownloadStalled: downloads.stalled,
    a.DownloadEnded: downloads.ended,
    a.InitialSyncStarted: downloads.initial_sync_started,
    a.InitialSyncEnded: downloads.initial_sync_ended,
    a.HubVouchersDidChange: hub_gossip.vouchers_did_change,
    a.HubEntriesReceived: hub_gossip.entries_received,
    a.HubWasProbed: hub_probe.was_probed,
    a.HubProbeSucceeded: hub_probe.succeeded,
    a.HubProbeFailed: hub_probe.failed,
    a.ConnectToRemotePeer: peers.connect,
    a.PeerBlocked: peers.blocked,
    a.PeerUnblocked: peers.unblocked,
    a.PeerPinned: peers.pinned,
    a.PeerUnpinned: peers.unpinned,
    a.SettingsDidChange: schedule.settings_did_change,
    a.HopsDidChange: peers.hops_did_change,
    a.InboxesDidChange: knocks.did_change,
    a.RemotePeerWontIntroduce: introductions.refused,
    a.HubsSaved: hub_table.hubs_saved,
    a.SaveHubsFailed: hub_table.save_failed,
    a.NetworkDidReconnect: schedule.network_did_reconnect,
    a.DidWakeUp: schedule.did_wake_up,
    a.TimerExpired: _timer_expired,
    a.ShutdownRequested: schedule.shutdown,
}
"""Who takes which action."""

TIMERS: dict[str, Callable[[Turn, str], None]] = {
    TICK: lambda turn, _: schedule.tick(turn),
    CONNECT: lambda turn, _: schedule.connect_timer_expired(turn),
    BROADCAST: lambda turn, _: hub_table.broadcast(turn),
    SAVE: lambda turn, _: hub_table.save(turn, "the last try failed"),
    "hub": hubs.timer_expired,
    "knock": knocks.timer_expired,
    "announce": hubs.announce_timer_expired,
    "peer": links.attempt_timer_expired,
    "handover": handover.timer_expired,
}
"""Who takes the expiry of which timer, by the first word of its key; the rest of the key is its argument."""

WHILE_CLOSING = (a.RemotePeerConnectionSucceeded, a.RemotePeerDidOffer)
"""What still needs an answer after SHUTDOWN_REQUESTED: a link to close, an offer to forget."""


def step(state: State, action: a.Action, now: Now) -> tuple[State, tuple[Effect, ...]]:
    """Take one action: the next state, and the effects to start in their order before the next action is taken."""
    turn = Turn(state, now)
    if state.closing and not isinstance(action, WHILE_CLOSING):
        turn.ignore(action, "this peer is shutting down")
        return turn.finish()
    SLICES[type(action)](turn, action)
    if not turn.closing:
        schedule.settle(turn)
    return turn.finish()
