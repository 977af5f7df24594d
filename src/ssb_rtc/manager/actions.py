"""Facts: what has happened, one frozen record each. `step` takes them one at a time; nothing else changes the state.

The first seven carry the names of the 2018 design note, the next two are those its example flow dispatches, and the
rest are what these imply. The tag `kind` is the name in the record's JSON. Where an action comes from a remote side or
from a hub, everything in it is untrusted: `step` ignores what it can't use and says why (`IGNORE_ACTION`), and never
raises.

Times in actions are durations in seconds counted from the step that takes them, because the clocks of two machines
don't agree.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import HubSource, Route, Witness
from ssb_rtc.types import HubUrl, PeerId


class _Action(msgspec.Struct, frozen=True, gc=False, tag_field="kind"):
    @property
    def kind(self) -> str:
        """The action's name, as in the 2018 design note."""
        return str(self.__struct_config__.tag)


class RemotePeerDidAnnounce(_Action, frozen=True, tag="REMOTE_PEER_DID_ANNOUNCE"):
    """A peer says on a hub that it is there. From the signalling of `hub`; proves nothing before the handshake."""

    hub: HubUrl
    peer: PeerId
    free_slots: int | None = None
    """How many links it could take, as it says; None where it does not (JavaScript)."""


class RemotePeerDidDisconnect(_Action, frozen=True, tag="REMOTE_PEER_DID_DISCONNECT"):
    """A peer says goodbye on a hub: it can't be reached through that one any longer. Says nothing of a live link."""

    hub: HubUrl
    peer: PeerId


class RemotePeerDidAppear(_Action, frozen=True, tag="REMOTE_PEER_DID_APPEAR"):
    """A peer of a local network says that it is there: heard again and again while it is. Proves nothing by itself."""

    peer: PeerId
    address: str
    """The multiserver address at which it listens: its host is who said so."""


class RemotePeerConnectionSucceeded(_Action, frozen=True, tag="REMOTE_PEER_CONNECTION_SUCCEEDED"):
    """A link to `peer` is open: its secret handshake is done, so `peer` is proven.

    Answers SCHEDULE_CONNECT_TO_REMOTE_PEER and ACCEPT_OFFER (`attempt` is theirs), and tells of links that came
    unasked, on a listener (`attempt` is None). The step either takes the link or answers with
    SCHEDULE_DISCONNECT_FROM_REMOTE_PEER for the one to close; USE_LINK says which one replicates. Links of local
    callers (the unix socket of the control rpc) are not peers and are not told to the manager.
    """

    peer: PeerId
    link: int
    """The runtime's handle of the link, never used twice in a process."""
    route: Route
    dialled: bool
    """True where it was our doing: we dialled, offered or knocked. At the other end it is the other way round."""
    attempt: int | None = None


class RemotePeerConnectionFailed(_Action, frozen=True, tag="REMOTE_PEER_CONNECTION_FAILED"):
    """An attempt came to nothing. Answers SCHEDULE_CONNECT_TO_REMOTE_PEER and ACCEPT_OFFER.

    Not needed after ABORT_ATTEMPT: the step that aborts has counted it already, and ignores what still comes.
    """

    peer: PeerId
    attempt: int
    reason: str
    not_before_s: float | None = None
    """The remote said that it is busy: try again after that many seconds. No failure then."""


class DisconnectFromRemotePeer(_Action, frozen=True, tag="DISCONNECT_FROM_REMOTE_PEER"):
    """Somebody here (a person, an app) wants no link to `peer` now: link and attempts end, and it is held off."""

    peer: PeerId
    reason: str = "asked for"
    not_before_s: float | None = None
    """How long both sides stay apart, at most `hold_max_s`; None takes the setting `disconnect_hold_s`.

    CONNECT_TO_REMOTE_PEER ends it.
    """


