"""Hubs: the rooms of `hub/rooms.py` behind a bad network, with everything that can be wrong about a hub."""

from __future__ import annotations

from typing import Final

from ssb_rtc.hub.rooms import Rooms
from ssb_rtc.sim.dice import Dice
from ssb_rtc.sim.messages import ALL, Announced, Left, Message, decode, encode, inbox
from ssb_rtc.sim.party import Party
from ssb_rtc.sim.world import World
from ssb_rtc.types import HubUrl

SILENT_S: Final = 75.0
"""A subscription that is silent for so long is dead."""
SPAN_S: Final = 10.0
"""Requests are counted over so long."""
REPLAYS_MAX: Final = 64
"""How many frames a hub keeps to say them again."""


class SimHub:
    """One hub."""

    def __init__(self, world: World, url: HubUrl, dice: Dice) -> None:
        self.world = world
        self.url = url
        self.dice = dice
        self.latency_s = dice.uniform(0.02, 0.12)
        self.up = True
        self.gone = False
        """It is dead for good: no healing brings it back."""
        self.slow = 1.0
        """How many times longer everything takes."""
        self.lying = False
        """It confirms subscriptions and delivers nothing; what it says itself is false goodbyes."""
        self.deaf = False
        """It takes posts that nobody hears."""
        self.dropping = 0.0
        """The share of deliveries that get lost."""
        self.replaying = 0.0
        """How often a post is followed by an old one."""
        self.late_s = 0.0
        """It confirms a subscription so long before it stands."""
        self.limit_s = 0.0
        """How many requests a second it takes before it answers 429; 0 is any number."""
        self.cut: dict[int, bool] = {}
        """Who can't reach it."""
        self.requests: dict[int, int] = {}
        """How many there were, by the span in which they came."""
        self.posts = self.announcements = self.deliveries = 0
        self._rooms = self._fresh_rooms()
        self._old: list[tuple[bytes, bytes]] = []

    @staticmethod
    def _fresh_rooms() -> Rooms[int]:
        return Rooms(channels_max=10**6, subscribers_max=10**6, channels_per_subscriber_max=64, heartbeat_s=30.0)

    def connect(self, party: Party, connection: int) -> None:
        """Somebody subscribes."""
        party.subscribing[self.url] = connection
        late_s = self.latency_s * 2 * self.slow
        if self.url not in self.world.hubs or party.number in self.cut:
            return  # no answer at all
        limited = self._limited()
        if not self.up:
            if self.dice.chance(0.5):
                self.world.later(late_s, self._refuse, party, connection, "connection refused", None)
            return
        if limited:
            self.world.later(late_s, self._refuse, party, connection, "429", self.dice.uniform(5.0, 60.0))
            return
        self.world.later(late_s, self._confirm, party, connection)

    def _refuse(self, party: Party, connection: int, reason: str, retry_after_s: float | None) -> None:
        if party.awake and party.subscribing.get(self.url) == connection:
            del party.subscribing[self.url]
            party.hub_down(self.url, connection, reason, retry_after_s, False)

    def _confirm(self, party: Party, connection: int) -> None:
        if not party.awake or party.subscribing.get(self.url) != connection:
            return None
        if not self.up:
            return self._refuse(party, connection, "the hub died", None)
        del party.subscribing[self.url]
        party.subscribed[self.url] = connection
        if self.late_s > 0:
            self.world.later(self.dice.uniform(0.0, self.late_s), self._seat, party, connection)
        else:
            self._seat(party, connection)
        return party.hub_up(self.url, connection)

    def _seat(self, party: Party, connection: int) -> None:
        if self.up and not self.lying and party.subscribed.get(self.url) == connection:
            self._rooms.unsubscribe(party.number)
            self._rooms.subscribe(party.number, (ALL, inbox(party.id)), self.world.now_s)

    def disconnect(self, party: Party, connection: int) -> None:
        """Somebody closes its subscription, open or still opening."""
        if party.subscribing.get(self.url) == connection:
            del party.subscribing[self.url]
        if party.subscribed.get(self.url) == connection:
            self.forget(party)

    def forget(self, party: Party) -> None:
        """Somebody is gone, without having been told so."""
        party.subscribed.pop(self.url, None)
        self._rooms.unsubscribe(party.number)

    def lose(self, party: Party, reason: str, after_s: float) -> None:
        """Somebody's subscription breaks, and it finds that out after so long."""
        connection = party.subscribed.get(self.url)
        self._rooms.unsubscribe(party.number)
        if connection is not None:
            self.world.later(after_s, self._tell_lost, party, connection, reason)

    def _tell_lost(self, party: Party, connection: int, reason: str) -> None:
        if party.awake and party.subscribed.get(self.url) == connection:
            del party.subscribed[self.url]
            party.hub_down(self.url, connection, reason, None, True)

    def die(self) -> None:
        """All subscriptions end; half of them are told by a reset, the others by silence."""
        self.up = False
        self._rooms = self._fresh_rooms()
        for party in self.world.parties:
            if self.url in party.subscribed:
                self.lose(party, "the hub died", self.dice.uniform(0.0, 2.0) if self.dice.chance(0.5) else SILENT_S)

    def rise(self) -> None:
        """It is there again; who waited in silence has to come anew."""
        self.up = not self.gone

    def heal(self) -> None:
        """Nothing is wrong with it any longer."""
        if self.lying:  # who sat in front of it finds out that nothing came
            for party in self.world.parties:
                if self.url in party.subscribed:
                    self.lose(party, "silent for too long", self.dice.uniform(0.0, SILENT_S))
        self.up, self.slow, self.lying, self.deaf = not self.gone, 1.0, False, False
        self.dropping = self.replaying = self.late_s = self.limit_s = 0.0
        self.cut.clear()

    def cut_off(self, party: Party) -> None:
        """Somebody can't reach it any longer."""
        self.cut[party.number] = True
        self.lose(party, "silent for too long", SILENT_S)

    def restore(self, party: Party) -> None:
        """Somebody can reach it again."""
        self.cut.pop(party.number, None)

    def answers(self, party: Party) -> bool:
        """Whether it says what it is to somebody who asks; that is a request like any other."""
        return not self._limited() and self.up and party.number not in self.cut

    def post(self, party: Party, channel: bytes, message: Message) -> str | float | None:
        """Somebody says something: None, or what is wrong, or for how long it should be quiet."""
        if not self.up or party.number in self.cut:
            return "connection refused"
        if self._limited():
            return self.dice.uniform(5.0, 60.0)
        self.posts += 1
        self.announcements += isinstance(message, Announced | Left)
        if not self.deaf and not self.lying:
            self.world.later(self.latency_s * self.slow, self._pass_on, channel, encode(message), party.number)
        return None

    def _limited(self) -> bool:
        span = int(self.world.now_s // SPAN_S)
        self.requests[span] = self.requests.get(span, 0) + 1
        return 0 < self.limit_s * SPAN_S < self.requests[span]

    def _pass_on(self, channel: bytes, frame: bytes, sender: int) -> None:
        if not self.up:
            return
        if self.replaying > 0:
            if self._old and self.dice.chance(self.replaying):
                self._deliver(*self.dice.pick(self._old), -1)
            self._old = [*self._old[-REPLAYS_MAX:], (channel, frame)]
        self._deliver(channel, frame, sender)

    def _deliver(self, channel: bytes, frame: bytes, sender: int) -> None:
        self._rooms.post(channel, frame)
        message = decode(frame)
        parties, later, hear_s = self.world.parties, self.world.later, self.latency_s * self.slow
        for _, readers in self._rooms.take():
            for number in readers:
                if number == sender or (self.dropping > 0 and self.dice.chance(self.dropping)):
                    continue
                self.deliveries += 1
                party = parties[number]
                later(hear_s + party_latency_s(number), party.hear, self.url, message)


def party_latency_s(number: int) -> float:
    """How far a party is from the middle of the network."""
    return 0.005 + 0.005 * (number * 7919 % 23)
