"""Connections between pairs: offers and answers, links, half-open links, late results, pings, goodbyes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ssb_rtc.manager.state import Route
from ssb_rtc.sim.dice import number_of
from ssb_rtc.sim.hubs import party_latency_s
from ssb_rtc.sim.messages import Answered, Busy, Offered, inbox
from ssb_rtc.types import HubUrl, PeerId, behind, go_between

if TYPE_CHECKING:
    from ssb_rtc.sim.feeds import Session
    from ssb_rtc.sim.gossip import Entry
    from ssb_rtc.sim.messages import Message
    from ssb_rtc.sim.party import Party
    from ssb_rtc.sim.world import World

ICE_S: Final = 15.0
"""How long a connection that can't open is tried."""
CONSENT_S: Final = 30.0
"""A link over which nothing comes any longer is dead after this."""
PING_S: Final = 5.0


class Dial:
    """An offer under way: who made it, who answered it."""

    __slots__ = ("alone", "answer", "answerer", "attempt", "dialler", "hub", "peer", "session", "used")

    def __init__(self, dialler: Party, attempt: int, peer: PeerId, hub: HubUrl, session: str, alone: bool) -> None:
        self.dialler = dialler
        self.attempt = attempt
        self.peer = peer
        self.hub = hub
        self.session = session
        self.alone = alone
        self.answerer: Party | None = None
        self.answer = 0
        self.used = False
        """The answer has come once."""


class End:
    """One end of a link."""

    __slots__ = ("dialled", "link", "number", "open", "other", "owner", "session", "since_s", "told", "used")

    def __init__(self, link: Link, owner: Party, dialled: bool) -> None:
        self.link = link
        self.owner = owner
        self.dialled = dialled
        self.number = owner.next_number()
        self.open = False
        self.used = False
        """Replication runs over it, as far as this end is concerned."""
        self.since_s = 0.0
        self.other: End
        self.session: Session | None = None
        self.told: dict[Entry, bool] = {}
        """Entries of hubs that passed over it, either way."""

    @property
    def works(self) -> bool:
        """Whether something that is sent now arrives, and is answered."""
        return self.open and self.other.open and not self.link.dead and self.other.owner.awake


class Link:
    """A connection between two parties."""

    __slots__ = ("dead", "died_s", "ends", "latency_s", "rate_s", "route")

    def __init__(self, dialler: Party, answerer: Party, route: Route, latency_s: float, rate_s: float) -> None:
        self.route = route
        self.latency_s = latency_s
        self.rate_s = rate_s
        """Messages a second, each way."""
        self.dead = False
        """Nothing passes any longer."""
        self.died_s = 0.0
        first, second = self.ends = (End(self, dialler, True), End(self, answerer, False))
        first.other, second.other = second, first


