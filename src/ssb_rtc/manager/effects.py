"""Orders: what the runtime has to do now, one frozen record each, in the order in which it starts them.

The driver starts one step's effects, in order, before it takes the next action; only SCHEDULE_SAVE_HUBS is awaited.
Each docstring says which actions answer the effect and what has to happen before or after it. `ANSWERS` holds the
same as a table. `reason` says in plain words why the manager wants it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import KnownHub, Route, Term
from ssb_rtc.types import HubUrl, PeerId


class _Effect(msgspec.Struct, frozen=True, gc=False, tag_field="kind"):
    @property
    def kind(self) -> str:
        """The effect's name, as in the 2018 design note."""
        return str(self.__struct_config__.tag)


class SchedulePeersUpdateTick(_Effect, frozen=True, tag="SCHEDULE_PEERS_UPDATE_TICK"):
    """Arm the timer `key` for `due_mono_s`, in the same table as ARM_TIMER does.

    Answered by TIMER_EXPIRED. On it the table of peers is gone through: stale announcements, free slots.
    """

    key: str
    due_mono_s: float
    reason: str


class ArmTimer(_Effect, frozen=True, tag="ARM_TIMER"):
    """Dispatch TIMER_EXPIRED with this key and this due time once the monotonic clock has reached it.

    Answered by TIMER_EXPIRED. There is one timer a key: arming replaces the one before it.
    """

    key: str
    due_mono_s: float
    reason: str


class CancelTimer(_Effect, frozen=True, tag="CANCEL_TIMER"):
    """Forget the timer of this key. Answered by nothing; an expiry already under way is ignored by the step."""

    key: str
    reason: str


class ScheduleConnectToHub(_Effect, frozen=True, tag="SCHEDULE_CONNECT_TO_HUB"):
    """Subscribe on the hub.

    Answered by HUB_CONNECTION_SUCCEEDED once the hub has confirmed the subscription, or by HUB_CONNECTION_FAILED;
    after a success by HUB_CONNECTION_LOST when it ends. All carry `connection` back. The manager's own time-out
    follows with SCHEDULE_DISCONNECT_FROM_HUB when neither comes.
    """

    hub: HubUrl
    connection: int
    reason: str


class ScheduleDisconnectFromHub(_Effect, frozen=True, tag="SCHEDULE_DISCONNECT_FROM_HUB"):
    """Close this connection of the hub, open or still opening. Answered by nothing.

    After SCHEDULE_ANNOUNCE_LEAVE_TO_HUB of the same hub it waits until that goodbye has been sent, or has failed.
    """

    hub: HubUrl
    connection: int
    reason: str


class ScheduleAnnounceToHub(_Effect, frozen=True, tag="SCHEDULE_ANNOUNCE_TO_HUB"):
    """Say on the hub that we are here, where its dialect announces. Comes only while our subscription is confirmed.

    Answered by nothing when it went well, by ANNOUNCE_TO_HUB_FAILED or HUB_DID_LIMIT when not.
    """

    hub: HubUrl
    connection: int
    reason: str
    free_slots: int = 0
    """How many more links we could take, for the hearers to know whether it is worth trying."""


class ScheduleKnock(_Effect, frozen=True, tag="SCHEDULE_KNOCK"):
    """Say on the hub, to these friends alone, that we are here and have room, where the dialect has inboxes.

    Best effort, the first ones first, at the pace that the hub bears. Who is there and wants the link offers it, which
    REMOTE_PEER_DID_OFFER tells. Where `hub` is `peer:<id>`, that linked peer passes the knocks on, and `connection` is
    the number of its link; answered by REMOTE_PEER_WONT_INTRODUCE where it does not know how, else by nothing.
    """

    hub: HubUrl
    connection: int
    peers: tuple[PeerId, ...]
    reason: str
    alone: bool = False
    """We have no link at all."""


class ScheduleAnnounceLeaveToHub(_Effect, frozen=True, tag="SCHEDULE_ANNOUNCE_LEAVE_TO_HUB"):
    """Say goodbye on the hub. Answered by nothing: best effort, a few seconds at most.

    SCHEDULE_DISCONNECT_FROM_HUB of the same hub follows in the same step and waits for it.
    """

    hub: HubUrl
    connection: int
    reason: str


