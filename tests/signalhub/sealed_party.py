"""Speakers of the sealed dialect for tests, and letters as an enemy would write them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp

from ssb_rtc.feeds.keys import Keys
from ssb_rtc.signalhub.carriers import SealedLimits
from ssb_rtc.signalhub.client import ClientLimits, HubClient
from ssb_rtc.signalhub.sealed_signalling import SealedSignalling
from ssb_rtc.signalhub.signalling import SignallingEvent, SignalReceived
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire import channels, envelope, letters
from ssb_rtc.wire.envelope import Kind, Letter
from ssb_rtc.wire.swarm import Signal, app_name
from tests.storage.feedmaker import keys_of

NETWORK = bytes(range(32))
NOON_S = 20_000 * 86_400 + 43_200.0
LIMIT_S = 15.0
OFFER, ANSWER = Signal("offer", sdp="v=0\r\no"), Signal("answer", sdp="v=0\r\na")
KNOCK = Signal("knock")


def candidate(number: int) -> Signal:
    """One of ours."""
    return Signal("candidate", candidate=f"candidate:{number}", sdp_mid="0", sdp_m_line_index=0)


def fresh_session() -> str:
    """The name of another attempt."""
    return secrets.token_hex(16)


class Friends:
    """Inbox secrets, as `storage.inboxes` has them."""

    def __init__(self) -> None:
        self.own = secrets.token_bytes(32)
        self.told: dict[PeerId, bytes] = {}
        self.invited_by: set[PeerId] = set()
        self.given_out: dict[str, bytes] = {}

    def of(self, peer: PeerId) -> bytes | None:
        return self.told.get(peer)

    def is_invited_by(self, peer: PeerId) -> bool:
        return peer in self.invited_by

    def codes(self) -> dict[str, bytes]:
        return self.given_out


class Party:
    """One speaker and what it was told. Both clocks stand still, unless `let_time_pass` is called."""

    def __init__(
        self,
        keys: Keys,
        session: aiohttp.ClientSession,
        *,
        strangers: bool = True,
        wall_s: float = NOON_S,
        limits: SealedLimits | None = None,
        client_limits: ClientLimits | None = None,
    ) -> None:
        self.keys = keys
        self.id = PeerId(keys.id)
        self.inboxes = Friends()
        self.events: list[SignallingEvent] = []
        self.now_s, self.wall_s = 1_000.0, wall_s
        self._running_from_s: float | None = None
        self._changed = asyncio.Event()
        self.signalling = SealedSignalling(
            keys,
            NETWORK,
            session,
            self._on_event,
            inboxes=self.inboxes,
            strangers=strangers,
            clock=lambda: self.now_s + (time.monotonic() - self._running_from_s if self._running_from_s else 0.0),
            wall=lambda: self.wall_s,
            limits=limits,
            client_limits=client_limits or ClientLimits(),
        )

    def let_time_pass(self) -> None:
        """From now on the clock that does not jump runs: what may be heard in a second is limited by it."""
        self._running_from_s = time.monotonic()

    def _on_event(self, event: SignallingEvent) -> None:
        self.events.append(event)
        self._changed.set()

    def of(self, kind: type[SignallingEvent]) -> list[SignallingEvent]:
        """The events of this kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def heard(self, what: str) -> list[SignalReceived]:
        """The signals of this kind."""
        return [event for event in self.events if isinstance(event, SignalReceived) and event.signal.kind == what]

    async def until(self, right: Callable[[], object]) -> None:
        """Waits until an event made something true."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while not right():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it heard only {self.events}, and dropped {dict(self.dropped)}") from None

    async def until_heard(self, what: str, count: int = 1) -> SignalReceived:
        """Waits for so many signals of this kind, and no more; the last."""
        await self.until(lambda: len(self.heard(what)) >= count)
        assert len(self.heard(what)) == count
        return self.heard(what)[-1]

    async def until_dropped(self, reason: str, count: int = 1) -> None:
        """Waits until so many letters were dropped for this reason."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while self.dropped.get(reason, 0) < count:
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(f"it heard {self.events}, and dropped {dict(self.dropped)}") from None

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self.signalling.dropped)

    async def say(self, hub: HubUrl, to: Party, session: str, signal: Signal) -> None:
        """Sends a signal."""
        await self.signalling.send(hub, to.id, session, signal)

    # --- channels ---

    @property
    def day(self) -> int:
        return channels.day_of(self.wall_s)

    @property
    def friend_inbox(self) -> str:
        """Where friends write to us today."""
        return channels.friend_inbox(self.inboxes.own, self.day)

    @property
    def public_inbox(self) -> str:
        """Where everybody writes to us today."""
        return channels.public_inbox(NETWORK, self.id, self.day)


def befriend(*parties: Party) -> None:
    """All know the inboxes of all."""
    for party in parties:
        party.inboxes.told = {other.id: other.inboxes.own for other in parties if other is not party}


def ordered(session: aiohttp.ClientSession, *, strangers: bool = True) -> tuple[Party, Party]:
    """Two parties: that of the lesser key, and that of the greater."""
    low, high = sorted((keys_of(1), keys_of(2)), key=lambda keys: keys.public)
    return Party(low, session, strangers=strangers), Party(high, session, strangers=strangers)


def envelope_of(
    keys: Keys,
    to: PeerId,
    kind: Kind = Kind.KNOCK,
    payload: bytes | None = None,
    *,
    sender: PeerId | None = None,
    session: str = "",
    sequence: int = 0,
    wall_s: float = NOON_S,
    network: bytes = NETWORK,
) -> str:
    """A letter as anybody may write it, signed with `keys`; by default a knock. `sender` lies about who wrote it."""
    if payload is None:
        payload = letters.knock(letters.public_of(secrets.token_bytes(32)), secrets.token_bytes(16))
    raw = bytes.fromhex(session) if session else secrets.token_bytes(16)
    author = sender or PeerId(keys.id)
    letter = Letter(kind, author, raw, sequence, int(wall_s * 1000), payload)
    signer = Signer(envelope.raw_key(author), keys.secret)
    return envelope.seal(letter, signer, to, network, secrets.token_bytes(32))


def announcement_of(keys: Keys, kind: Kind = Kind.ANNOUNCE, *, sender: PeerId | None = None) -> str:
    """An announcement as anybody may write it. `sender` lies about who wrote it."""
    author = sender or PeerId(keys.id)
    payload = letters.announce(1) if kind is Kind.ANNOUNCE else b""
    letter = Letter(kind, author, secrets.token_bytes(16), 0, int(NOON_S * 1000), payload)
    signer = Signer(envelope.raw_key(author), keys.secret)
    return envelope.seal_announcement(letter, signer, NETWORK, secrets.token_bytes(24))


@dataclass(frozen=True, slots=True)
class Signer:
    """Keys that need not fit together."""

    public: bytes
    secret: bytes


async def post(session: aiohttp.ClientSession, hub: HubUrl, channel: str, *bodies: str) -> None:
    """Says something there, as anybody may."""
    client = HubClient(hub, app_name(NETWORK), session)
    for body in bodies:
        await client.broadcast(channel, body)