class Network:
    """All pairs, and what is on its way between them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dice = world.dice("network")
        self.never = 0.0
        """The share of pairs that can never connect."""
        self.late_results = 0.0
        self.halves: dict[int, int] = {}
        """While the network is parted: in which part each party is."""
        self.opened: dict[tuple[int, int], list[float]] = {}
        """When a link between two parties was opened."""
        self.dialled: dict[tuple[int, int], list[float]] = {}
        """When one party offered to another one."""
        self.links_opened = 0
        self.passed_on = 0
        """What go-betweens handed over."""
        self._dials: dict[str, Dial] = {}

    def can_connect(self, one: Party, other: Party) -> bool:
        """Whether the two could ever connect."""
        low, high = sorted((one.number, other.number))
        return self.never == 0 or number_of(f"{self.world.seed}/pair/{low}/{high}") >= self.never * 2**64

    def reaches(self, one: Party, other: Party) -> bool:
        """Whether the two can connect now."""
        return self.halves.get(one.number) == self.halves.get(other.number) and self.can_connect(one, other)

    def part_into(self, halves: dict[int, int]) -> None:
        """Cut the network into parts; links between them are dead, but don't know it yet."""
        self.halves = halves
        for party in self.world.parties:
            for end in party.links.values():
                if not self.reaches(party, end.other.owner):
                    self._dies(end.link)

    # --- signalling ---

    def send(self, party: Party, hub: HubUrl, to: PeerId, message: Message) -> None:
        """Post to somebody's inbox; a hub that does not take it loses it."""
        between = behind(hub)
        if between is None:
            self.world.hubs[hub].post(party, inbox(to), message)
            return
        end = self._end(party, between)
        if end is not None and not end.other.owner.introduces:
            self.world.later(2 * end.link.latency_s, party.wont_introduce, between)
        elif end is not None and end.works:
            self.world.later(end.link.latency_s, self._pass_on, end.other.owner, to, message)

    def _pass_on(self, between: Party, to: PeerId, message: Message) -> None:
        end = self._end(between, to)
        if between.awake and between.honest and end is not None and end.works and end.other.owner.introduces:
            self.passed_on += 1
            self.world.later(end.link.latency_s, end.other.owner.hear, go_between(between.id), message)

    def _end(self, party: Party, peer: PeerId) -> End | None:
        """Of the link with this peer over which it replicates."""
        return next((end for end in party.links.values() if end.used and end.other.owner.id == peer), None)

    def dial(self, party: Party, attempt: int, peer: PeerId, hub: HubUrl, alone: bool) -> None:
        """Offer a connection over a hub."""
        dial = Dial(party, attempt, peer, hub, f"{party.number}.{party.lives}.{attempt}", alone)
        self._dials[dial.session] = dial
        party.attempts[attempt] = dial
        self._note(self.dialled, party.number, self.world.by_id[peer].number if peer in self.world.by_id else -1)
        between = behind(hub)
        if hub not in party.subscribed and (between is None or self._end(party, between) is None):
            self.world.later(0.0, self._give_up, dial, party, attempt, "there is no subscription to the hub")
        self.send(party, hub, peer, Offered(party.id, dial.session, alone))

    def dial_address(self, party: Party, attempt: int, peer: PeerId, route: Route) -> None:
        """Connect without a hub: an address that somebody listens at."""
        other = self.world.by_id[peer]
        dial = Dial(party, attempt, peer, HubUrl(""), "", alone=False)
        dial.answerer, dial.answer = other, -1
        party.attempts[attempt] = dial
        if self.reaches(party, other) and other.awake:
            self.world.later(4 * self._latency_s(party, other), self._opens, dial, route)
        else:
            self.world.later(ICE_S, self._fails, dial, "connection timed out")

    def resend(self, party: Party, attempt: int) -> None:
        """Offer the same once more."""
        dial = party.attempts.get(attempt)
        if dial is not None and dial.hub:
            self.send(party, dial.hub, dial.peer, Offered(party.id, dial.session, dial.alone))

    def accept(self, party: Party, attempt: int, peer: PeerId, hub: HubUrl, session: str) -> None:
        """Answer an offer."""
        dial = self._dials.get(session)
        party.attempts[attempt] = dial
        if dial is not None:  # otherwise nobody is behind it
            dial.answerer, dial.answer = party, attempt
            self.send(party, hub, peer, Answered(party.id, session))

    def refuse(self, party: Party, peer: PeerId, hub: HubUrl, session: str, reason: str, not_before_s: float) -> None:
        """Say busy to an offer."""
        self.send(party, hub, peer, Busy(party.id, session, not_before_s, reason))

    def abort(self, party: Party, attempt: int) -> None:
        """Stop an attempt; sometimes that comes too late, and its link opens all the same."""
        dial = party.attempts.get(attempt)
        if dial is not None and dial.used and self.dice.chance(self.late_results):
            return
        party.attempts.pop(attempt, None)

    def hear_answer(self, party: Party, message: Answered) -> None:
        """The other side takes our offer: the connection opens, or does not."""
        dial = self._dials.get(message.session)
        if dial is None or dial.used or dial.dialler is not party or party.attempts.get(dial.attempt) is not dial:
            return
        dial.used = True
        other = dial.answerer
        assert other is not None
        if self.reaches(party, other):
            setup_s = 6 * self._latency_s(party, other) + self.dice.uniform(0.05, 0.5)
            self.world.later(setup_s, self._opens, dial, Route("hub", dial.hub))
        else:
            self.world.later(ICE_S, self._fails, dial, "ICE failed")

    def hear_busy(self, party: Party, message: Busy) -> None:
        """The other side does not take our offer now."""
        dial = self._dials.get(message.session)
        if dial is not None and dial.dialler is party and dial.peer == message.peer and not dial.used:
            self._give_up(dial, party, dial.attempt, message.reason, message.not_before_s)

    def _give_up(self, dial: Dial, party: Party, attempt: int, reason: str, not_before_s: float | None = None) -> None:
        if party.awake and party.attempts.get(attempt) is dial:
            del party.attempts[attempt]
            party.attempt_failed(dial, attempt, reason, not_before_s)
        if attempt == dial.attempt:
            self._dials.pop(dial.session, None)

    def _fails(self, dial: Dial, reason: str) -> None:
        if dial.answerer is not None:
            self._give_up(dial, dial.answerer, dial.answer, reason)
        self._give_up(dial, dial.dialler, dial.attempt, reason)

    def _opens(self, dial: Dial, route: Route) -> None:
        answerer, dialler = dial.answerer, dial.dialler
        assert answerer is not None
        answers = dial.answer < 0 or answerer.attempts.get(dial.answer) is dial
        offers = dialler.attempts.get(dial.attempt) is dial
        if not (answers and offers and answerer.awake and dialler.awake and self.reaches(dialler, answerer)):
            return self.world.later(PING_S, self._fails, dial, "the other side gave up")
        self._dials.pop(dial.session, None)
        answerer.attempts.pop(dial.answer, None)
        dialler.attempts.pop(dial.attempt, None)
        latency_s = self._latency_s(dialler, answerer)
        link = Link(dialler, answerer, route, latency_s, self.dice.uniform(0.1, 1.0) * self.world.scenario.rate_s)
        mine, theirs = link.ends
        self.links_opened += 1
        self._note(self.opened, *sorted((dialler.number, answerer.number)))
        # The server of the secret handshake is done first, the client when it has its answer.
        inbound = Route("inbound", f"from {dialler.number}") if dial.answer < 0 else route
        self._open(theirs, None if dial.answer < 0 else dial.answer, inbound)
        return self.world.later(latency_s, self._open, mine, dial.attempt, route)

    def _note(self, times: dict[tuple[int, int], list[float]], one: int, other: int) -> None:
        times.setdefault((one, other), []).append(self.world.now_s)

    def _open(self, end: End, attempt: int | None, route: Route) -> None:
        owner = end.owner
        if not owner.awake:
            return self._dies(end.link)
        end.open, end.since_s = True, self.world.now_s
        owner.links[end.number] = end
        if owner.linked_s is None:
            owner.linked_s = self.world.now_s
        self.world.checkers.link_opened(end)
        owner.link_opened(end, attempt, route)
        return None

    def _latency_s(self, one: Party, other: Party) -> float:
        return party_latency_s(one.number) + party_latency_s(other.number)

    # --- links ---

    def close(self, end: End, reason: str, not_before_s: float | None = None) -> None:
        """One end closes a link in good order; the goodbye travels."""
        if end.owner.links.pop(end.number, None) is None:
            return
        end.open = False
        self.world.replication.closed(end)
        if not end.link.dead:
            self.world.later(end.link.latency_s, self._ended, end.other, reason, True, not_before_s)

    def use(self, end: End) -> None:
        """From now on this end replicates over the link."""
        if end.open:
            end.used = True
            self.world.replication.opened(end)

    def stop_using(self, end: End) -> None:
        """Replicate over it no more."""
        end.used = False
        self.world.replication.closed(end)

    def ping(self, end: End) -> None:
        """Find out whether a link works; the owner hears of it."""
        if end.works:
            self.world.later(2 * end.link.latency_s, self._answers, end, 2 * end.link.latency_s)
        else:
            self.world.later(PING_S, self._ended, end, "it did not answer a ping", False, None)

    def _answers(self, end: End, rtt_s: float) -> None:
        if end.open and end.owner.awake:
            end.owner.answered(end, rtt_s)

    def break_link(self, link: Link) -> None:
        """Nothing passes over a link any longer; its ends find that out in time."""
        self._dies(link)

    def half_open(self, end: End) -> None:
        """One end is told that the link is gone, the other one believes that it is up."""
        self._dies(end.link)
        self._ended(end, "connection reset", False, None)

    def vanished(self, party: Party) -> None:
        """Somebody is gone without a word: nobody is told, its links are dead."""
        for end in list(party.links.values()):
            end.open = False
            self.world.replication.closed(end)
            self._dies(end.link)
        party.links.clear()

    def fell_silent(self, party: Party) -> None:
        """Somebody's machine sleeps: its links stay open as it sees them, the others give them up."""
        for end in party.links.values():
            self._dies(end.link)

    def expire(self, end: End) -> None:
        """A dead link that its owner still believes in: it finds that out in time."""
        self.world.later(self.dice.uniform(CONSENT_S / 2, CONSENT_S), self._ended, end, "silent", False, None)

    def _dies(self, link: Link) -> None:
        if not link.dead:
            link.dead, link.died_s = True, self.world.now_s
            for end in link.ends:
                self.world.later(self.dice.uniform(CONSENT_S, CONSENT_S + 5), self._ended, end, "silent", False, None)

    def _ended(self, end: End, reason: str, clean: bool, not_before_s: float | None) -> None:
        owner = end.owner
        if not end.open or not owner.awake:
            return
        end.open = False
        del owner.links[end.number]
        self.world.replication.closed(end)
        if reason in ("it did not answer a ping", "silent"):
            self._dies(end.link)
        owner.link_ended(end, reason, clean, not_before_s if owner.tells else None)

    def tell(self, end: End, only_link: bool, downloading: bool) -> None:
        """Tell the other end how we stand with the link."""
        if not end.link.dead:
            self.world.later(end.link.latency_s, self._told, end.other, only_link, downloading)

    def _told(self, end: End, only_link: bool, downloading: bool) -> None:
        if end.open and end.owner.awake:
            end.owner.told(end, only_link, downloading)

    def tell_hubs(self, end: End, hubs: tuple[Entry, ...]) -> None:
        """Tell the other end who vouches for which hubs."""
        if not end.link.dead:
            self.world.later(end.link.latency_s, self._told_hubs, end.other, hubs)

    def _told_hubs(self, end: End, hubs: tuple[Entry, ...]) -> None:
        if end.open and end.owner.awake:
            end.owner.told_hubs(end, hubs)
