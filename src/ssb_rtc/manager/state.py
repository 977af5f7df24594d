"""The state of the peers state manager: frozen rows in persistent maps.

    peers   who is known, by public key: at most `known_peers_max` rows
    hubs    where to meet them, by address: at most `hubs_max` rows
    timers  what is armed, by key: one timer a key

An old state stays valid when a new one is made from it, so a state may be kept, compared and read by anybody. The
runtime's objects (links, subscriptions) are never in it, only their numbers. Records can't be part of a cycle, so the
garbage collector is spared them (`gc=False`): it would go through every row of every table again and again. Times
ending in `_s` are of the monotonic clock unless they say `wall`.

`connectionState` of the 2018 note is a property here, because a row that has a link or an attempt says it already:

    no link, no attempt   DISCONNECTED
    no link, an attempt   CONNECTING
    a link                CONNECTED      (an attempt beside it is a handover to a newer link)
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import immutables
import msgspec

from ssb_rtc.errors import MisuseError
from ssb_rtc.manager.due import EMPTY_QUEUE, DueQueue
from ssb_rtc.manager.identity import public_key
from ssb_rtc.manager.settings import Settings
from ssb_rtc.types import HubUrl, PeerId

ConnectionState: TypeAlias = Literal["CONNECTING", "DISCONNECTED", "CONNECTED"]
"""The three words of the 2018 note, for peers and for hubs."""

HubSource: TypeAlias = Literal["user", "config", "invite", "gossip"]
"""Who brought a hub into the table."""


LAN = HubUrl("lan")
"""Stands for our local networks where hubs are counted: both pass on names that anybody can make up."""


class Now(NamedTuple):
    """Both clocks at one moment."""

    mono_s: float
    """Never goes back; its zero means nothing."""
    wall_s: float
    """Seconds since 1970; may jump."""


class Route(msgspec.Struct, frozen=True, gc=False):
    """A way to a peer."""

    via: Literal["hub", "address", "inbound", "lan"]
    """`hub`: signalled over a hub. `address`: dialled. `inbound`: it came to our listener, and there is no way back.
    `lan`: dialled where it says on a local network that it listens.
    """
    where: str
    """The hub's address; the multiserver address; for `inbound` a description for a person."""

    @property
    def source(self) -> HubUrl | None:
        """By whom it was told, where names can be made up: the hub, or `LAN`; None for all others."""
        return HubUrl(self.where) if self.via == "hub" else LAN if self.via == "lan" else None


class Term(NamedTuple):
    """One summand of a score, by name: what speaks for a peer or a hub (above 0) or against it."""

    name: str
    value: float


class KnownRoute(msgspec.Struct, frozen=True, gc=False):
    """A route of a peer, with what is known of it."""

    route: Route
    heard_s: float
    """When the peer last announced itself on it (or when somebody gave us the address)."""
    failures: int = 0
    """Attempts over it that failed since it last worked."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A connection on its way: ours, or an offer that we answered."""

    id: int
    route: Route
    dialled: bool
    session: str
    """Names the remote's offer; empty where we dialled."""
    picked_randomly: bool = False
    alone: bool = False
    """The remote said that it has no link at all: the attempt may go beyond the slots."""


class Download(msgspec.Struct, frozen=True, gc=False):
    """Messages that come over a link, or should. Busy while they come at the floor rate, else stuck."""

    since_s: float
    moved_s: float
    """When the floor rate was last held: `download_floor` messages within `stall_s`."""
    counted: int = 0
    """Messages since then."""
    missing: int = 0
    given_up: bool = False
    """Replication asks elsewhere. The link has until `stall_s` to move again; nobody waits for it meanwhile."""


class Link(msgspec.Struct, frozen=True, gc=False):
    """An open, proven connection. The object behind it is the runtime's."""

    id: int
    route: Route
    dialled: bool
    since_s: float
    first_s: float = 0.0
    """Since when there has been a link with the peer without a gap: a second link that takes over keeps it."""
    active_s: float = 0.0
    """When messages last came over it."""
    told_revision: int = -1
    """The revisions of the hub table and of others' entries, added up, that were last told over it."""
    checked_s: float = float("-inf")
    """When CHECK_LINK was last asked for."""
    until_s: float = float("inf")
    """From then on a full house may end it."""
    picked_randomly: bool = False
    download: Download | None = None
    """What we fetch over it; None while nothing is missing."""
    fetched_sum_s: float = 0.0
    """How long earlier downloads over it took."""
    served_s: float | None = None
    """Since when the remote says that it fetches from us; None while it does not."""
    served_sum_s: float = 0.0
    """For how long it has said so before."""
    only_link: bool = False
    """The remote says that it has no other link."""
    told: tuple[bool, bool] | None = None
    """What TELL_REMOTE_PEER last said: only_link, downloading."""
    passes_on: bool = True
    """As far as is known, the remote introduces us to others."""