class ScheduleSaveHubs(_Effect, frozen=True, tag="SCHEDULE_SAVE_HUBS"):
    """Write this table of hubs in place of the stored one. The driver awaits it before it goes on.

    Answered by HUBS_SAVED or by SAVE_HUBS_FAILED, with the same revision. Comes before any
    SCHEDULE_BROADCAST_KNOWN_HUBS of the same revision: what is told to others is on our disk.
    """

    revision: int
    hubs: tuple[KnownHub, ...]
    reason: str


class ScheduleProbeHub(_Effect, frozen=True, tag="SCHEDULE_PROBE_HUB"):
    """Ask whether there is a hub: one request, 4 KB of its answer at most, and only where the address is a public one.

    Answered by HUB_PROBE_SUCCEEDED or HUB_PROBE_FAILED with the same probe. That the host was asked is stored first.
    """

    hub: HubUrl
    probe: int
    host: str
    reason: str


class ScheduleBroadcastKnownHubs(_Effect, frozen=True, tag="SCHEDULE_BROADCAST_KNOWN_HUBS"):
    """Tell these connected peers which hubs work for us, signed, and pass on what others said, as they signed it.

    Answered by nothing: best effort, a link that breaks says so. Comes only after HUBS_SAVED of this revision. Leaves
    out private hubs and those with credentials already.
    """

    revision: int
    hubs: tuple[KnownHub, ...]
    peers: tuple[PeerId, ...]
    reason: str


class ScheduleConnectToRemotePeer(_Effect, frozen=True, tag="SCHEDULE_CONNECT_TO_REMOTE_PEER"):
    """Connect to the peer over this route, up to a proven link; we are the dialler. Over a hub whose dialect knows
    knocks, we knock and the peer offers.

    Answered by REMOTE_PEER_CONNECTION_SUCCEEDED or REMOTE_PEER_CONNECTION_FAILED with the same attempt. ABORT_ATTEMPT
    follows when it takes too long or something better came.
    """

    peer: PeerId
    route: Route
    """Over a hub (`via` "hub", `where` its address) or to a multiserver address (`via` "address")."""
    attempt: int
    reason: str
    terms: tuple[Term, ...] = ()
    """What the peer's score is made of; empty where it was picked at random."""
    alone: bool = False
    """We have no link at all, which a dialect that can say so tells with the offer."""


class AbortAttempt(_Effect, frozen=True, tag="ABORT_ATTEMPT"):
    """Stop this attempt, whoever began it, and free what it holds. Answered by nothing.

    A link that it brought about meanwhile may still be told by REMOTE_PEER_CONNECTION_SUCCEEDED.
    """

    peer: PeerId
    attempt: int
    reason: str


class AcceptOffer(_Effect, frozen=True, tag="ACCEPT_OFFER"):
    """Answer the offer that REMOTE_PEER_DID_OFFER told of, up to a proven link; the remote is the dialler.

    Answered by REMOTE_PEER_CONNECTION_SUCCEEDED or REMOTE_PEER_CONNECTION_FAILED with this attempt. Where our own
    offer gave way to it, ABORT_ATTEMPT of that one comes before.
    """

    hub: HubUrl
    peer: PeerId
    session: str
    attempt: int
    reason: str


class RefuseOffer(_Effect, frozen=True, tag="REFUSE_OFFER"):
    """Forget the offer that REMOTE_PEER_DID_OFFER told of. Answered by nothing."""

    hub: HubUrl
    peer: PeerId
    session: str
    reason: str
    not_before_s: float | None = None
    """When the peer may try again, for a dialect that can say "busy"; None: no answer at all."""


class ResendOffer(_Effect, frozen=True, tag="RESEND_OFFER"):
    """Two offers crossed and ours stands: send ours once more, unchanged, and forget theirs. Answered by nothing."""

    hub: HubUrl
    """Where the peer's offer came from."""
    peer: PeerId
    session: str
    """The peer's offer, to be forgotten."""
    attempt: int
    """Our attempt, whose offer is sent again."""
    reason: str


