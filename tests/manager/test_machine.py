"""Whatever happens, in whatever order: the invariants of the manager hold."""

from __future__ import annotations

from typing import get_args

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from ssb_rtc.manager import actions as a
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import HubSource, Route, Witness, initial
from ssb_rtc.types import HubUrl, PeerId, go_between
from tests.manager.invariants import World
from tests.manager.names import HUBS, ME, ONE, PEERS, START, peer_id

SMALL = Settings(
    peers_max=3,
    inbound_reserved=1,
    attempts_max=2,
    inbound_attempts_max=1,
    handovers_max=1,
    peer_failures_max=3,
    known_peers_max=5,
    strangers_max=1,
    friends_known_max=3,
    routes_max=2,
    blocked_max=2,
    hubs_max=3,
    announcement_ttl_s=300,
    lan_ttl_s=100,
    lan_routes_max=1,
    lifetime_s=60,
    rotate_s=10,
    stall_s=15,
    download_floor=3,
    download_max_s=100,
    pinned_max=2,
    vouched_max=2,
    hub_failures_max=3,
    hub_probe_spread_s=60,
    hub_probe_pause_s=300,
    hub_witnesses=1,
    gossiped_hubs_max=1,
    random_picks=1,
    dials_in_vain=2,
)

peers = st.sampled_from([*PEERS.values(), peer_id(0x50), peer_id(0xD0)]) | st.text(max_size=3).map(PeerId)
hubs = st.sampled_from(list(HUBS.values())) | st.just(HubUrl(""))
places = hubs | st.sampled_from(list(PEERS.values())).map(go_between)
numbers = st.integers(0, 40)
durations = st.none() | st.floats(0, 1000) | st.sampled_from([float("nan"), float("inf"), -1.0, 1e300])
reasons = st.sampled_from(["reset", "duplicate", "busy", "x" * 300])
routes = st.builds(Route, st.sampled_from(["hub", "address", "inbound", "lan"]), places | st.just("net:h:1"))
choices = st.integers(0, 1000)
witnesses = st.lists(st.builds(Witness, peers, peers), max_size=3).map(tuple)


