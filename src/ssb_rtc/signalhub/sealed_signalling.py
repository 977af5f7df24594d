"""The sealed dialect over many hubs: what goes over a hub can be delayed and dropped there, and nothing else.

Letters (wire.letters) travel in envelopes (wire.envelope) to inboxes (wire.channels): a knock to the friend inbox where
we know it, else to the public one; whatever answers a letter goes to the channel that the letter names, over each hub
where they were heard. docs/signalling.md has the layout and says who can do what.

What crosses is settled here: of two knocks the one of the smaller key stands, because the owner of the greater key is
to offer. So one of the two hears nothing and sends its knock again, the other one hears a knock and offers. Where each
has heard the other's knock before its own went out, both offer: then the offer of the greater key stands.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import aiohttp

from ssb_rtc.errors import MisuseError, SignalInvalid, TransportFault
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.signalhub.admission import BucketTable, SeenLetters
from ssb_rtc.signalhub.carriers import Carrier, GoBetween, Hub, PassOn, SealedLimits, Source
from ssb_rtc.signalhub.client import ClientLimits, HubClient, HubRefused
from ssb_rtc.signalhub.desk import Desk, Inboxes
from ssb_rtc.signalhub.over_hubs import OverHubs, not_subscribed
from ssb_rtc.signalhub.sessions import SAID_MAX, Key, Session, Sessions
from ssb_rtc.signalhub.signalling import (
    Announced,
    Busy,
    ClockDiffers,
    Invited,
    Left,
    SignallingEvent,
    SignalReceived,
)
from ssb_rtc.signalhub.streams import HubStreams
from ssb_rtc.types import HubUrl, PeerId, go_between
from ssb_rtc.wire import channels, envelope, letters
from ssb_rtc.wire.envelope import Kind, Letter
from ssb_rtc.wire.swarm import Signal, app_name

RENEW_S: Final = 30.0
"""How often it is looked at whether other channels are to be listened to: their names hang on the day."""
CLOCK_NOTE_S: Final = 60.0
"""A friend whose clock is wrong is told so at most so often."""


class SealedSignalling(OverHubs[Hub]):
    """The sealed dialect for one identity in one network.

    Letters are dropped as: flood, invalid, own, stale, copy, unknown (of no session of ours), full (no room for another
    session), crossing.
    """

    def __init__(  # noqa: PLR0913 - keywords mostly, each of its own
        self,
        keys: Keys,
        network_key: bytes,
        session: aiohttp.ClientSession,
        on_event: Callable[[SignallingEvent], None],
        *,
        inboxes: Inboxes,
        strangers: bool,
        clock: Callable[[], float],
        wall: Callable[[], float],
        limits: SealedLimits | None = None,
        client_limits: ClientLimits | None = None,
    ) -> None:
        """`session` comes from `open_session` and stays the caller's; `clock` gives monotonic seconds, `wall` those
        since 1970. strangers: whether we announce ourselves and listen to our public inbox.
        """
        limits = limits or SealedLimits()
        super().__init__(on_event, hubs_max=limits.hubs_max, posts_waiting_max=limits.posts_waiting_max)
        self._desk = Desk(keys, network_key, inboxes, wall, strangers=strangers, clocks=limits.senders_max)
        self._app = app_name(network_key)
        self._http = session
        self._clock = clock
        self._limits = limits
        self._client_limits = client_limits
        self._between: dict[HubUrl, GoBetween] = {}
        self._sessions = Sessions()
        self._senders = BucketTable(limits.sender_rate_s, limits.sender_burst, limits.senders_max)
        self._notes = BucketTable(1 / CLOCK_NOTE_S, 1, limits.senders_max)
        names: tuple[Source, ...] = ("own", "open", "passed")
        self._seen = {name: _seen(limits) for name in names}
        """Knocks and announcements. Apart, so that strangers who fill the one don't keep friends out of the other."""
        self._posting: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None

    def knocks(self, hub: HubUrl) -> bool:
        """See `Signalling.knocks`."""
        del hub
        return True

    # --- hubs ---

    async def connect(self, hub: HubUrl) -> None:
        """See `Signalling.connect`."""
        await super().connect(hub)
        held = self._hubs.get(hub)
        if held is not None and held.up:
            self._spawn(self._renew_on(hub, held))  # other channels may be wanted since it was asked
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_for_ever(), name="channels of the day")

    def _make(self, hub: HubUrl) -> Hub:
        def client() -> HubClient:
            return HubClient(hub, self._app, self._http, limits=self._client_limits)

        held: Hub
        streams = HubStreams(
            client,
            lambda name, text: self._hear(hub, held, name, text),
            lambda fault: self._lost(hub, held, fault),
        )
        held = Hub(streams, self._limits, self._clock())
        return held

    async def _subscribe(self, hub: HubUrl, held: Hub) -> None:
        del hub
        await held.streams.subscribe(self._desk.channels(held))

    async def _give_up(self, held: Hub) -> None:
        await held.streams.close()

    def _lost(self, hub: HubUrl, held: Hub, fault: TransportFault) -> None:
        if self._hubs.get(hub) is held:
            self._spawn(held.streams.close())  # one of the two streams may still be open
        super()._lost(hub, held, fault)

    async def close(self) -> None:
        """See `Signalling.close`."""
        tasks = [*self._posting, *([self._renewing] if self._renewing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close()

    async def renew(self) -> None:
        """Listen to the channels of now, wherever we are: the day, our inbox or the crowd may be another one."""
        # All at once: one that answers slowly must not keep us from hearing friends on another one.
        await asyncio.gather(*(self._renew_on(hub, held) for hub, held in list(self._hubs.items())))

    async def _renew_on(self, hub: HubUrl, held: Hub) -> None:
        async with held.renewing:
            held.crowd.settle(self._clock())
            if not held.up:
                return
            try:
                await held.streams.subscribe(self._desk.channels(held))
            except HubRefused as fault:
                if fault.retry_after_s is None:
                    self._lost(hub, held, fault)
            except TransportFault as fault:
                self._lost(hub, held, fault)

    def renew_soon(self) -> None:
        """As `renew`, and don't wait for it."""
        self._spawn(self.renew())

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await self.renew()

    # --- go-betweens ---

    def passes_on(self, peer: PeerId, pass_on: PassOn) -> HubUrl:
        """A linked peer passes envelopes on: under this address it is spoken through as if it were a hub."""
        hub = go_between(peer)
        self._between[hub] = GoBetween(pass_on, self._limits, self._clock())
        return hub

    def passes_no_more(self, peer: PeerId) -> None:
        """The link with it is over; nothing is heard through it any longer."""
        self._between.pop(go_between(peer), None)

    def hear_passed(self, peer: PeerId, text: str) -> None:
        """A linked peer has passed this on."""
        hub = go_between(peer)
        held = self._between.get(hub)
        if held is not None:
            self._hear(hub, held, "passed", text)

    # --- what we say ---

    async def announce(self, hub: HubUrl, free_slots: int | None = None) -> None:
        """See `Signalling.announce`. Says nothing where strangers are not welcome."""
        held = self._hubs.get(hub)
        if self._desk.strangers and held is not None:
            payload = letters.announce(free_slots or 0)
            held.announced_on = await self._announce(hub, held, Kind.ANNOUNCE, payload)

    async def leave(self, hub: HubUrl) -> None:
        """See `Signalling.leave`. Says nothing where we never announced ourselves."""
        held = self._hubs.get(hub)
        if held is not None and held.announced_on is not None:
            await self._announce(hub, held, Kind.LEAVE, b"")

    async def _announce(self, hub: HubUrl, held: Hub, kind: Kind, payload: bytes) -> str:
        channel, body = self._desk.announcement(held, kind, payload)
        await self._post(hub, self._desk.own, channel, body)
        return channel

    async def send(self, hub: HubUrl, to: PeerId, session: str, signal: Signal) -> None:
        """See `Signalling.send`. A session is 32 hex digits; MisuseError for others."""
        raw = _raw(session)
        if signal.kind == "knock":
            await self._knock(hub, (to, session), signal)
            return
        known = self._sessions.get((to, session), self._clock())
        if known is None or known.theirs is None:
            raise TransportFault("the other side has not said to which key this is to be sealed: it came too late")
        theirs, seed = known.theirs, secrets.token_bytes(32)
        hubs = [at for at in known.replies if (held := self._carrier(at)) is not None and held.up] or [hub]
        match signal.kind:
            case "offer":
                secret = known.secret = known.secret or secrets.token_bytes(32)
                known.ours_s = self._clock()

                def offer(at: HubUrl) -> Letter:
                    reply = self._desk.reply(self._held(at), to)
                    payload = letters.offer(
                        letters.public_of(secret), reply, signal.sdp, theirs, secrets.token_bytes(32)
                    )
                    return self._desk.letter(to, raw, known, Kind.OFFER, payload)

                await self._spread(hubs, to, known, offer)
            case "answer":
                answer = self._desk.letter(to, raw, known, Kind.ANSWER, letters.answer(signal.sdp, theirs, seed))
                await self._spread(hubs, to, known, lambda _: answer)
            case _:
                candidate = self._desk.letter(to, raw, known, Kind.CANDIDATE, letters.candidate(signal, theirs, seed))
                await self._spread(hubs, to, known, lambda _: candidate)

    async def _spread(
        self, hubs: Sequence[HubUrl], to: PeerId, known: Session, letter: Callable[[HubUrl], Letter]
    ) -> None:
        """Over each hub where the session was heard: what one of them drops comes over another. One is enough."""
        if len(known.said) < SAID_MAX:
            known.said.append(letter)
        posts = (self._send(hub, to, known, letter(hub)) for hub in hubs)
        outcomes = await asyncio.gather(*posts, return_exceptions=True)
        faults = [outcome for outcome in outcomes if outcome is not None]
        for fault in faults:
            if not isinstance(fault, TransportFault):
                raise fault
        if len(faults) == len(hubs):
            raise faults[0]

    async def _knock(self, hub: HubUrl, key: Key, signal: Signal, channel: str = "") -> None:
        to, raw = key[0], _raw(key[1])
        while not (held := self._held(hub)).knocks.take(self._clock()):  # noqa: ASYNC110 - a bucket has no event
            await asyncio.sleep(1.0 / self._limits.knock_rate_s)
        now_s = self._clock()
        known = self._sessions.get(key, now_s) or self._sessions.begin(key, now_s, knocked=True)
        if known is None:
            raise TransportFault("too many attempts are under way")
        known.secret, known.began_s = known.secret or secrets.token_bytes(32), now_s
        ephemeral = letters.public_of(known.secret)
        proof = self._desk.proof(to, raw, ephemeral)
        payload = letters.knock(ephemeral, self._desk.reply(held, to), alone=signal.alone, proof=proof)
        body = self._desk.sealed(to, self._desk.letter(to, raw, known, Kind.KNOCK, payload))
        await self._post(hub, to, channel or self._desk.inbox(to), body)

    async def say_busy(self, hub: HubUrl, to: PeerId, session: str, not_before_s: float) -> None:
        """See `Signalling.say_busy`."""
        known = self._sessions.get((to, session), self._clock())
        if known is not None:
            letter = self._desk.letter(to, _raw(session), known, Kind.BUSY, letters.busy(not_before_s))
            await self._send(hub, to, known, letter)

    def _note_route(self, hub: HubUrl, key: Key, known: Session, reply: bytes) -> bool:
        """They are heard over this hub: where they listen. True where they are told there what we said already."""
        is_news = hub not in known.replies
        known.replies[hub] = channels.reply_channel(reply)
        if is_news and known.said:
            self._spawn(self._say_again(hub, key[0], known))
        return is_news and bool(known.said)

    async def _say_again(self, hub: HubUrl, to: PeerId, known: Session) -> None:
        with suppress(TransportFault):
            await asyncio.gather(*(self._send(hub, to, known, letter(hub)) for letter in list(known.said)))

    async def _send(self, hub: HubUrl, to: PeerId, known: Session, letter: Letter) -> None:
        """To the channel that they named, else to their inbox."""
        await self._post(hub, to, known.replies.get(hub) or self._desk.inbox(to), self._desk.sealed(to, letter))

    def _carrier(self, hub: HubUrl) -> Carrier | None:
        return self._hubs.get(hub) or self._between.get(hub)

    def _held(self, hub: HubUrl) -> Carrier:
        held = self._carrier(hub)
        if held is None or not held.up:
            raise not_subscribed(hub)
        return held

    async def _post(self, hub: HubUrl, to: PeerId, channel: str, body: str) -> None:
        held = self._held(hub)
        await self._in_turn(hub, held, partial(held.carry, to, channel, body))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    # --- what we hear ---

    def _hear(self, hub: HubUrl, held: Carrier, name: Source, text: str) -> None:
        """One event of a hub or go-between: a flood is cut before anything is opened, and nothing of it raises."""
        if self._carrier(hub) is not held:
            return
        now_s = self._clock()
        if not held.buckets[name].take(now_s):
            self._dropped["flood"] += 1
            return
        letter = self._desk.opened(name, text)
        if letter is None:
            self._dropped["invalid"] += 1
        elif letter.sender == self._desk.own:
            self._dropped["own"] += 1
        elif not self._senders.take((hub, name, letter.sender), now_s):
            # For each hub and stream: copies of a peer's letters must not use up what it may say elsewhere.
            self._dropped["flood"] += 1
        else:
            try:
                reason = self._take(hub, held, name, letter)
            except SignalInvalid:
                reason = "invalid"
            if reason:
                self._dropped[reason] += 1

    def _take(self, hub: HubUrl, held: Carrier, name: Source, letter: Letter) -> str:
        """Act on a letter whose sender is proven; why it was dropped, or nothing. Raises SignalInvalid."""
        now_s, fresh = self._clock(), self._desk.is_fresh(letter)
        key = (letter.sender, letter.session.hex())
        match letter.kind:
            case Kind.ANNOUNCE | Kind.LEAVE:
                if not fresh:
                    return "stale"
                if not self._first(name, letter, now_s):
                    return "copy"
                if isinstance(held, Hub):
                    held.crowd.heard(letter.sender, now_s)
                if letter.kind is Kind.LEAVE:
                    self._emit(Left(hub, letter.sender))
                else:
                    self._emit(Announced(hub, letter.sender, letters.parse_announce(letter.payload)))
                return ""
            case Kind.KNOCK:
                return self._take_knock(hub, name, letter, key, fresh=fresh)
            case _:
                known = self._sessions.get(key, now_s)
                return "unknown" if known is None else self._take_known(hub, letter, key, known)

    def _first(self, name: Source, letter: Letter, now_s: float) -> bool:
        letter_name = (letter.session, letter.sequence)
        if any(seen.holds(letter.sender, letter_name) for source, seen in self._seen.items() if source != name):
            return False
        return self._seen[name].first(letter.sender, letter_name, now_s)

    def _take_knock(self, hub: HubUrl, name: Source, letter: Letter, key: Key, *, fresh: bool) -> str:
        knock, now_s = letters.parse_knock(letter.payload), self._clock()
        if not fresh:
            self._note_clock(hub, letter, knock)
            return "stale"
        known = self._sessions.get(key, now_s)
        if not self._first(name, letter, now_s):
            if known is not None and known.theirs == knock.ephemeral and not known.knocked:
                # A copy, but it shows another way to them: whose hub was the first may be no more than quick.
                self._note_route(hub, key, known, knock.reply)
            return "copy"
        if known is None:
            if self._sessions.outdated(letter.sender, letter.time_ms):
                return "stale"
            known = self._sessions.begin(key, now_s, knocked=False, open_=name != "own", time_ms=letter.time_ms)
        if known is None:
            return "full"
        if known.knocked or known.theirs not in (None, knock.ephemeral):
            return "invalid"
        known.theirs = knock.ephemeral
        if self._note_route(hub, key, known, knock.reply):
            return ""
        if self._sessions.overtaken(letter.sender, letter.time_ms):
            return "crossing"
        ours = self._sessions.crossing(letter.sender, now_s)
        if ours is not None and not self._desk.outranks(letter.sender):
            # Also to where they say that they listen: the inbox that we know may be an old one.
            channel = channels.reply_channel(knock.reply)
            self._knock_again(hub, (letter.sender, ours), alone=knock.alone, channel=channel)
            return "crossing"
        code = self._desk.invitation(letter, knock)
        if code is not None:
            self._emit(Invited(hub, letter.sender, code))
        self._emit(SignalReceived(hub, letter.sender, key[1], Signal("knock", alone=knock.alone)))
        return ""

    def _knock_again(self, hub: HubUrl, key: Key, *, alone: bool, channel: str = "") -> None:
        """Once a session and hub: whoever knocks at us all the time does not use up our knocks at others."""
        known = self._sessions.get(key, self._clock())
        if known is not None and hub not in known.repeated:
            known.repeated.add(hub)
            self._spawn(self._say_knock(hub, key, alone, channel))

    async def _say_knock(self, hub: HubUrl, key: Key, alone: bool, channel: str) -> None:
        with suppress(TransportFault):
            await self._knock(hub, key, Signal("knock", alone=alone))
            if channel:
                await self._knock(hub, key, Signal("knock", alone=alone), channel)

    def _take_known(self, hub: HubUrl, letter: Letter, key: Key, known: Session) -> str:
        """A letter of a session that we know: it is fresh because it echoes that."""
        peer, session = key
        secret = known.secret or b""
        if not known.first(letter.sequence) and (letter.kind is not Kind.OFFER or hub in known.replies):
            return "copy"
        match letter.kind:
            case Kind.OFFER if known.knocked:
                offer = letters.parse_offer(letter.payload, secret)
                if known.theirs not in (None, offer.ephemeral):
                    return "invalid"
                known.theirs = offer.ephemeral
                self._note_route(hub, key, known, offer.reply)
                if offer.sdp == known.offered:
                    return "copy"
                if self._outranked(hub, peer):
                    return "crossing"
                known.offered = offer.sdp
                self._sessions.take_offer(peer, letter.time_ms)
                self._emit(SignalReceived(hub, peer, session, Signal("offer", sdp=offer.sdp)))
            case Kind.ANSWER if not known.knocked and secret:
                sdp, known.ours_s = letters.parse_answer(letter.payload, secret), float("-inf")
                self._emit(SignalReceived(hub, peer, session, Signal("answer", sdp=sdp)))
            case Kind.CANDIDATE if secret:
                self._emit(SignalReceived(hub, peer, session, letters.parse_candidate(letter.payload, secret)))
            case Kind.BUSY:
                self._emit(Busy(hub, peer, session, letters.parse_busy(letter.payload)))
            case Kind.CLOCK if known.knocked:
                self._take_clock_note(hub, peer, session, letters.parse_clock(letter.payload))
            case _:
                return "unknown"
        return ""

    def _outranked(self, hub: HubUrl, peer: PeerId) -> bool:
        """Whether an offer of ours stands and theirs does not; ours is said to them once more."""
        ours = self._sessions.offering(peer, self._clock())
        known = None if ours is None else self._sessions.get(ours, self._clock())
        if known is None or not self._desk.outranks(peer):
            return False
        self._spawn(self._say_again(hub, peer, known))
        return True

    # --- clocks ---

    def _note_clock(self, hub: HubUrl, letter: Letter, knock: letters.Knock) -> None:
        """Tell a friend, and nobody else, that its clock or ours is wrong."""
        peer, now_s = letter.sender, self._clock()
        if not self._desk.is_friend(peer) or not self._notes.take(peer, now_s):
            return
        known = self._sessions.begin((peer, letter.session.hex()), now_s, knocked=False)
        if known is not None:
            known.theirs, known.replies[hub] = knock.ephemeral, channels.reply_channel(knock.reply)
            self._spawn(self._say_clock(hub, peer, letter.session, known))

    async def _say_clock(self, hub: HubUrl, peer: PeerId, raw: bytes, known: Session) -> None:
        with suppress(TransportFault):
            await self._send(
                hub, peer, known, self._desk.letter(peer, raw, known, Kind.CLOCK, letters.clock(self._desk.time_ms()))
            )

    def _take_clock_note(self, hub: HubUrl, peer: PeerId, session: str, time_ms: int) -> None:
        """A friend reads another time than we do: date our letters to it so, and knock once more."""
        ahead_s = self._desk.note_clock(peer, time_ms)
        if ahead_s is None:
            return
        if ahead_s:
            self._emit(ClockDiffers(hub, peer, ahead_s))
        self._knock_again(hub, (peer, session), alone=False)


def _seen(limits: SealedLimits) -> SeenLetters:
    return SeenLetters(2 * envelope.WINDOW_S, limits.seen_max, limits.seen_of_a_sender_max)


def _raw(session: str) -> bytes:
    try:
        raw = bytes.fromhex(session)
    except ValueError:
        raw = b""
    if len(raw) != envelope.SESSION_BYTES:
        raise MisuseError("a session of the sealed dialect is named by 32 hex digits")
    return raw
