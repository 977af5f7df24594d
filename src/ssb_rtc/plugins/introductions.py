"""`introductions.pass(to, body)` and `introductions.take(body)`: a linked peer carries envelopes where no hub does.

Ours; JavaScript peers have neither. `pass` asks us to hand a sealed envelope to another peer that is linked with us;
we call `take` there. Who asks hears "true" whatever becomes of it, before it is looked up who is linked: so it learns
from us neither who is there nor who blocks whom. We see who writes to whom, and nothing of what they say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol

from ssb_rtc.errors import RemoteCallError, SsbRtcError
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.tasks import Tasks
from ssb_rtc.signalhub.admission import BucketTable, TokenBucket
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json, PeerId, feed_of
from ssb_rtc.wire.envelope import looks_sealed
from ssb_rtc.wire.swarm import is_peer_id

PASSED_S: Final = 2.0
PASSED_BURST: Final = 50
"""Envelopes for one peer that asks: an attempt takes about twenty within a second or two. Less than a receiver reads of
us, or one who asks could keep all others from it.
"""
PASSED_ALL_S: Final = 20.0
PASSED_ALL_BURST: Final = 300
"""For all whom we follow together, and as much for all others together: strangers keep no friend from it."""
PEERS_MAX: Final = 1_000
TAKEN_S: Final = 5.0
TAKEN_BURST: Final = 60
"""Of one go-between, before anything is read."""
UNDER_WAY_MAX: Final = 64
TAKE_LIMIT_S: Final = 10.0

logger = logging.getLogger(__name__)


class Listening(Protocol):
    """Who takes what was passed on: runtime.network.Network."""

    def hear_passed(self, link: Link, body: str) -> None: ...


class Introductions:
    """The go-between, and the receiving end."""

    name = "introductions"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"introductions.pass": "async", "introductions.take": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": ["introductions.pass", "introductions.take"], "local": []}

    def __init__(self, listening: Callable[[], Listening | None]) -> None:
        self._listening = listening
        # By peer, not by link: who comes again has no more than who stays.
        self._passes = BucketTable(PASSED_S, PASSED_BURST, PEERS_MAX)
        self._takes = BucketTable(TAKEN_S, TAKEN_BURST, PEERS_MAX)
        self._under_way = 0
        self._tasks = Tasks()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        now_s = context.now_s()
        self._all = {follows: TokenBucket(PASSED_ALL_S, PASSED_ALL_BURST, now_s) for follows in (True, False)}
        return {"introductions.pass": self._pass, "introductions.take": self._take}

    async def close(self) -> None:
        """See plugins.base.Closing."""
        await self._tasks.close()

    async def _pass(self, link: Link, to: Json = None, body: Json = None) -> Json:
        """True, whatever becomes of it."""
        if not (isinstance(to, str) and is_peer_id(to) and isinstance(body, str) and looks_sealed(body)):
            raise RemoteCallError("introductions.pass takes a peer's id and a sealed envelope")
        now_s, follows = self._context.now_s(), self._context.follows(feed_of(link.remote))
        if self._passes.take(link.remote, now_s) and self._all[follows].take(now_s):
            # Looked up in a task of its own: the answer is under way by then, and took as long for everybody.
            self._tasks.spawn(self._hand_over(link, PeerId(to), body), "an introduction")
        return True

    async def _hand_over(self, asker: Link, to: PeerId, body: str) -> None:
        if to == asker.remote or self._under_way >= UNDER_WAY_MAX:
            return
        link = next((each for each in self._context.links.live() if each.remote == to), None)
        if link is None:
            return
        self._under_way += 1
        try:
            await link.call("introductions.take", body, timeout_s=TAKE_LIMIT_S)
        except SsbRtcError as fault:
            logger.debug("%s did not take what %s sends it: %s", to, asker.remote, fault)
        finally:
            self._under_way -= 1

    async def _take(self, link: Link, body: Json = None) -> Json:
        """True, whatever it was."""
        listening = self._listening()
        admitted = self._takes.take(link.remote, self._context.now_s())
        if listening is not None and admitted and isinstance(body, str) and looks_sealed(body):
            listening.hear_passed(link, body)
        return True