class ScheduleDisconnectFromRemotePeer(_Effect, frozen=True, tag="SCHEDULE_DISCONNECT_FROM_REMOTE_PEER"):
    """Close this link in good order and tell the remote why. For the manager it is gone from now on.

    Answered by REMOTE_PEER_LINK_ENDED, which the step then ignores. In a handover the link that stays was told by
    REMOTE_PEER_CONNECTION_SUCCEEDED before.
    """

    peer: PeerId
    link: int
    reason: str
    """`duplicate` where another link to the same peer stays: no failure on either side."""
    not_before_s: float | None = None
    """How long the remote should stay away, in seconds from now; the goodbye carries it with the reason."""
    terms: tuple[Term, ...] = ()
    """What the score of the peer is made of, where that decided who has to go."""


class UseLink(_Effect, frozen=True, tag="USE_LINK"):
    """From now on this link is the one that replicates: the plugins hear of it. Answered by nothing.

    Where another one of the same peer replicated, SCHEDULE_DISCONNECT_FROM_REMOTE_PEER of that one comes before, and
    from then on that one replicates no more.
    """

    peer: PeerId
    link: int
    reason: str


class TellRemotePeer(_Effect, frozen=True, tag="TELL_REMOTE_PEER"):
    """Tell the remote how we stand with this link, so that it does not cut it at a bad time.

    Answered by nothing: best effort, and JavaScript peers don't understand it. The remote's manager gets
    REMOTE_PEER_DID_TELL.
    """

    peer: PeerId
    link: int
    only_link: bool
    downloading: bool
    reason: str


class CheckLink(_Effect, frozen=True, tag="CHECK_LINK"):
    """Find out whether the link still works: send a ping, and close the link when no answer comes within 5 s.

    Answered by LINK_DID_ANSWER when it lives, by REMOTE_PEER_LINK_ENDED when it is dead.
    """

    peer: PeerId
    link: int
    reason: str


class IgnoreAction(_Effect, frozen=True, tag="IGNORE_ACTION"):
    """Nothing to do: the action changed nothing, and this is why. Answered by nothing; for the trace and counters."""

    action: str
    reason: str


Effect: TypeAlias = (
    SchedulePeersUpdateTick
    | ArmTimer
    | CancelTimer
    | ScheduleConnectToHub
    | ScheduleDisconnectFromHub
    | ScheduleAnnounceToHub
    | ScheduleKnock
    | ScheduleAnnounceLeaveToHub
    | ScheduleSaveHubs
    | ScheduleProbeHub
    | ScheduleBroadcastKnownHubs
    | ScheduleConnectToRemotePeer
    | AbortAttempt
    | AcceptOffer
    | RefuseOffer
    | ResendOffer
    | ScheduleDisconnectFromRemotePeer
    | UseLink
    | TellRemotePeer
    | CheckLink
    | IgnoreAction
)
"""Every effect there is."""

ANSWERS: dict[type[Any], tuple[type[Any], ...]] = {
    SchedulePeersUpdateTick: (a.TimerExpired,),
    ArmTimer: (a.TimerExpired,),
    CancelTimer: (),
    ScheduleConnectToHub: (a.HubConnectionSucceeded, a.HubConnectionFailed, a.HubConnectionLost),
    ScheduleDisconnectFromHub: (),
    ScheduleAnnounceToHub: (a.AnnounceToHubFailed, a.HubDidLimit),
    ScheduleKnock: (a.RemotePeerWontIntroduce,),
    ScheduleAnnounceLeaveToHub: (),
    ScheduleSaveHubs: (a.HubsSaved, a.SaveHubsFailed),
    ScheduleProbeHub: (a.HubProbeSucceeded, a.HubProbeFailed),
    ScheduleBroadcastKnownHubs: (),
    ScheduleConnectToRemotePeer: (a.RemotePeerConnectionSucceeded, a.RemotePeerConnectionFailed),
    AbortAttempt: (),
    AcceptOffer: (a.RemotePeerConnectionSucceeded, a.RemotePeerConnectionFailed),
    RefuseOffer: (),
    ResendOffer: (),
    ScheduleDisconnectFromRemotePeer: (a.RemotePeerLinkEnded,),
    UseLink: (),
    TellRemotePeer: (),
    CheckLink: (a.LinkDidAnswer, a.RemotePeerLinkEnded),
    IgnoreAction: (),
}
"""For each effect, the actions that answer it. The flow diagram is drawn from this and from `step.SLICES`."""