class Peer(msgspec.Struct, frozen=True, gc=False):
    """One row of the table of peers."""

    id: PeerId
    seen_s: float
    """When it last gave a sign of life: an announcement, an offer, a link that was up."""
    last_seen_wall_s: float
    routes: tuple[KnownRoute, ...] = ()
    link: Link | None = None
    """The link that replicates."""
    rival: Link | None = None
    """A second one, for at most `handover_s`, until it is known which of the two works and stays."""
    attempt: Attempt | None = None
    failures: int = 0
    """In a row, over whatever route. Healed by a link that lasted `healthy_s`."""
    ready_s: float = 0.0
    """When it may be dialled next. Orders the queue of who is due."""
    not_before_s: float = 0.0
    """Not dialled before, because one side asked for it; `ready_s` is never earlier."""
    refused_until_s: float = 0.0
    """Its offers and links are refused until then, because somebody here disconnected from it."""
    no_rival_before_s: float = 0.0
    """A second link is settled at once before, because the last one came to nothing."""
    parked: bool = False
    """It was due while none of its hubs was connected. It waits in no queue, but for one of them."""
    refusals: int = 0
    """How often in a row it said that it is busy."""
    asked: bool = False
    """Somebody here asked for a link to it; it may use the slots that are reserved for inbound."""
    last_connected_wall_s: float | None = None
    last_connected_s: float | None = None
    """When its last link was up."""
    rtt_s: float | None = None
    """How long its last ping took."""
    last_error: str = ""

    @property
    def connection_state(self) -> ConnectionState:
        """CONNECTED, CONNECTING or DISCONNECTED, in the words of the 2018 note."""
        if self.link is not None:
            return "CONNECTED"
        return "DISCONNECTED" if self.attempt is None else "CONNECTING"

    @property
    def connected_hubs(self) -> tuple[HubUrl, ...]:
        """The hubs on which it was heard."""
        return tuple(HubUrl(known.route.where) for known in self.routes if known.route.via == "hub")

    @property
    def sources(self) -> tuple[HubUrl, ...]:
        """The hubs on which it was heard, and `LAN`."""
        hubs = self.connected_hubs
        if len(hubs) == len(self.routes):  # nearly always, and this is asked for often
            return hubs
        return (*hubs, LAN) if any(known.route.via == "lan" for known in self.routes) else hubs


class Hub(msgspec.Struct, frozen=True, gc=False):
    """One row of the table of hubs."""

    url: HubUrl
    source: HubSource
    private: bool = False
    connection: int | None = None
    """Numbers the subscription that is open or on its way; None while there is none."""
    connected_s: float | None = None
    """Since when the subscription is confirmed."""
    connection_attempts: int = 0
    """Attempts since the hub last was healthy."""
    last_success_wall_s: float | None = None
    """When it last was healthy: connected for `healthy_s`."""
    knocked_s: float | None = None
    """When we last knocked there at the inboxes of friends."""
    knocks: int = 0
    """How often since we came there; the pauses grow with it."""
    announced_s: float | None = None
    """When we last announced ourselves there."""
    announce_at_s: float = 0.0
    """When we want to announce ourselves next."""
    healthy_s: float | None = None
    """The subscription that has lasted `healthy_s`, by the time since when it was confirmed."""
    tried: bool = False
    """A hub that others told us of has its time at which it is tried first."""
    probe: int | None = None
    """Numbers the question whether it is a hub that is under way."""
    probed: bool = False
    """It answered that question as a hub does."""
    announcements: int = 0
    """Announcements since we last had a reason to be eager; each one stretches the pause before the next."""
    last_error: str = ""
    announces: bool = True
    """False where we can neither announce ourselves nor knock, but only dial whom we hear."""

    @property
    def is_proven(self) -> bool:
        """Whether it is known to be a hub, or somebody here says so."""
        return self.source != "gossip" or self.probed or self.last_success_wall_s is not None

    @property
    def connection_state(self) -> ConnectionState:
        """CONNECTED, CONNECTING or DISCONNECTED."""
        if self.connected_s is not None:
            return "CONNECTED"
        return "DISCONNECTED" if self.connection is None else "CONNECTING"


class Witness(NamedTuple):
    """Somebody within our hops who vouches for a hub, and whom we follow directly on the way to them.

    Of the witnesses of one hub no two have the same signer, nor the same `through`.
    """

    signer: PeerId
    through: PeerId
    """The signer itself, where we follow it directly."""


class KnownHub(msgspec.Struct, frozen=True, gc=False):
    """What is stored of a hub."""

    url: HubUrl
    source: HubSource
    private: bool = False
    last_success_wall_s: float | None = None