class HubAddressAdded(_Action, frozen=True, tag="HUB_ADDRESS_ADDED"):
    """A hub belongs to the table from now on. Dispatched for each stored hub at the start, too.

    For a hub that is there already it changes nothing, unless a person adds what came from elsewhere, or says anew
    whether it is private.
    """

    hub: HubUrl
    source: HubSource = "user"
    stored: bool = False
    """True while the stored table is read: it needs no saving."""
    private: bool = False
    """Never told to other peers."""
    last_success_wall_s: float | None = None
    announces: bool = True
    """False where what is spoken there has no announcements of ours, nor knocks: the swarm dialect."""
    """When it last was healthy, from the stored table: what did well before comes first."""


class HubAddressRemoved(_Action, frozen=True, tag="HUB_ADDRESS_REMOVED"):
    """A hub belongs to the table no longer: leave it and close its connection."""

    hub: HubUrl


class HubConnectionSucceeded(_Action, frozen=True, tag="HUB_CONNECTION_SUCCEEDED"):
    """The hub has confirmed our subscription. Answers SCHEDULE_CONNECT_TO_HUB."""

    hub: HubUrl
    connection: int


class HubConnectionFailed(_Action, frozen=True, tag="HUB_CONNECTION_FAILED"):
    """The hub could not be reached or refused us. Answers SCHEDULE_CONNECT_TO_HUB."""

    hub: HubUrl
    connection: int
    reason: str
    retry_after_s: float | None = None
    """What the hub asked for (429 or 503 with Retry-After)."""


class HubConnectionLost(_Action, frozen=True, tag="HUB_CONNECTION_LOST"):
    """A subscription that was open has ended, or was silent for too long."""

    hub: HubUrl
    connection: int
    reason: str


class HubDidLimit(_Action, frozen=True, tag="HUB_DID_LIMIT"):
    """The hub asks us to send less (429 to a POST); the subscription goes on."""

    hub: HubUrl
    retry_after_s: float | None = None


class AnnounceToHubFailed(_Action, frozen=True, tag="ANNOUNCE_TO_HUB_FAILED"):
    """An announcement did not get out. Answers SCHEDULE_ANNOUNCE_TO_HUB; silence means that it did."""

    hub: HubUrl
    connection: int
    reason: str


class RemotePeerDidOffer(_Action, frozen=True, tag="REMOTE_PEER_DID_OFFER"):
    """A peer offers a connection over a hub. The step answers it with ACCEPT_OFFER, REFUSE_OFFER or RESEND_OFFER.

    The runtime keeps the offer under (hub, peer, session) until then. Candidates that come meanwhile wait with it.
    """

    hub: HubUrl
    peer: PeerId
    session: str
    """Names the offer. Made up by the transport where the dialect has none; the same for each copy of one offer."""
    alone: bool = False
    """The peer says that it has no link at all: one such a minute may displace a stranger."""
    settled: bool = False
    """From a dialect that settles itself what crosses (knocks): an attempt of ours at the peer gives way."""


class RemotePeerLinkEnded(_Action, frozen=True, tag="REMOTE_PEER_LINK_ENDED"):
    """A link is gone, whoever ended it. Dispatched for each link that was told by CONNECTION_SUCCEEDED, once."""

    peer: PeerId
    link: int
    reason: str
    clean: bool = False
    """The remote closed it in good order (a goodbye), so that the way there is not to blame."""
    not_before_s: float | None = None
    """The remote's goodbye asked us to stay away for that many seconds."""


class LinkDidAnswer(_Action, frozen=True, tag="LINK_DID_ANSWER"):
    """A link works: a ping came back. Answers CHECK_LINK."""

    peer: PeerId
    link: int
    rtt_s: float
    """How long the ping took."""


class RemotePeerDidTell(_Action, frozen=True, tag="REMOTE_PEER_DID_TELL"):
    """The remote says how it stands with this link (TELL_REMOTE_PEER of its manager). JavaScript peers tell nothing."""

    peer: PeerId
    link: int
    only_link: bool
    """It has no other link: it asks not to be rotated."""
    downloading: bool
    """It fetches messages from us."""


