"""WebRTC data channels between peers that meet on hubs: `rtc:<hub>~shs:<key>`.

This room makes and takes offers; the hubs carry them. What it wants to say goes to `send_signal`, what was heard comes
in by `receive`. A session names one attempt; who begins makes it up. JavaScript peers send none: what they send belongs
to the one attempt with them, and their offers get a name here, the same for each copy.

Over hubs whose dialect knows **knocks** an attempt of ours begins with one, which carries no address of ours; whoever
wants the link then offers. A knock that we accept has us offer; an offer that answers a knock of ours is taken at once.

**The side whose offer stands is the dialler** (`ChannelStream.offered`). When two offers cross, the one of the greater
public key (raw bytes) stands: its owner sends it again, unchanged; the other drops its own attempt, which then ends as
`Superseded` and counts as no failure, and answers. With `on_offer` the decision is the caller's (`accept`, `refuse`,
`resend`); without it, offers that arrive over a hub that is listened on are accepted by that rule.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import ClassVar

from ssb_rtc.errors import ConfigFault, ConnectFailed, LinkClosed, ListenFailed, MisuseError, RemoteFault
from ssb_rtc.feeds.refs import public_key
from ssb_rtc.transport.base import Listener, OnStream, Stream, Transport
from ssb_rtc.transport.channel import Backend, Channel, NoRoute
from ssb_rtc.transport.channel_stream import ChannelStream
from ssb_rtc.transport.held import HeldOffers, Key
from ssb_rtc.transport.ice import CandidatePolicy, IceConfig
from ssb_rtc.transport.sockets import AcceptedStreams
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.address import rtc_address
from ssb_rtc.wire.swarm import Signal, is_peer_id

ATTEMPT_LIMIT_S = 25.0
"""The longest that an attempt takes from the offer to the open channel."""
RESENDS_MAX = 3
"""How often one attempt's signals are sent again; more copies of the other side's offer are ignored."""
ACCEPTS_MAX = 16
"""Offers that are being answered at once where no manager decides."""

SendSignal = Callable[[HubUrl, PeerId, str, Signal], None]
OnOffer = Callable[[HubUrl, PeerId, str, Signal], None]
"""Hub, peer, session, and the offer or the knock."""
OnState = Callable[[PeerId, str, str], None]
"""Peer, `ice` or `connection`, and its new state in the words of the WebRTC standard."""


class Superseded(ConnectFailed):
    """Our attempt gave way to the other side's offer. No failure: the link comes from answering that one."""


class NobodyAnswered(ConnectFailed):
    """What we began with was heard by nobody who cares."""


class NotSent(ConnectFailed):
    """No hub took what we wanted to say."""


class PeerBusy(ConnectFailed):
    """The other side refused our offer for now. `not_before_s`: for how many seconds, as far as it is believed."""

    def __init__(self, not_before_s: float) -> None:
        super().__init__("it is busy")
        self.not_before_s = not_before_s


@dataclass(slots=True, eq=False)
class _Attempt:
    """An attempt, and the connection that came of it, until it is closed."""

    hub: HubUrl
    peer: PeerId
    session: str
    ours: bool
    """We began it."""
    offers: bool
    """The offer is ours to make."""
    alone: bool = False
    """What we begin with says that we have no link at all."""
    unnamed: bool = False
    """The other side names no session."""
    policy: CandidatePolicy = field(default_factory=CandidatePolicy)
    relay_only: bool = False
    """The other side shall not learn our address."""
    channel: Channel | None = None
    begun: asyncio.Future[Channel] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    given_up: asyncio.Future[ConnectFailed] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    opened: bool = False
    sent: list[Signal] = field(default_factory=list)
    resends: int = 0