class State(msgspec.Struct, frozen=True, gc=False):
    """All that the manager knows. Made by `initial`, changed by `step` alone."""

    own: PeerId
    own_key: bytes
    """The 32 raw bytes of our public key: two offers at once are settled by comparing keys."""
    seed: int
    """What every random decision derives from, with `steps`."""
    settings: Settings
    now: Now
    """The clocks of the last step."""
    started_s: float = 0.0
    """When this state was made."""
    steps: int = 0
    next_id: int = 1
    """Numbers attempts and hub connections."""
    peers: immutables.Map[PeerId, Peer] = immutables.Map()
    hubs: immutables.Map[HubUrl, Hub] = immutables.Map()
    heard: immutables.Map[HubUrl, int] = immutables.Map()
    """How many rows of `peers` were heard on each hub and on `LAN`; under an empty name those heard on none."""
    blocked: immutables.Map[PeerId, bool] = immutables.Map()
    hops: immutables.Map[PeerId, int] = immutables.Map()
    """Friends: how far away each peer is whose feed we replicate, from 1 on. All others are strangers."""
    pinned: immutables.Map[PeerId, bool] = immutables.Map()
    """Peers with whom a link is wanted for good."""
    inboxes: immutables.Map[PeerId, tuple[int, int]] = immutables.Map()
    """Friends whose inbox we know, so that we can knock there; the value orders them, the best first."""
    vouched: immutables.Map[HubUrl, tuple[Witness, ...]] = immutables.Map()
    """Hubs for which others vouch, in the table or not."""
    probes: immutables.Map[str, float] = immutables.Map()
    """When we last asked at each host whether a hub is there."""
    timers: immutables.Map[str, float] = immutables.Map()
    """Armed timers: key -> due time."""
    due: DueQueue = EMPTY_QUEUE
    """Disconnected peers that have a route and aren't parked, by the time from which they may be dialled: strangers."""
    friends: DueQueue = EMPTY_QUEUE
    """The same for friends, who come before strangers."""
    asked: DueQueue = EMPTY_QUEUE
    """The same for those that somebody here asked for, who come first. Each peer is in one of the three, or in none."""
    aside: DueQueue = EMPTY_QUEUE
    """Disconnected peers that are in none of the three: no way to them is known, or none of their hubs is connected."""
    full: tuple[str, ...] = ()
    """Queues for which there was no slot when they were last looked at: newcomers there change nothing yet."""
    linked: tuple[PeerId, ...] = ()
    """Peers with a link, the oldest first."""
    trying: tuple[PeerId, ...] = ()
    """Peers with an attempt, the oldest first."""
    handovers: tuple[PeerId, ...] = ()
    """Peers with a second link."""
    introduce_at_s: float = 0.0
    """From then on linked peers are asked to pass on knocks, as soon as a slot is free."""
    introduced_s: float = float("-inf")
    """When they were last asked."""
    introduced_to: PeerId = PeerId("")
    """The last friend for whom they were asked: the next round goes on behind it, in the order of the ids."""
    introductions: int = 0
    """Rounds since our links last changed; the pauses grow with it."""
    initial_sync: bool = False
    """While one peer brings what we lack, nobody else is dialled."""
    dials_in_vain: int = 0
    """Own dials of strangers in a row that came to nothing."""
    dial_after_s: float = float("-inf")
    """No stranger is dialled before."""
    friends_in_vain: int = 0
    """The same for friends."""
    friends_after_s: float = float("-inf")
    online_s: float = 0.0
    """When a hub was last seen connected."""
    swept_s: float = float("-inf")
    """When the table of peers was last gone through."""
    rotated_s: float = float("-inf")
    """When a full house last ended a link for somebody who waited."""
    displaced_s: float = float("-inf")
    """When a peer without any link last took the place of a stranger."""
    refused_s: float = float("-inf")
    """When somebody was last sent away because all slots were taken."""
    refused_friend_s: float = float("-inf")
    """The same for a friend."""
    revision: int = 0
    """Of the table of hubs: grows with each change that is to be stored."""
    saved_revision: int = 0
    entries_revision: int = 0
    """Of what others say of hubs: grows with each batch of their entries that is new here."""
    closing: bool = False


def initial(own: PeerId, *, seed: int, settings: Settings | None = None, now: Now) -> State:
    """The state before the first action. Raises MisuseError where `own` is no peer id."""
    key = public_key(own)
    if key is None:
        raise MisuseError(f"{own!r} is no peer id: it takes '@' + base64 of a 32-byte Ed25519 key + '.ed25519'")
    seed &= 0xFFFF_FFFF_FFFF_FFFF
    begun_s = now.mono_s
    return State(own, key, seed, settings or Settings(), now, started_s=begun_s, online_s=begun_s)
