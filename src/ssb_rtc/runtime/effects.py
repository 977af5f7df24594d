"""Effects into I/O: what each order of the manager does to hubs, links and the disk, and what is heard back.

USE_LINK, CHECK_LINK, TELL_REMOTE_PEER, SCHEDULE_DISCONNECT_FROM_REMOTE_PEER, SCHEDULE_BROADCAST_KNOWN_HUBS
                                 -> runtime.links    -> LINK_DID_ANSWER, REMOTE_PEER_LINK_ENDED
SCHEDULE_CONNECT_TO_HUB          -> signalling.connect  -> HubUp, HubDown     -> HUB_CONNECTION_...
SCHEDULE_KNOCK                   -> signalling.send, one friend after the other
SCHEDULE_PROBE_HUB               -> signalhub.guarded   -> HUB_PROBE_SUCCEEDED, HUB_PROBE_FAILED
SCHEDULE_CONNECT_TO_REMOTE_PEER  -> rtc or an address   -> handshake -> Link  -> REMOTE_PEER_CONNECTION_...
ACCEPT_OFFER                     -> rtc.accept          -> handshake -> Link  -> REMOTE_PEER_CONNECTION_...
REFUSE_OFFER                     -> rtc.refuse, and signalling.say_busy where the offer named its session
what is heard on hubs            -> REMOTE_PEER_DID_ANNOUNCE, _DISCONNECT, _OFFER; "busy" ends the attempt it names
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple, get_args

from ssb_rtc.errors import MisuseError, SignalInvalid, TransportFault
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import HubSource, KnownHub, Route
from ssb_rtc.runtime.hub_prober import HubProber
from ssb_rtc.runtime.links import LinkTable
from ssb_rtc.runtime.outcomes import Outcomes, cause_of
from ssb_rtc.signalhub.client import HubRefused
from ssb_rtc.signalhub.guarded import NotAsked
from ssb_rtc.signalhub.signalling import (
    Announced,
    Busy,
    ClockDiffers,
    HubDown,
    HubUp,
    Invited,
    Left,
    Signalling,
    SignallingEvent,
    SignalReceived,
)
from ssb_rtc.storage.contacts import Contacts, HubRecord
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.channel_stream import ChannelStream
from ssb_rtc.transport.ice import REMOTE_CANDIDATES_MAX, candidate_lines, parse_candidate
from ssb_rtc.transport.rtc import PeerBusy, RtcTransport
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal

LEAVE_LIMIT_S: Final = 3.0
SESSION_BYTES: Final = 16
KNOCKED_MAX: Final = 1_000
"""Own knocks that are remembered, to tell whose doing a link was."""
BUSY_NEWS_S: Final = 60.0
"""For so long it is told that a peer was busy."""
SAME_KNOCK_S: Final = 10.0
"""Knocks at one peer over several hubs within this time are one attempt."""
FOR_THIS_RUN: Final[HubSource] = "config"
"""The source of hubs that a flag or the environment named: they are not saved."""
FROM_ELSEWHERE: Final[HubSource] = "gossip"
"""The source of stored hubs whose source this version does not know: the one that is trusted least."""
HUB_SOURCES: Final[tuple[HubSource, ...]] = get_args(HubSource)

logger = logging.getLogger(__name__)

Work = Coroutine[Any, Any, None] | None


class Care(NamedTuple):
    """What holds for addresses in one attempt over rtc; see RtcTransport.offer."""

    allow_private: bool = True
    relay_only: bool = False


class EffectPerformer:
    """Performs effects for one peer. `signalling` and `rtc` are set by `attach`, because they call back."""

    def __init__(
        self,
        contacts: Contacts,
        links: LinkTable,
        dial: Callable[[str], Coroutine[Any, Any, Stream]],
        dispatch: Callable[[a.Action], bool],
        now_ms: Callable[[], int],
        care: Callable[[HubUrl, PeerId], Care] = lambda _hub, _peer: Care(),
        mark: Callable[[PeerId, str, str], None] = lambda _peer, _what, _detail: None,
    ) -> None:
        """`care`: what holds for addresses, theirs and ours, in an attempt with this peer over this hub.

        `mark`: is told of what happens on the way to a peer; see runtime.timelines.
        """
        self._mark = mark
        self.outcomes = Outcomes()
        self._care = care
        self.on_invited: Callable[[PeerId, str], None] = lambda _peer, _code: None
        """Hears who proves to hold which invitation of ours, before its knock is told to the manager."""
        self._contacts = contacts
        self._links = links
        self._dial = dial
        self._dispatch = dispatch
        self._now_ms = now_ms
        self._signalling: Signalling
        self._rtc: RtcTransport
        self._prober: HubProber
        self._connections: dict[HubUrl, int] = {}
        self._up: set[HubUrl] = set()
        self._leaving: dict[HubUrl, asyncio.Event] = {}
        self._attempts: dict[int, asyncio.Task[Any]] = {}
        self._offers: dict[int, tuple[HubUrl, PeerId, str]] = {}
        """The session of our own offer, by attempt."""
        self._knocked: OrderedDict[str, None] = OrderedDict()
        """Sessions of knocks that belong to no attempt, the oldest first."""
        self._knocking: OrderedDict[PeerId, tuple[str, float]] = OrderedDict()
        """The newest of them for each peer, and since when."""
        self._busy: OrderedDict[PeerId, float] = OrderedDict()
        """Who said so to such a knock, and when."""
        self._sending: set[asyncio.Task[None]] = set()

    def attach(self, signalling: Signalling, rtc: RtcTransport, prober: HubProber) -> None:
        """Give it what it drives."""
        self._signalling = signalling
        self._rtc = rtc
        self._prober = prober

    def perform(self, effect: e.Effect) -> Work:
        """See runtime.driver.Performer."""
        match effect:
            case (
                e.ScheduleConnectToHub()
                | e.ScheduleDisconnectFromHub()
                | e.ScheduleAnnounceToHub()
                | e.ScheduleAnnounceLeaveToHub()
            ):
                return self._hub_effect(effect)
            case e.ScheduleKnock():
                return self._knock(effect)
            case e.ScheduleSaveHubs():
                return self._save_hubs(effect)
            case e.ScheduleProbeHub():
                return self._probe_hub(effect)
            case e.ScheduleConnectToRemotePeer():
                return self._as_attempt(effect, effect.route.via, partial(self._connect, effect))
            case e.AcceptOffer():
                return self._as_attempt(effect, "offer", partial(self._accept, effect))
            case e.AbortAttempt():
                self._abort(effect.attempt)
            case e.RefuseOffer():
                return self._refuse(effect)
            case e.ResendOffer():
                self._resend(effect)
            case _:
                return self._link_effect(effect)
        return None

    def _link_effect(self, effect: e.Effect) -> Work:
        match effect:
            case e.ScheduleDisconnectFromRemotePeer():
                return self._links.disconnect(effect.link, effect.reason, effect.not_before_s)
            case e.UseLink():
                self._links.use(effect.link)
            case e.CheckLink():
                return self._links.check(effect.link)
            case e.TellRemotePeer():
                return self._links.tell(effect.link, only_link=effect.only_link, downloading=effect.downloading)
            case e.ScheduleBroadcastKnownHubs():
                return self._links.tell_hubs(effect.peers, effect.hubs)
        return None

    # --- hubs ---

    def _hub_effect(
        self,
        effect: e.ScheduleConnectToHub
        | e.ScheduleDisconnectFromHub
        | e.ScheduleAnnounceToHub
        | e.ScheduleAnnounceLeaveToHub,
    ) -> Work:
        match effect:
            case e.ScheduleConnectToHub():
                self._connections[effect.hub] = effect.connection
                return self._signalling.connect(effect.hub)
            case e.ScheduleDisconnectFromHub():
                return self._disconnect_hub(effect.hub, effect.connection)
            case e.ScheduleAnnounceToHub():
                return self._announce(effect.hub, effect.free_slots)
            case e.ScheduleAnnounceLeaveToHub():
                gone = self._leaving[effect.hub] = asyncio.Event()
                return self._leave(effect.hub, gone)

    async def _announce(self, hub: HubUrl, free_slots: int) -> None:
        try:
            await self._signalling.announce(hub, free_slots)
        except HubRefused as fault:
            if fault.retry_after_s is None:
                raise
            self._dispatch(a.HubDidLimit(hub, fault.retry_after_s))

    async def _knock(self, effect: e.ScheduleKnock) -> None:
        """The dialect keeps the pace. A hub that fails says so by itself, and then there is nobody to knock at."""
        for peer in effect.peers:
            session = self._knock_session(peer)
            try:
                await self._signalling.send(effect.hub, peer, session, Signal("knock", alone=effect.alone))
                self._mark(peer, "knock sent", f"over {effect.hub}")
            except HubRefused as fault:
                self._dispatch(a.HubDidLimit(effect.hub, fault.retry_after_s))
                return
            except TransportFault as fault:
                logger.info("friends were not knocked at on %s: %s", effect.hub, fault)
                return
            except MisuseError as fault:
                logger.info("%s can't be knocked at: %s", peer, fault)

    def _knock_session(self, peer: PeerId) -> str:
        """The session of a knock at this peer: the same on each hub, so that what one drops comes over another."""
        now_s = asyncio.get_running_loop().time()
        session, since_s = self._knocking.pop(peer, ("", 0.0))
        if not session or now_s - since_s > SAME_KNOCK_S:
            session, since_s = secrets.token_hex(SESSION_BYTES), now_s
            self._knocked[session] = None
        self._knocking[peer] = (session, since_s)
        for table in (self._knocked, self._knocking):
            if len(table) > KNOCKED_MAX:
                table.popitem(last=False)
        return session

    async def _leave(self, hub: HubUrl, gone: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(LEAVE_LIMIT_S):
                await self._signalling.leave(hub)
        except (TransportFault, TimeoutError) as fault:
            logger.info("no goodbye on %s: %s", hub, fault)
        finally:
            gone.set()

    async def _disconnect_hub(self, hub: HubUrl, connection: int) -> None:
        leaving = self._leaving.pop(hub, None)
        if leaving is not None:
            await leaving.wait()
        if self._connections.get(hub) == connection:
            del self._connections[hub]
            self._up.discard(hub)
            await self._rtc.unlisten(hub)
            await self._signalling.disconnect(hub)

    async def _save_hubs(self, effect: e.ScheduleSaveHubs) -> None:
        known = {record.url: record for record in self._contacts.hubs()}
        self._contacts.save_hubs(
            recorded(hub, known.get(hub.url) or HubRecord(hub.url, hub.source, self._now_ms()))
            for hub in effect.hubs
            if hub.source != FOR_THIS_RUN
        )
        self._dispatch(a.HubsSaved(effect.revision))

    async def _probe_hub(self, effect: e.ScheduleProbeHub) -> None:
        try:
            await self._prober.ask(effect.hub, effect.host)
        except NotAsked as fault:
            self._dispatch(a.HubProbeFailed(effect.hub, effect.probe, str(fault), asked=False))
        else:
            self._dispatch(a.HubProbeSucceeded(effect.hub, effect.probe))

    async def renew_hubs(self, reason: str) -> None:
        """Gives up every subscription and reports it as lost: after this the manager may connect anew."""
        for hub in list(self._up):
            self._on_hub_down(HubDown(hub, reason))
            await self._signalling.disconnect(hub)

    # --- what is heard on hubs ---

    def on_signalling(self, event: SignallingEvent) -> None:
        """The signalling's callback."""
        match event:
            case HubUp(hub):
                self._on_hub_up(hub)
            case HubDown(hub):
                self._on_hub_down(event)
            case Announced(hub, peer, free_slots):
                self._dispatch(a.RemotePeerDidAnnounce(hub, peer, free_slots))
            case Left(hub, peer):
                self._dispatch(a.RemotePeerDidDisconnect(hub, peer))
            case SignalReceived(hub, peer, session, signal):
                self._mark(peer, f"{signal.kind} heard", f"over {hub}{_kinds(signal)}")
                self._rtc.receive(hub, peer, session, signal)
            case Invited(_, peer, code):
                self.on_invited(peer, code)
            case Busy(hub, peer, session, not_before_s):
                self._note_busy(peer, session)
                self._rtc.refused(hub, peer, session, not_before_s)
            case ClockDiffers(_, peer, ahead_s):
                how = f"{abs(ahead_s) / 60:.0f} min {'ahead of' if ahead_s > 0 else 'behind'} ours"
                logger.warning("the clock of %s is %s: is this machine's time right?", peer, how)

    def _note_busy(self, peer: PeerId, session: str) -> None:
        if session in self._knocked:
            self._busy.pop(peer, None)
            self._busy[peer] = asyncio.get_running_loop().time()
            if len(self._busy) > KNOCKED_MAX:
                self._busy.popitem(last=False)

    def was_busy(self, peer: PeerId) -> bool:
        """Whether this peer has answered a knock of ours a moment ago, and had no room."""
        return asyncio.get_running_loop().time() - self._busy.get(peer, float("-inf")) < BUSY_NEWS_S

    def _on_hub_up(self, hub: HubUrl) -> None:
        connection = self._connections.get(hub)
        if connection is not None:
            self._up.add(hub)
            self._rtc.listen_on(hub)
            self._dispatch(a.HubConnectionSucceeded(hub, connection))

    def _on_hub_down(self, event: HubDown) -> None:
        connection = self._connections.pop(event.hub, None)
        if connection is None:
            return
        if event.hub in self._up:
            self._up.discard(event.hub)
            self._dispatch(a.HubConnectionLost(event.hub, connection, event.reason))
        else:
            self._dispatch(a.HubConnectionFailed(event.hub, connection, event.reason, event.retry_after_s))

    def on_offer(self, hub: HubUrl, peer: PeerId, session: str, signal: Signal) -> None:
        """The rtc transport's callback: it holds an offer, or a knock, until the manager has decided."""
        settled = self._signalling.knocks(hub)
        if not self._dispatch(a.RemotePeerDidOffer(hub, peer, session, signal.alone, settled)):
            self._rtc.refuse(hub, peer, session)

    def send_signal(self, hub: HubUrl, peer: PeerId, session: str, signal: Signal) -> None:
        """The rtc transport's way out, which tells it of what a hub does not take."""
        task = asyncio.get_running_loop().create_task(self._send_signal(hub, peer, session, signal))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_signal(self, hub: HubUrl, peer: PeerId, session: str, signal: Signal) -> None:
        self._mark(peer, f"{signal.kind} sent", f"over {hub}{_kinds(signal)}")
        try:
            await self._signalling.send(hub, peer, session, signal)
        except (TransportFault, MisuseError) as fault:
            self._mark(peer, "not sent", f"the {signal.kind}: {fault}")
            logger.info("a signal to %s over %s was not sent: %s", peer, hub, fault)
            self._rtc.not_sent(peer, session, signal, str(fault))

    # --- peers ---

    async def _as_attempt(
        self,
        effect: e.ScheduleConnectToRemotePeer | e.AcceptOffer,
        via: str,
        work: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._attempts[effect.attempt] = task
        self.outcomes.begun[via] += 1
        try:
            await work()
        except BaseException as error:
            self.outcomes.failed[cause_of(error)] += 1
            if not isinstance(error, PeerBusy):
                raise
            failed = a.RemotePeerConnectionFailed(effect.peer, effect.attempt, str(error), error.not_before_s)
            self._dispatch(failed)
        else:
            self.outcomes.linked += 1
        finally:
            self._attempts.pop(effect.attempt, None)
            self._offers.pop(effect.attempt, None)

    async def _connect(self, effect: e.ScheduleConnectToRemotePeer) -> None:
        route = effect.route
        if route.via != "hub":
            dialled = await self._dial(route.where)
            self._mark(effect.peer, "open", f"{dialled.transport}; now the handshake")
            await self._links.meet(dialled, effect.peer, route, effect.attempt, client=True, began=True)
            return
        hub, session = HubUrl(route.where), secrets.token_hex(SESSION_BYTES)
        self._offers[effect.attempt] = (hub, effect.peer, session)
        care = self._care(hub, effect.peer)
        stream = await self._rtc.offer(hub, effect.peer, session, alone=effect.alone, **care._asdict())
        await self._shake(effect, stream, route, began=True)

    async def _accept(self, effect: e.AcceptOffer) -> None:
        care = self._care(effect.hub, effect.peer)
        stream = await self._rtc.accept(effect.hub, effect.peer, effect.session, **care._asdict())
        await self._shake(effect, stream, Route("hub", effect.hub), began=effect.session in self._knocked)

    async def _shake(
        self,
        effect: e.ScheduleConnectToRemotePeer | e.AcceptOffer,
        stream: ChannelStream,
        route: Route,
        *,
        began: bool,
    ) -> None:
        self._mark(effect.peer, "open", "the data channel; now the handshake")
        await self._links.meet(stream, effect.peer, route, effect.attempt, client=stream.offered, began=began)

    def _refuse(self, effect: e.RefuseOffer) -> Work:
        self._rtc.refuse(effect.hub, effect.peer, effect.session)
        return None if effect.not_before_s is None else self._say_busy(effect, effect.not_before_s)

    async def _say_busy(self, effect: e.RefuseOffer, not_before_s: float) -> None:
        try:
            await self._signalling.say_busy(effect.hub, effect.peer, effect.session, not_before_s)
        except TransportFault as fault:
            logger.info("%s was not told that we are busy: %s", effect.peer, fault)

    def _abort(self, attempt: int) -> None:
        task = self._attempts.get(attempt)
        if task is not None:
            task.cancel()

    def _resend(self, effect: e.ResendOffer) -> None:
        self._rtc.refuse(effect.hub, effect.peer, effect.session)
        ours = self._offers.get(effect.attempt)
        if ours is not None:
            self._rtc.resend(*ours)

    async def close(self) -> None:
        """Ends what is still being sent."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)


def _kinds(signal: Signal) -> str:
    """What kinds of addresses a signal tells, and how many; never the addresses."""
    lines = [*candidate_lines(signal.sdp), *([signal.candidate] if signal.candidate else [])]
    kinds: Counter[str] = Counter()
    for line in lines[:REMOTE_CANDIDATES_MAX]:
        try:
            kinds[parse_candidate(line).kind] += 1
        except SignalInvalid:
            kinds["invalid"] += 1
    return "".join(f", {count} {kind}" for kind, count in sorted(kinds.items()))


def recorded(hub: KnownHub, record: HubRecord) -> HubRecord:
    """The stored row of a hub, with what the manager knows of it now."""
    success_s = hub.last_success_wall_s
    return replace(
        record,
        source=hub.source,
        private=hub.private,
        last_success_ms=record.last_success_ms if success_s is None else int(success_s * 1000),
    )


def known_hub(record: HubRecord) -> KnownHub:
    """What the manager is told of a stored hub."""
    source = next((name for name in HUB_SOURCES if name == record.source), FROM_ELSEWHERE)
    success_s = None if record.last_success_ms is None else record.last_success_ms / 1000
    return KnownHub(record.url, source, record.private, success_s)