class Manager(RuleBasedStateMachine):
    """Peers, hubs, people, disks and clocks do as they like."""

    @initialize(seed=st.integers(0, 2**64))
    def begin(self, seed: int) -> None:
        self.world = World(initial(ME, seed=seed, settings=SMALL, now=START), START)
        self.books = self.world.books

    @rule(hub=places, peer=peers, free_slots=st.none() | st.integers(-1, 3))
    def announces(self, hub: HubUrl, peer: PeerId, free_slots: int | None) -> None:
        self.world.do(a.RemotePeerDidAnnounce(hub, peer, free_slots))

    @rule(peer=peers, address=st.sampled_from(["net:h:1", "net:h:2", "net:h:3"]))
    def appears(self, peer: PeerId, address: str) -> None:
        self.world.do(a.RemotePeerDidAppear(peer, address))

    @rule(hub=places, peer=peers)
    def says_goodbye(self, hub: HubUrl, peer: PeerId) -> None:
        self.world.do(a.RemotePeerDidDisconnect(hub, peer))

    @rule(
        hub=places,
        peer=peers,
        session=st.sampled_from(["", "s1", "s2", "s" * 200]),
        alone=st.booleans(),
        settled=st.booleans(),
    )
    def offers(self, hub: HubUrl, peer: PeerId, session: str, alone: bool, settled: bool) -> None:
        self.world.do(a.RemotePeerDidOffer(hub, peer, session, alone, settled))

    @precondition(lambda self: self.books.attempts)
    @rule(choice=choices, route=routes)
    def attempt_succeeds(self, choice: int, route: Route) -> None:
        attempt, peer = sorted(self.books.attempts.items())[choice % len(self.books.attempts)]
        self._link(peer, route, self.books.dialled[attempt], attempt)

    @precondition(lambda self: self.books.attempts)
    @rule(choice=choices, reason=reasons, not_before_s=durations)
    def attempt_fails(self, choice: int, reason: str, not_before_s: float | None) -> None:
        attempt, peer = sorted(self.books.attempts.items())[choice % len(self.books.attempts)]
        self.world.do(a.RemotePeerConnectionFailed(peer, attempt, reason, not_before_s))

    @rule(peer=peers, attempt=numbers)
    def late_result(self, peer: PeerId, attempt: int) -> None:
        if attempt not in self.books.attempts:
            self.world.do(a.RemotePeerConnectionFailed(peer, attempt, "late"))

    @rule(peer=peers, route=routes, dialled=st.booleans(), attempt=st.none() | numbers)
    def link_comes_unasked(self, peer: PeerId, route: Route, dialled: bool, attempt: int | None) -> None:
        if attempt not in self.books.attempts:
            self._link(peer, route, dialled, attempt)

    @precondition(lambda self: self.books.links)
    @rule(choice=choices)
    def link_is_told_twice(self, choice: int) -> None:
        link, peer = sorted(self.books.links.items())[choice % len(self.books.links)]
        self.world.do(a.RemotePeerConnectionSucceeded(peer, link, Route("inbound", "twice"), False))

    def _link(self, peer: PeerId, route: Route, dialled: bool, attempt: int | None) -> None:
        self.books.links_made += 1
        self.world.do(a.RemotePeerConnectionSucceeded(peer, self.books.links_made, route, dialled, attempt))

    @precondition(lambda self: self.books.links)
    @rule(choice=choices, reason=reasons, clean=st.booleans(), not_before_s=durations)
    def link_ends(self, choice: int, reason: str, clean: bool, not_before_s: float | None) -> None:
        link, peer = sorted(self.books.links.items())[choice % len(self.books.links)]
        self.world.do(a.RemotePeerLinkEnded(peer, link, reason, clean, not_before_s))

    @rule(peer=peers, link=numbers)
    def link_ended_long_ago(self, peer: PeerId, link: int) -> None:
        if link not in self.books.links:
            self.world.do(a.RemotePeerLinkEnded(peer, link, "gone"))

    @precondition(lambda self: self.books.links)
    @rule(choice=choices, rtt_s=durations.filter(lambda value: value is not None))
    def link_answers(self, choice: int, rtt_s: float) -> None:
        link, peer = sorted(self.books.links.items())[choice % len(self.books.links)]
        self.world.do(a.LinkDidAnswer(peer, link, rtt_s))

    @rule(peer=peers, link=numbers, only_link=st.booleans(), downloading=st.booleans())
    def remote_tells_of_any_link(self, peer: PeerId, link: int, only_link: bool, downloading: bool) -> None:
        self.world.do(a.RemotePeerDidTell(peer, link, only_link, downloading))
        self.world.do(a.LinkDidAnswer(peer, link, 0.1))

    @precondition(lambda self: self.books.used)
    @rule(choice=choices, only_link=st.booleans(), downloading=st.booleans())
    def remote_tells(self, choice: int, only_link: bool, downloading: bool) -> None:
        peer, link = sorted(self.books.used.items())[choice % len(self.books.used)]
        self.world.do(a.RemotePeerDidTell(peer, link, only_link, downloading))

    @precondition(lambda self: self.books.used)
    @rule(choice=choices, kind=st.integers(0, 3), messages=st.integers(-1, 5), missing=st.integers(-1, 9))
    def download_goes_on(self, choice: int, kind: int, messages: int, missing: int) -> None:
        peer, link = sorted(self.books.used.items())[choice % len(self.books.used)]
        actions: list[a.Action] = [
            a.DownloadStarted(peer, link, missing),
            a.DownloadProgressed(peer, link, messages, missing),
            a.DownloadStalled(peer, link, "nothing came"),
            a.DownloadEnded(peer, link),
        ]
        self.world.do(actions[kind])

    @rule(peer=peers, link=numbers)
    def download_of_another_link(self, peer: PeerId, link: int) -> None:
        for action in (a.DownloadStarted, a.DownloadEnded):
            self.world.do(action(peer, link))
        self.world.do(a.DownloadProgressed(peer, link, 1))
        self.world.do(a.DownloadStalled(peer, link, "nothing came"))

    @rule(started=st.booleans())
    def initial_sync(self, started: bool) -> None:
        self.world.do(a.InitialSyncStarted() if started else a.InitialSyncEnded())

    @rule(found=st.lists(st.tuples(hubs | st.text(max_size=3).map(HubUrl), witnesses), max_size=4).map(tuple))
    def others_vouch(self, found: tuple[tuple[HubUrl, tuple[Witness, ...]], ...]) -> None:
        self.world.do(a.HubVouchersDidChange(found))

    @rule()
    def others_entries_come(self) -> None:
        self.world.do(a.HubEntriesReceived())

    @rule(host=st.sampled_from(["one.example", "x", ""]), ago_s=st.floats(allow_nan=True))
    def a_host_was_asked(self, host: str, ago_s: float) -> None:
        self.world.do(a.HubWasProbed(host, ago_s))

    @rule(choice=choices, there=st.booleans(), asked=st.booleans())
    def hub_is_answered_for(self, choice: int, there: bool, asked: bool) -> None:
        probes = [(hub.url, hub.probe) for hub in self.world.state.hubs.values() if hub.probe is not None]
        hub, probe = sorted(probes)[choice % len(probes)] if probes else (ONE, choice)
        self.world.do(a.HubProbeSucceeded(hub, probe) if there else a.HubProbeFailed(hub, probe, "none", asked))

    @rule(peer=peers, pinned=st.booleans())
    def somebody_pins(self, peer: PeerId, pinned: bool) -> None:
        self.world.do(a.PeerPinned(peer) if pinned else a.PeerUnpinned(peer))

    @rule(peers_max=st.integers(0, 4), strangers_max=st.integers(0, 3))
    def settings_change(self, peers_max: int, strangers_max: int) -> None:
        self.world.do(a.SettingsDidChange(replace(SMALL, peers_max=peers_max, strangers_max=strangers_max)))

    @rule(peer=peers, not_before_s=durations)
    def somebody_disconnects(self, peer: PeerId, not_before_s: float | None) -> None:
        self.world.do(a.DisconnectFromRemotePeer(peer, "asked for", not_before_s))

    @rule(peer=peers, route=st.none() | routes)
    def somebody_connects(self, peer: PeerId, route: Route | None) -> None:
        self.world.do(a.ConnectToRemotePeer(peer, route))

    @rule(peer=peers)
    def somebody_blocks(self, peer: PeerId) -> None:
        self.world.do(a.PeerBlocked(peer))

    @rule(peer=peers)
    def somebody_unblocks(self, peer: PeerId) -> None:
        self.world.do(a.PeerUnblocked(peer))

    @rule(hops=st.lists(st.tuples(peers, st.none() | st.integers(-3, 3)), max_size=4).map(tuple))
    def follows_change(self, hops: tuple[tuple[PeerId, int | None], ...]) -> None:
        self.world.do(a.HopsDidChange(hops))

    @rule(inboxes=st.lists(st.tuples(peers, st.booleans()), max_size=4).map(tuple))
    def inboxes_change(self, inboxes: tuple[tuple[PeerId, bool], ...]) -> None:
        self.world.do(a.InboxesDidChange(inboxes))

    @rule(peer=peers)
    def peer_knows_no_introductions(self, peer: PeerId) -> None:
        self.world.do(a.RemotePeerWontIntroduce(peer))

    @rule(hub=hubs, source=st.sampled_from(get_args(HubSource)), stored=st.booleans(), private=st.booleans())
    def hub_added(self, hub: HubUrl, source: HubSource, stored: bool, private: bool) -> None:
        self.world.do(a.HubAddressAdded(hub, source, stored, private, 1.6e9 if private else None))

    @rule(hub=hubs)
    def hub_removed(self, hub: HubUrl) -> None:
        self.world.do(a.HubAddressRemoved(hub))

    @precondition(lambda self: self.books.connections)
    @rule(choice=choices)
    def hub_connects(self, choice: int) -> None:
        connection, hub = sorted(self.books.connections.items())[choice % len(self.books.connections)]
        self.world.do(a.HubConnectionSucceeded(hub, connection))

    @precondition(lambda self: self.books.connections)
    @rule(choice=choices, reason=reasons, retry_after_s=durations)
    def hub_fails(self, choice: int, reason: str, retry_after_s: float | None) -> None:
        connection, hub = sorted(self.books.connections.items())[choice % len(self.books.connections)]
        self.world.do(a.HubConnectionFailed(hub, connection, reason, retry_after_s))

    @precondition(lambda self: self.books.connections)
    @rule(choice=choices, reason=reasons)
    def hub_is_lost(self, choice: int, reason: str) -> None:
        connection, hub = sorted(self.books.connections.items())[choice % len(self.books.connections)]
        self.world.do(a.HubConnectionLost(hub, connection, reason))

    @rule(hub=hubs, connection=numbers)
    def hub_result_comes_late(self, hub: HubUrl, connection: int) -> None:
        if connection not in self.books.connections:
            self.world.do(a.HubConnectionSucceeded(hub, connection))
            self.world.do(a.HubConnectionFailed(hub, connection, "late"))
            self.world.do(a.HubConnectionLost(hub, connection, "late"))

    @rule(hub=hubs, retry_after_s=durations)
    def hub_limits(self, hub: HubUrl, retry_after_s: float | None) -> None:
        self.world.do(a.HubDidLimit(hub, retry_after_s))

    @rule(hub=hubs, choice=choices, late=numbers)
    def announcement_fails(self, hub: HubUrl, choice: int, late: int) -> None:
        connections = sorted(self.books.connections) or [late]
        self.world.do(a.AnnounceToHubFailed(hub, connections[choice % len(connections)], "500"))

    @rule(revision=numbers)
    def table_is_saved(self, revision: int) -> None:
        self.world.do(a.HubsSaved(self.books.unsaved[0] if self.books.unsaved else revision))

    @rule(revision=numbers)
    def table_is_not_saved(self, revision: int) -> None:
        self.world.do(a.SaveHubsFailed(self.books.unsaved[0] if self.books.unsaved else revision, "disk full"))

    @rule()
    def network_comes_back(self) -> None:
        self.world.do(a.NetworkDidReconnect())

    @rule(slept_s=st.floats(0, 1e6))
    def machine_wakes_up(self, slept_s: float) -> None:
        self.world.do(a.DidWakeUp(slept_s))

    @rule(duration_s=st.floats(0, 100))
    def time_passes(self, duration_s: float) -> None:
        self.world.pass_time(duration_s)

    @rule(key=st.sampled_from(["tick", "connect", "hub:x", "nonsense"]), due_mono_s=st.floats(0, 10))
    def timer_expires_that_is_none(self, key: str, due_mono_s: float) -> None:
        self.world.do(a.TimerExpired(key, due_mono_s))

    @precondition(lambda self: self.world.state.steps > 20)
    @rule(choice=choices)
    def shuts_down(self, choice: int) -> None:
        if choice % 10 == 0:
            self.world.do(a.ShutdownRequested())


Manager.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestManager = Manager.TestCase