class DownloadStarted(_Action, frozen=True, tag="DOWNLOAD_STARTED"):
    """The remote has messages that we want from it. Until DOWNLOAD_ENDED the link is busy while they come, or stuck."""

    peer: PeerId
    link: int
    missing: int = 0
    """How many messages, as far as is known."""


class DownloadProgressed(_Action, frozen=True, tag="DOWNLOAD_PROGRESSED"):
    """Some of them came. Told at most once a second per link."""

    peer: PeerId
    link: int
    messages: int
    """New ones since the last time."""
    missing: int = 0


class DownloadStalled(_Action, frozen=True, tag="DOWNLOAD_STALLED"):
    """Replication asks elsewhere for what this remote has, because it is too slow."""

    peer: PeerId
    link: int
    reason: str


class DownloadEnded(_Action, frozen=True, tag="DOWNLOAD_ENDED"):
    """Nothing that we want is missing from this remote any longer."""

    peer: PeerId
    link: int


class InitialSyncStarted(_Action, frozen=True, tag="INITIAL_SYNC_STARTED"):
    """We hold next to nothing yet: while one peer brings it, nobody else is dialled."""


class InitialSyncEnded(_Action, frozen=True, tag="INITIAL_SYNC_ENDED"):
    """We have caught up. The manager finds that out too, when the first download has ended."""


class HubVouchersDidChange(_Action, frozen=True, tag="HUB_VOUCHERS_DID_CHANGE"):
    """Others vouch for these hubs, by signed entries or published messages; a batch, and the rest stays as it was.

    Addresses are normalised and fit for us, as far as their form says.
    """

    hubs: tuple[tuple[HubUrl, tuple[Witness, ...]], ...]
    """Each with all its witnesses now (see feeds.witnesses); none where nobody vouches for it any longer."""


class HubEntriesReceived(_Action, frozen=True, tag="HUB_ENTRIES_RECEIVED"):
    """Signed entries of others that we did not have are on our disk, or ours are to be renewed: tell linked peers."""


class HubWasProbed(_Action, frozen=True, tag="HUB_WAS_PROBED"):
    """In an earlier run we asked at this host whether a hub is there. Dispatched at the start for each of a day."""

    host: str
    """As in the hub's address, without the port."""
    ago_s: float


class HubProbeSucceeded(_Action, frozen=True, tag="HUB_PROBE_SUCCEEDED"):
    """There is a hub. Answers SCHEDULE_PROBE_HUB."""

    hub: HubUrl
    probe: int


class HubProbeFailed(_Action, frozen=True, tag="HUB_PROBE_FAILED"):
    """There is no hub, or none that we may use. Answers SCHEDULE_PROBE_HUB."""

    hub: HubUrl
    probe: int
    reason: str
    asked: bool = True
    """False where the host heard nothing of us: we are offline, or its name is not known."""


class ConnectToRemotePeer(_Action, frozen=True, tag="CONNECT_TO_REMOTE_PEER"):
    """Somebody here wants a link to `peer` now: no back-off, no hold, before all others."""

    peer: PeerId
    route: Route | None = None
    """A way there to learn, for instance Route("address", "net:host:8008~shs:..."); None: the known ones."""


class PeerBlocked(_Action, frozen=True, tag="PEER_BLOCKED"):
    """No link with `peer`, in either direction, until it is unblocked."""

    peer: PeerId


class PeerUnblocked(_Action, frozen=True, tag="PEER_UNBLOCKED"):
    """Undoes PEER_BLOCKED."""

    peer: PeerId


class PeerPinned(_Action, frozen=True, tag="PEER_PINNED"):
    """A link with this peer is wanted for good: dialled before all others, never rotated, until it is unpinned."""

    peer: PeerId


class PeerUnpinned(_Action, frozen=True, tag="PEER_UNPINNED"):
    """Undoes PEER_PINNED."""

    peer: PeerId