class RtcTransport(Transport):
    """See the module. `own` is our id; `send_signal(hub, peer, session, signal)` must not block."""

    name: ClassVar[str] = "rtc"

    def __init__(
        self,
        own: PeerId,
        backend: Backend,
        ice: IceConfig,
        send_signal: SendSignal,
        on_offer: OnOffer | None = None,
        *,
        knocks: Callable[[HubUrl], bool] = lambda _hub: False,
        on_state: OnState = lambda _peer, _of, _state: None,
    ) -> None:
        """`knocks(hub)`: whether the dialect that is spoken there knows knocks. `on_state` is told how ICE goes."""
        self._on_state = on_state
        self._own_key = public_key(own)
        self._backend = backend
        self._ice = ice
        self._send_signal = send_signal
        self._on_offer = on_offer
        self._knocks = knocks
        self._listening: dict[HubUrl, AcceptedStreams | None] = {}
        self._attempts: dict[Key, _Attempt] = {}
        self._held = HeldOffers()
        self._accepting: set[asyncio.Task[None]] = set()

    # --- the interface of every transport -------------------------------------------------------------------------

    async def connect(self, where: str) -> Stream:
        """Offers to a peer; `where` is `<hub url>~<peer id>`. The attempt's session is made up."""
        hub, _, peer = where.rpartition("~")
        if not hub or not is_peer_id(peer):
            raise MisuseError(f"an rtc address is <hub url>~<peer id>, not {where!r}")
        return await self.offer(HubUrl(hub), PeerId(peer), secrets.token_hex(16))

    async def listen(self, where: str, on_stream: OnStream) -> Listener:
        """Accepts offers that come over the hub `where`; signalling on it has to run. Not for use with `on_offer`."""
        hub = HubUrl(where)
        if self._on_offer is not None:
            raise MisuseError("this transport reports offers to on_offer: use listen_on")
        if hub in self._listening:
            raise ListenFailed(f"offers over {hub} are accepted already")
        self._listening[hub] = AcceptedStreams(on_stream)
        return _HubListener(self, hub, rtc_address(hub, self._own_key))

    async def close(self) -> None:
        """Stops listening and ends every attempt; streams that are open are closed too: their signalling ends."""
        self._listening.clear()
        for task in list(self._accepting):
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        await asyncio.gather(*(self._discard(attempt) for attempt in list(self._attempts.values())))

    # --- orders ---------------------------------------------------------------------------------------------------

    def listen_on(self, hub: HubUrl) -> None:
        """Reports offers that come over this hub to `on_offer` from now on."""
        self._listening.setdefault(hub, None)

    async def unlisten(self, hub: HubUrl) -> None:
        """As `stop_listening`."""
        self.stop_listening(hub)

    def stop_listening(self, hub: HubUrl) -> None:
        """Takes no offers over this hub any more. Attempts and streams live on."""
        self._listening.pop(hub, None)
        self._held.drop_hub(hub)

    async def offer(
        self,
        hub: HubUrl,
        peer: PeerId,
        session: str,
        *,
        alone: bool = False,
        allow_private: bool = True,
        relay_only: bool = False,
    ) -> ChannelStream:
        """Offers a connection, or knocks for one. `alone`: we have no link at all.

        allow_private: addresses of theirs in private ranges are tried. relay_only: they are told of nothing but our
        place at a TURN server, whatever holds for others.

        Raises Superseded when we answer an offer of theirs instead, PeerBusy when they refuse ours, ConnectFailed with
        why there is no way (after ATTEMPT_LIMIT_S at the latest), SignalInvalid when their answer makes no sense.
        Cancelling it closes all.
        """
        attempt = _Attempt(
            hub, peer, session, ours=True, offers=not self._knocks(hub), alone=alone, relay_only=relay_only
        )
        return await self._open(attempt, allow_private=allow_private)

    async def accept(
        self, hub: HubUrl, peer: PeerId, session: str, *, allow_private: bool = True, relay_only: bool = False
    ) -> ChannelStream:
        """Answers a held offer, or a held knock by an offer. Our own attempt with the peer, if any, ends as Superseded.

        Raises as `offer` does, and ConnectFailed when the offer is not held any more.
        """
        unnamed = session.startswith(_UNNAMED)
        held = self._held.take((peer, session), self._now_s())
        if held is None:
            raise ConnectFailed("the offer is not there any more: it waited too long for its answer")
        self._supersede(peer)
        knocked = held.offer.kind == "knock"
        attempt = _Attempt(hub, peer, session, ours=False, offers=knocked, unnamed=unnamed, relay_only=relay_only)
        signals = () if knocked else (held.offer, *held.candidates)
        return await self._open(attempt, *signals, allow_private=allow_private)

    def refuse(self, hub: HubUrl, peer: PeerId, session: str) -> None:
        """Forgets a held offer; the other side hears nothing of it from here."""
        del hub
        self._held.take((peer, session), self._now_s())

    def resend(self, hub: HubUrl, peer: PeerId, session: str) -> None:
        """Sends the offer of our own attempt again, unchanged, with its candidates; at most RESENDS_MAX times."""
        del hub
        attempt = self._attempts.get((peer, session))
        if attempt is not None and not attempt.opened:
            self._send_again(attempt)

    def not_sent(self, peer: PeerId, session: str, signal: Signal, reason: str) -> None:
        """No hub took this signal. Without its offer or answer an attempt waits for nothing: it fails at once."""
        attempt = self._attempts.get((peer, session))
        if attempt is not None and signal.kind != "candidate":
            self._give_up(attempt, NotSent(f"our {signal.kind} did not get out: {reason}"))

    def refused(self, hub: HubUrl, peer: PeerId, session: str, not_before_s: float) -> None:
        """Somebody says on this hub that it refuses this session. Ends that attempt and nothing else."""
        attempt = self._attempts.get((peer, session))
        if attempt is not None and attempt.hub == hub:
            self._give_up(attempt, PeerBusy(not_before_s))

    def receive(self, hub: HubUrl, peer: PeerId, session: str | None, signal: Signal) -> None:
        """Takes what was heard on a hub. Never raises: what fits nothing is dropped."""
        if signal.kind in ("offer", "knock"):
            self._receive_offer(hub, peer, session, signal)
        elif signal.kind == "answer":
            attempt = self._offered(peer, session)
            if attempt is not None and attempt.channel is not None:
                attempt.unnamed = session is None
                attempt.channel.signal(signal)
        else:
            self._receive_candidate(hub, peer, session, signal)

    # --- what was heard -------------------------------------------------------------------------------------------

    def _receive_offer(self, hub: HubUrl, peer: PeerId, session: str | None, signal: Signal) -> None:
        if hub not in self._listening:
            return
        key = (peer, session if session is not None else unnamed_session(signal))
        known = self._attempts.get(key)
        if known is not None:
            if known.ours and known.channel is None and signal.kind == "offer":
                self._begin(known, signal, *self._held.take_early(key))
            elif not known.ours and not known.opened and known.offers == (signal.kind == "knock"):
                # A copy: perhaps our answer was lost.
                self._send_again(known)
            return
        if not self._held.hold(key, hub, signal, self._now_s()):
            return
        if session is None:
            self._adopt_unnamed_candidates(key)
        if self._on_offer is not None:
            self._on_offer(hub, peer, key[1], signal)
        else:
            self._decide(hub, key)

    def _receive_candidate(self, hub: HubUrl, peer: PeerId, session: str | None, signal: Signal) -> None:
        if session is not None:
            attempt = self._attempts.get((peer, session))
            if attempt is not None and attempt.channel is not None:
                attempt.channel.signal(signal)
            elif hub in self._listening:
                self._held.add_candidate((peer, session), signal, self._now_s())
            return
        # Without a session it may belong to our attempt or to theirs; the one that it is not for ignores it.
        for attempt in [a for (other, _), a in self._attempts.items() if other == peer and (a.unnamed or a.offers)]:
            if attempt.channel is not None:
                attempt.channel.signal(signal)
        if hub in self._listening:
            self._held.add_candidate(self._held.newest(peer, _UNNAMED) or (peer, _UNNAMED), signal, self._now_s())

    def _adopt_unnamed_candidates(self, key: Key) -> None:
        for candidate in self._held.take_early((key[0], _UNNAMED)):
            self._held.add_candidate(key, candidate, self._now_s())

    def _offered(self, peer: PeerId, session: str | None) -> _Attempt | None:
        if session is not None:
            attempt = self._attempts.get((peer, session))
            return attempt if attempt is not None and attempt.offers else None
        mine = [attempt for (other, _), attempt in self._attempts.items() if other == peer and attempt.offers]
        return mine[-1] if mine else None

    def _decide(self, hub: HubUrl, key: Key) -> None:
        """Where no manager does: the rule for crossing offers, else yes."""
        accepted = self._listening.get(hub)
        peer = key[0]
        pending = [a for (other, _), a in self._attempts.items() if other == peer and a.ours and not a.opened]
        if pending and self._own_key > public_key(peer) and not self._knocks(hub):
            self.refuse(hub, *key)
            self._send_again(pending[-1])
        elif accepted is None or len(self._accepting) >= ACCEPTS_MAX:
            self.refuse(hub, *key)
        else:
            task = asyncio.get_running_loop().create_task(self._accept_for(accepted, hub, key), name="answer rtc offer")
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _accept_for(self, accepted: AcceptedStreams, hub: HubUrl, key: Key) -> None:
        try:
            stream = await self.accept(hub, *key)
        except (ConnectFailed, LinkClosed, RemoteFault):
            return
        accepted.start(stream)

    # --- attempts -------------------------------------------------------------------------------------------------

    async def _open(self, attempt: _Attempt, *signals: Signal, allow_private: bool) -> ChannelStream:
        key = (attempt.peer, attempt.session)
        if key in self._attempts:
            raise MisuseError(f"the session {attempt.session} with {attempt.peer} is under way already")
        attempt.policy = CandidatePolicy(
            allow_loopback=self._ice.allow_loopback and allow_private, allow_private=allow_private
        )
        self._attempts[key] = attempt
        try:
            if attempt.ours and not attempt.offers:
                self._say(attempt, Signal("knock"))
            else:
                self._begin(attempt, *signals)
            stream = await self._wait_for(attempt)
        except BaseException:
            await self._discard(attempt)
            raise
        attempt.opened = True
        attempt.sent.clear()
        stream.description = f"rtc:{attempt.peer} over {attempt.hub}"
        stream.offered = attempt.offers
        return stream

    def _begin(self, attempt: _Attempt, *signals: Signal) -> None:
        """Creates the connection; before that an attempt costs nothing but its entry."""
        ice = replace(self._ice, relay_only=True) if attempt.relay_only else self._ice
        channel = attempt.channel = self._backend.create(
            ice, initiator=attempt.offers, on_signal=partial(self._say, attempt), policy=attempt.policy
        )
        channel.on_gone = partial(self._forget, attempt)
        channel.on_state = partial(self._on_state, attempt.peer)
        channel.start()
        for signal in signals:
            channel.signal(signal)
        attempt.begun.set_result(channel)

    async def _wait_for(self, attempt: _Attempt) -> ChannelStream:
        opening = asyncio.ensure_future(self._opened(attempt))
        try:
            await asyncio.wait(
                (opening, attempt.given_up), timeout=ATTEMPT_LIMIT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if opening.done():
                return opening.result()
            if attempt.given_up.done():
                raise attempt.given_up.result()
            channel = attempt.channel
            if channel is None or (attempt.offers and not channel.answered):
                what = "knock" if channel is None else "offer"
                raise NobodyAnswered(
                    f"nobody answered our {what} within {ATTEMPT_LIMIT_S:g} s: is the other peer still there?"
                )
            raise NoRoute(channel.failure)
        finally:
            opening.cancel()

    @staticmethod
    async def _opened(attempt: _Attempt) -> ChannelStream:
        return await (await attempt.begun).opened()

    def _say(self, attempt: _Attempt, signal: Signal) -> None:
        if attempt.alone and signal.kind in ("knock", "offer"):
            signal = replace(signal, alone=True)
        if not attempt.opened:
            attempt.sent.append(signal)
        self._send_signal(attempt.hub, attempt.peer, attempt.session, signal)

    def _send_again(self, attempt: _Attempt) -> None:
        if attempt.resends < RESENDS_MAX and attempt.sent:
            attempt.resends += 1
            for signal in attempt.sent:
                self._send_signal(attempt.hub, attempt.peer, attempt.session, signal)

    def _supersede(self, peer: PeerId) -> None:
        for (other, _), attempt in self._attempts.items():
            if other == peer and attempt.ours:
                self._give_up(attempt, Superseded("our offer gave way to the other side's"))

    def _give_up(self, attempt: _Attempt, error: ConnectFailed) -> None:
        if not attempt.opened and not attempt.given_up.done():
            attempt.given_up.set_result(error)

    async def _discard(self, attempt: _Attempt) -> None:
        try:
            if attempt.channel is not None:
                await attempt.channel.close()
        finally:
            self._forget(attempt)

    def _forget(self, attempt: _Attempt) -> None:
        key = (attempt.peer, attempt.session)
        if self._attempts.get(key) is attempt:
            del self._attempts[key]

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


class _HubListener(Listener):
    """Takes offers over one hub."""

    def __init__(self, transport: RtcTransport, hub: HubUrl, address: str) -> None:
        self.addresses = [address]
        self._transport = transport
        self._hub = hub

    async def close(self) -> None:
        await self._transport.unlisten(self._hub)


_UNNAMED = "unnamed "


def unnamed_session(offer: Signal) -> str:
    """The name of an offer that came without a session: the same for each copy of it."""
    return _UNNAMED + sha256(offer.sdp.encode()).hexdigest()[:16]


def backend_named(name: str) -> Backend:
    """The WebRTC library of this name. Raises ConfigFault for unknown ones and where it is not installed."""
    if name == "wrtc":
        from ssb_rtc.transport.channel_wrtc import WrtcBackend  # noqa: PLC0415

        return WrtcBackend()
    if name == "aiortc":
        from ssb_rtc.transport.channel_aiortc import AiortcBackend  # noqa: PLC0415

        return AiortcBackend()
    raise ConfigFault(f"the WebRTC library is wrtc or aiortc, not {name!r}")
