"""Safety: what must never happen, judged from the world's own facts and what the managers order, not by the managers.

A violation is told once for each rule and peer, with its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ssb_rtc.manager import effects as e
from ssb_rtc.manager.view import peers_view
from ssb_rtc.sim.node import Node
from ssb_rtc.types import HubUrl, PeerId

if TYPE_CHECKING:
    from ssb_rtc.sim.network import End
    from ssb_rtc.sim.world import World

BEYOND_MAX: Final = 2
"""Links beyond the maximum while one replaces another."""
TWO_LINKS_S: Final = 10.0
SLACK_S: Final = 2.0
"""What the latency of a link and a ping may add."""
KNOWN_S: Final = 3.0
"""A download that began this short a time ago may not have been told to the other side yet."""
WAKE_S: Final = 9.0
"""A ping after waking up has had its 5 s and more."""
STUCK_SLACK_S: Final = 30.0
SWEEP_S: Final = 20.0
ROWS_MAX: Final = 1_000
"""Rows of peers that one sweep looks at, about."""
ALWAYS_ALLOWED: Final = ("blocked", "shutdown", "asked for")
"""Reasons for which a busy link is cut."""
VIOLATIONS_MAX: Final = 200


class Violation(NamedTuple):
    """A rule that was broken."""

    rule: str
    time_s: float
    peer: int
    detail: str


class Checkers:
    """All rules of safety."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self._told: dict[tuple[str, int], bool] = {}
        self._at = -1
        self._stuck_since: dict[End, tuple[float, float]] = {}
        """Since when nothing but a download that moves nothing speaks for a link."""
        self.world.later(SWEEP_S, self._sweep)

    def broken(self, rule: str, peer: int, detail: str) -> None:
        """Note that a rule was broken."""
        if (rule, peer) not in self._told and len(self.violations) < VIOLATIONS_MAX:
            self._told[rule, peer] = True
            self.violations.append(Violation(rule, round(self.world.now_s, 3), peer, detail))

    # --- links ---

    def link_opened(self, end: End) -> None:
        """A link opens: a second one to the same peer has to be settled soon."""
        owner, other = end.owner, end.other.owner
        if sum(each.other.owner is other for each in owner.links.values()) > 1:
            self.world.later(TWO_LINKS_S + SLACK_S, self._settled, end)

    def _settled(self, end: End) -> None:
        owner, other = end.owner, end.other.owner
        if not isinstance(owner, Node) or not owner.awake or not end.open:
            return None
        settled_s = self.world.now_s - TWO_LINKS_S - SLACK_S
        if owner.woke_s > settled_s:
            return self.world.later(TWO_LINKS_S + SLACK_S, self._settled, end)  # its clock stood still meanwhile
        old = [x for x in owner.links.values() if x.other.owner is other and x.since_s <= settled_s]
        if len(old) > 1:
            self.broken("two links to one peer", owner.number, f"to {other.number}: {[x.number for x in old]}")
        return None

    def woke(self, node: Node) -> None:
        """A machine has woken up: what died meanwhile is found out by pings."""
        if node.links:
            self.world.later(WAKE_S, self._awake_for_a_while, node, node.lives, self.world.now_s)

    def _awake_for_a_while(self, node: Node, life: int, woke_s: float) -> None:
        if node.awake and node.lives == life and node.woke_s == woke_s:
            for end in node.links.values():
                if end.link.dead and end.link.died_s < woke_s:
                    self.broken("a dead link after waking up", node.number, f"to {end.other.owner.number}")

    def uses(self, node: Node, end: End) -> None:
        """A link begins to replicate."""
        other = end.other.owner
        if any(each.used and each is not end and each.other.owner is other for each in node.links.values()):
            self.broken("two replicating links", node.number, f"to {other.number}")

    def cuts(self, node: Node, end: End, effect: e.ScheduleDisconnectFromRemotePeer) -> None:
        """A manager orders a link closed: nobody may be in the middle of a download."""
        if effect.reason in ALWAYS_ALLOWED or end.link.dead or node.shutting_down:
            return
        other = end.other.owner
        if effect.reason == "duplicate" and any(
            each is not end and each.other.owner is other for each in node.links.values()
        ):
            return
        for downloader, side in ((node, end), (other, end.other)):
            if self._is_busy(node, downloader, side):
                who = "its own" if downloader is node else f"{other.number}'s"
                self.broken("cut while downloading", node.number, f"{who} download: {effect.reason}")

    def _is_busy(self, node: Node, downloader: object, side: End) -> bool:
        if not isinstance(downloader, Node) or not downloader.awake or side.session is None:
            return False
        for_s = self.world.now_s - side.session.begun_s
        settings = node.settings
        known = for_s > (0.0 if downloader is node else KNOWN_S)  # what begins in this moment nobody knows yet
        # Past the longest time a download protects no more, where others wait.
        return (
            known
            and for_s < settings.download_max_s
            and self.world.replication.downloads(side, settings.download_floor, settings.stall_s)
        )

    # --- each step ---

    def stepped(self, node: Node) -> None:
        """A manager has taken an action, and its orders are carried out."""
        links = node.links
        if len(links) > node.settings.peers_max and len(links) > node.settings.peers_max + BEYOND_MAX:
            self.broken("more links than the maximum", node.number, f"{len(links)}")
        if node.blocked:
            for end in links.values():
                if end.other.owner.id in node.blocked:
                    self.broken("a link to a blocked peer", node.number, f"{end.other.owner.number}")

    # --- from time to time ---

    def _sweep(self) -> None:
        """Go on through the nodes where the last sweep ended, as far as a bounded number of rows."""
        self.world.later(SWEEP_S, self._sweep)
        parties, rows = self.world.parties, 0
        for _ in range(len(parties)):
            self._at = (self._at + 1) % len(parties)
            party = parties[self._at]
            if isinstance(party, Node) and party.awake and not party.shutting_down:
                self.look_at(party)
                rows += len(party.state.peers)
                if rows > ROWS_MAX:
                    return

    def look_at(self, node: Node) -> None:
        """All that has to hold of a state at any time."""
        for hub in node.first_hubs:
            if hub not in node.state.hubs:
                self.broken("a hub was lost", node.number, hub)
        self._stuck(node)
        self._caps(node)
        self._timers(node)
        self._nobody_forgotten(node)
        known = [x.id for row in node.state.peers.values() for x in (row.link, row.rival) if x is not None]
        if sorted(known) != sorted(node.links):
            self.broken("links and state differ", node.number, f"open {sorted(node.links)}, known {sorted(known)}")

    def _stuck(self, node: Node) -> None:
        """A link that moves nothing is given up while there is another one."""
        now_s, settings = node.now.mono_s, node.settings  # which stands still while the machine sleeps
        for end in node.links.values():
            session, other = end.session, end.other.owner
            serves = end.other.session is not None and end.other.session.told
            excused = len(node.links) < 2 or serves or other.id in node.state.pinned
            if session is None or not session.told or excused:
                self._stuck_since.pop(end, None)
                continue
            moved_s = max(session.moved_s, session.begun_s)
            # By the node's own clock, at which the world's time of a message can be told only when it is seen.
            seen_s, quiet_since_s = self._stuck_since.get(end, (-1.0, now_s))
            if moved_s > seen_s:
                quiet_since_s = now_s
            self._stuck_since[end] = (max(seen_s, moved_s), quiet_since_s)
            silent_s = now_s - quiet_since_s
            if silent_s > settings.stall_s + STUCK_SLACK_S:
                detail = f"{silent_s:.0f} s without a message from {other.number}"
                self.broken("a stuck link is kept", node.number, detail)

    def _caps(self, node: Node) -> None:
        state, most = node.state, node.settings
        sizes = (
            ("peers", len(state.peers), most.known_peers_max),
            ("hubs", len(state.hubs), most.hubs_max),
            ("inboxes", len(state.inboxes), most.inboxes_max),
            ("vouched", len(state.vouched), most.vouched_max),
            ("blocked", len(state.blocked), most.blocked_max),
            ("hops", len(state.hops), most.friends_known_max),
            ("pinned", len(state.pinned), most.pinned_max),
            ("timers", len(state.timers), 4 + 3 * most.hubs_max + 2 * (most.peers_max + 8)),
            ("routes", max((len(row.routes) for row in state.peers.values()), default=0), most.routes_max),
        )
        for name, size, limit in sizes:
            if size > limit:
                self.broken("a table beyond its cap", node.number, f"{size} {name}, at most {limit}")

    def _timers(self, node: Node) -> None:
        state = node.state
        if dict(state.timers) != node.timers:
            self.broken("timers and state differ", node.number, f"{dict(state.timers)} {node.timers}")
        for key, due_s in node.timers.items():
            if not self._has_purpose(node, key):
                self.broken("a timer without a purpose", node.number, key)
            if due_s < node.now.mono_s - 1.0:
                self.broken("a timer that never fires", node.number, key)

    def _has_purpose(self, node: Node, key: str) -> bool:
        name, _, rest = key.partition(":")
        row, hub = node.state.peers.get(PeerId(rest)), node.state.hubs.get(HubUrl(rest))
        match name:
            case "tick" | "connect" | "broadcast" | "save":
                return not rest
            case "hub":
                return hub is not None and hub.connected_s is None
            case "announce" | "knock":
                return hub is not None and hub.connected_s is not None
            case "peer":
                return row is not None and row.attempt is not None
            case "handover":
                return row is not None and row.rival is not None
        return False

    def _nobody_forgotten(self, node: Node) -> None:
        state = node.state
        wakes = [key for key in ("connect", "tick") if key in node.timers]
        for row in peers_view(state):
            if row.state == "DISCONNECTED" and row.routes:
                if not row.reason:
                    self.broken("a peer without a reason", node.number, row.id)
                if "it is dialled" in row.reason and not wakes:
                    self.broken("a peer that nothing wakes for", node.number, row.id)
        if "tick" not in node.timers:
            self.broken("no tick", node.number, "")
