"""A hub that says anything, to two friends who also share an honest one: they must not notice.

It answers with right and mutated HTTP, streams right, replayed and mutated letters of theirs, and letters that were
signed and sealed as they should be and hold random payloads: by strangers, and by a friend who went mad.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

from ssb_rtc.errors import TransportFault
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.hub.server import serve
from ssb_rtc.signalhub.client import ClientLimits, open_session
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.envelope import Kind
from tests.mutations import mutated
from tests.signalhub.rogue import STREAM, rogue
from tests.signalhub.sealed_party import KNOCK, OFFER, Party, announcement_of, befriend, envelope_of, fresh_session
from tests.storage.feedmaker import keys_of

EVENTS_AT_ONCE = 40
ROUND_S = 300.0
"""So much time passes for the two in each round, so that nobody ever knocks too often."""
GROWTH_KIB_MAX = 20_000
QUICK = ClientLimits(confirm_s=3.0)
MAD = keys_of(4)

HEADS = [
    *[STREAM] * 12,
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 9999999999\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Busy\r\nRetry-After: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9_000 + b"\r\n\r\n",
    b"",
]
PIECES = (b"data: ", b"\n\n", b"\r", b":", b"event: x\n", b'"', b"\xef\xbb\xbf", b"\x00", b"A" * 70_000)


class LyingHub:
    """What it has heard, and what it says instead."""

    def __init__(self, chance: random.Random, listeners: list[Party], writers: list[Keys]) -> None:
        self._chance = chance
        self._listeners = listeners
        self._writers = writers
        self._bodies: deque[bytes] = deque(maxlen=200)
        self.said = 0

    async def answer(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        """Answers one request in any way."""
        if request.startswith(b"POST"):
            self._bodies.append(request.partition(b"\r\n\r\n")[2])
            writer.write(mutated(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", self._chance, PIECES[:-1]))
            return
        writer.write(mutated(self._chance.choice(HEADS), self._chance, PIECES) if self._often() else STREAM)
        for _ in range(EVENTS_AT_ONCE):
            writer.write(mutated(b"data: " + self._event() + b"\n\n", self._chance, PIECES))
            self.said += 1
            await writer.drain()
        if self._chance.random() < 0.5:
            await asyncio.sleep(self._chance.random() * 2)

    def _often(self) -> bool:
        return self._chance.random() < 0.3

    def _event(self) -> bytes:
        chance = self._chance
        if self._bodies and chance.random() < 0.4:
            return chance.choice(self._bodies)
        keys = chance.choice(self._writers)
        if chance.random() < 0.2:
            return announcement_of(keys, chance.choice([Kind.ANNOUNCE, Kind.LEAVE])).encode()
        kind = chance.choice([kind for kind in Kind if not kind.is_public])
        payload = None if chance.random() < 0.3 else chance.randbytes(chance.choice((0, 1, 48, 64, 100, 1500)))
        to = chance.choice(self._listeners).id
        return envelope_of(keys, to, kind, payload, session=chance.randbytes(16).hex()).encode()


async def fuzz(*, seconds: float, seed: int) -> int:
    """Let the hub lie for so long; asserts that the two still hear each other. Returns how many events it said."""
    chance, faults = random.Random(seed), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(repr(context)))
    keys = sorted((keys_of(1), keys_of(2)), key=lambda each: each.public)
    async with open_session() as session:
        honest = await serve("127.0.0.1", 0)
        low, high = (Party(each, session, client_limits=QUICK) for each in keys)
        befriend(low, high, Party(MAD, session))
        lying = LyingHub(chance, [low, high], [keys_of(3), MAD])
        try:
            async with rogue(lying.answer, bodies=True) as bad:
                await _live(seconds, HubUrl(honest.url), bad, low, high)
        finally:
            for party in (low, high):
                await party.signalling.close()
            await honest.close()
    assert not faults, faults[:3]
    return lying.said


async def _live(seconds: float, good: HubUrl, bad: HubUrl, low: Party, high: Party) -> None:
    end_s, early_kib = time.monotonic() + seconds, 0
    while time.monotonic() < end_s:
        for party in (low, high):
            party.now_s += ROUND_S
            party.events.clear()
            await party.signalling.connect(good)
            await party.signalling.connect(bad)
        await _meet(good, low, high)
        await _speak_there(bad, low, high)
        if not early_kib and end_s - time.monotonic() < seconds * 0.8:
            early_kib = _resident_kib()
    assert good in low.signalling.hubs
    assert good in high.signalling.hubs
    assert not early_kib or _resident_kib() - early_kib < GROWTH_KIB_MAX


async def _meet(good: HubUrl, low: Party, high: Party) -> None:
    """A knock and an offer arrive over the honest hub."""
    session = fresh_session()
    await low.say(good, high, session, KNOCK)
    await high.until(lambda: any(heard.session == session for heard in high.heard("knock")))
    await high.say(good, low, session, OFFER)
    await low.until(lambda: any(heard.session == session for heard in low.heard("offer")))


async def _speak_there(bad: HubUrl, *parties: Party) -> None:
    """Gives the lying hub something to read, replay and mutate."""
    for party, other in zip(parties, reversed(parties), strict=True):
        if bad in party.signalling.hubs:
            with suppress(TransportFault):
                await party.say(bad, other, fresh_session(), KNOCK)


def _resident_kib() -> int:
    gc.collect()
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])