class SettingsDidChange(_Action, frozen=True, tag="SETTINGS_DID_CHANGE"):
    """The policy's numbers are others from now on; links that no longer have a place are ended one by one."""

    settings: Settings


class HopsDidChange(_Action, frozen=True, tag="HOPS_DID_CHANGE"):
    """The follow graph says anew how far away these peers are; a batch, and the rest stays as it was."""

    hops: tuple[tuple[PeerId, int | None], ...]
    """From 1 on where we replicate the peer's feed; None (or anything else) where we don't."""


class InboxesDidChange(_Action, frozen=True, tag="INBOXES_DID_CHANGE"):
    """The friend inboxes of these peers became known, or are no longer; a batch, the best friends first."""

    inboxes: tuple[tuple[PeerId, bool], ...]


class RemotePeerWontIntroduce(_Action, frozen=True, tag="REMOTE_PEER_WONT_INTRODUCE"):
    """A linked peer knows nothing of introductions, as JavaScript peers don't. Answers SCHEDULE_KNOCK through it."""

    peer: PeerId


class HubsSaved(_Action, frozen=True, tag="HUBS_SAVED"):
    """The table of hubs is on disk. Answers SCHEDULE_SAVE_HUBS with its revision."""

    revision: int


class SaveHubsFailed(_Action, frozen=True, tag="SAVE_HUBS_FAILED"):
    """The table of hubs could not be written. Answers SCHEDULE_SAVE_HUBS; it is tried again later."""

    revision: int
    reason: str


class NetworkDidReconnect(_Action, frozen=True, tag="NETWORK_DID_RECONNECT"):
    """The machine has a network again, or another one: what failed before may work now."""


class DidWakeUp(_Action, frozen=True, tag="DID_WAKE_UP"):
    """The machine slept for `slept_s` seconds: what was open may be dead without having said so."""

    slept_s: float


class TimerExpired(_Action, frozen=True, tag="TIMER_EXPIRED"):
    """A timer is due. Answers ARM_TIMER and SCHEDULE_PEERS_UPDATE_TICK.

    `due_mono_s` is the effect's, unchanged: so an expiry that was under way while its timer was armed anew is told
    from the new one.
    """

    key: str
    due_mono_s: float


class ShutdownRequested(_Action, frozen=True, tag="SHUTDOWN_REQUESTED"):
    """This peer ends: say goodbye to hubs and peers. Nothing new begins after it."""

    reason: str = "shutdown"


Action: TypeAlias = (
    RemotePeerDidAnnounce
    | RemotePeerDidDisconnect
    | RemotePeerDidAppear
    | RemotePeerConnectionSucceeded
    | RemotePeerConnectionFailed
    | DisconnectFromRemotePeer
    | HubAddressAdded
    | HubAddressRemoved
    | HubConnectionSucceeded
    | HubConnectionFailed
    | HubConnectionLost
    | HubDidLimit
    | AnnounceToHubFailed
    | RemotePeerDidOffer
    | RemotePeerLinkEnded
    | LinkDidAnswer
    | RemotePeerDidTell
    | DownloadStarted
    | DownloadProgressed
    | DownloadStalled
    | DownloadEnded
    | InitialSyncStarted
    | InitialSyncEnded
    | HubVouchersDidChange
    | HubEntriesReceived
    | HubWasProbed
    | HubProbeSucceeded
    | HubProbeFailed
    | ConnectToRemotePeer
    | PeerBlocked
    | PeerUnblocked
    | PeerPinned
    | PeerUnpinned
    | SettingsDidChange
    | HopsDidChange
    | InboxesDidChange
    | RemotePeerWontIntroduce
    | HubsSaved
    | SaveHubsFailed
    | NetworkDidReconnect
    | DidWakeUp
    | TimerExpired
    | ShutdownRequested
)
"""Every action there is; msgspec decodes a recorded one by its `kind`."""
