"""Replication over links: `ebt.replicate`, with feeds.ebt deciding, and `gossip.ping`.

Only the dialler opens ebt.replicate; the acceptor answers with its clock at once, because a JavaScript dialler stays
silent until it has heard one. Where a remote refuses EBT, plugins.history does the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar, Final

from ssb_rtc.errors import FrameInvalid, LinkClosed, MessageInvalid, RemoteCallError, SsbRtcError, StorageFault
from ssb_rtc.feeds.ebt import LAG_S, Replicator
from ssb_rtc.feeds.ebt_session import SEQUENCE_MAX
from ssb_rtc.feeds.hops import BLOCKS
from ssb_rtc.plugins.base import Context, PermissionLists, Progress
from ssb_rtc.plugins.history import History
from ssb_rtc.plugins.tasks import Tasks
from ssb_rtc.storage.clocks import Clocks
from ssb_rtc.storage.ingest import Intake
from ssb_rtc.storage.log import Stored
from ssb_rtc.transport.link import Duplex, Handler, Link
from ssb_rtc.types import FeedId, Json, JsonObject, feed_of
from ssb_rtc.wire.rpc import Received

logger = logging.getLogger(__name__)

EBT_VERSION: Final = 3
SEND_MESSAGES: Final = 100
"""Messages of one feed that are sent before another feed or new notes get their turn."""
MALFORMED_NOTES_MAX: Final = 10_000
"""Notes that are none, or of what is no feed, which one session may tell us: JavaScript peers tell a few."""
TICK_S: Final = 1.0
"""How often progress is looked at when nothing is missing; else every LAG_S."""
PING_TIMEOUT_MS: Final = 300_000
"""What JavaScript peers ask for in gossip.ping: half of it between two pings."""

_MESSAGE_PREFIX: Final = b'{"previous"'


class _Session:
    """One open replication stream."""

    def __init__(self, link: Link, duplex: Duplex, intake: Intake, progress: Progress) -> None:
        self.link = link
        self.duplex = duplex
        self.intake = intake
        self.progress = progress
        self.counted = 0
        self.malformed = 0
        self.wake = asyncio.Event()
        self.sender: asyncio.Task[None] | None = None


class Gossip:
    """EBT over every link of a peer."""

    name = "gossip"
    version = "1.0.0"
    manifest: Mapping[str, str] = {"ebt.replicate": "duplex", "gossip.ping": "duplex"}
    permissions: ClassVar[PermissionLists] = {"remote": ["ebt.replicate", "gossip.ping"]}

    def __init__(self, history: History | None = None) -> None:
        self._history = history
        self._sessions: dict[int, _Session] = {}
        self._tasks = Tasks()
        self._on_clocks: list[Callable[[], None]] = []
        self._ticking: asyncio.TimerHandle | None = None
        self._ticking_slowly = True

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._clocks = Clocks(context.log)
        self._graph_version = context.log.graph.version
        self.replicator = Replicator(
            {feed: context.servable(feed) for feed in context.log.heads()},
            context.wanted.feeds,
            is_blocked=context.is_blocked,
            may_serve=lambda feed: context.log.graph.kind(context.keys.id, feed) != BLOCKS,
        )
        for fork in context.forks.all():
            self.replicator.set_forked(fork.feed, True, context.now_s())
        context.ingest.subscribe(self._committed)
        context.ingest.subscribe_rollback(self._rolled_back)
        context.author.subscribe_servable(self._own_advanced)
        context.wanted.subscribe(self._wanted_changed)
        context.blocked.subscribe(lambda added, removed: self._blocks_changed(map(feed_of, added | removed)))
        context.log.subscribe_purge(self._purging)
        context.forks.subscribe(self._fork_changed)
        context.links.on_link(self._opened)
        context.links.on_link_closed(self._closed)
        return {"ebt.replicate": self._accept, "gossip.ping": self._pong}

    def claimed(self, feed: FeedId) -> int:
        """Up to where the peers that we replicate with say that they have a feed; see Replicator.claimed."""
        return max(0, self.replicator.claimed(feed))

    def missing_by_feed(self) -> dict[FeedId, int]:
        """How many messages linked peers say that they have beyond ours; see Replicator.missing_by_feed."""
        return self.replicator.missing_by_feed()

    def subscribe_clocks(self, listener: Callable[[], None]) -> None:
        """Calls `listener()` when a peer has told what it has."""
        self._on_clocks.append(listener)

    # --- links ---

    def _opened(self, link: Link) -> None:
        if link.dialled:
            if not self._replicates_with(link):
                self._tasks.spawn(self._dial(link), f"ebt {link.remote}")
            self._tasks.spawn(self._ping(link), f"ping {link.remote}")

    def _closed(self, link: Link) -> None:
        """Ends its replication, also where the link itself is still open for its goodbye; another may begin then.

        A second link with the same peer did not replicate while the first did; it may be its turn now.
        """
        session = self._sessions.get(id(link))
        if session is not None:
            self._end(id(link))
            self._tasks.spawn(session.duplex.aclose(), f"ebt end {link.remote}")
            self._wake_all()  # what was asked of it is asked of others
        others = [other for other in self._context.links.live() if other.remote == link.remote]
        self._context.forget_progress(link.remote)
        for other in others:
            if other.dialled and not self._replicates_with(other):
                self._tasks.spawn(self._dial(other), f"ebt {other.remote}")
                break

    def _replicates_with(self, link: Link) -> bool:
        return any(
            session.link.remote == link.remote and not session.link.closed.done() for session in self._sessions.values()
        )

    async def _dial(self, link: Link) -> None:
        try:
            duplex = link.duplex("ebt.replicate", {"version": EBT_VERSION, "format": "classic"})
            await self._replicate(link, duplex)
        except RemoteCallError as error:
            logger.info("%s does not replicate by EBT: %s", link.remote, error)
            if self._history is not None:
                self._history.replicate(link)
        except LinkClosed:
            pass

    async def _accept(self, link: Link, duplex: Duplex, options: Json = None, *_rest: Json) -> None:
        chosen: JsonObject = options if isinstance(options, dict) else {}
        if chosen.get("version") != EBT_VERSION or chosen.get("format", "classic") != "classic":
            raise RemoteCallError("expected ebt.replicate({version: 3, format: 'classic'})")
        if id(link) in self._sessions:
            raise RemoteCallError("ebt.replicate is open on this link already")
        try:
            await self._replicate(link, duplex)
        except RemoteCallError as error:
            logger.info("%s ended its replication: %s", link.remote, error)

    async def _replicate(self, link: Link, duplex: Duplex) -> None:
        """One session, from its first note to its end."""
        key, context = id(link), self._context
        progress = context.progress.setdefault(link.remote, Progress())
        intake = context.ingest.intake(
            f"link {link.remote}",
            accepts=context.wanted.__contains__,
            on_seen=lambda feed, sequence: self.replicator.received(key, feed, sequence, context.now_s()),
            on_fault=lambda fault: self._intake_failed(link, duplex, fault),
        )
        session = self._sessions[key] = _Session(link, duplex, intake, progress)
        progress.replicating = True
        context.mark(link.remote, "replicating", "ebt.replicate is open")
        remembered = self._clocks.take(link.remote, context.now_ms())
        if remembered:
            self._tasks.spawn(self._sync_clocks(), "clocks")
        self.replicator.connect(key, link.remote, dialled=link.dialled, now_s=context.now_s(), remembered=remembered)
        self._start_ticking()
        self._wake_all()
        session.sender = self._tasks.spawn(self._send(session), f"ebt send {link.remote}")
        try:
            await self._receive(session)
        except FrameInvalid as fault:
            logger.warning("%s: %s", link.remote, fault)
            link.fail(fault)
        except (MessageInvalid, StorageFault):
            pass  # the intake has told it already
        finally:
            if self._sessions.get(key) is session:
                self._end(key)
            self._wake_all()

    def _end(self, key: int) -> None:
        """Forgets a session; what it said is remembered for the next one with that peer."""
        session = self._sessions.pop(key, None)
        if session is not None:
            if session.sender is not None:
                session.sender.cancel()
            session.progress.replicating = session.progress.given_up = False
            session.progress.missing = 0
            clock = self.replicator.disconnect(key, self._context.now_s())
            try:
                self._clocks.save(session.link.remote, clock, self._context.now_ms())
            except StorageFault as fault:
                logger.error("the clock of %s is not kept: %s", session.link.remote, fault)
            if (
                session.link.closed.done()
            ):  # not every link that calls is taken by the manager, which tells only of those
                self._context.forget_progress(session.link.remote)

    async def _sync_clocks(self) -> None:
        try:
            await asyncio.to_thread(self._clocks.sync)
        except StorageFault as fault:
            logger.error("%s", fault)

    def _intake_failed(self, link: Link, duplex: Duplex, fault: SsbRtcError) -> None:
        """What is wrong with a message is the link's fault; what is wrong with our disk is not."""
        if isinstance(fault, MessageInvalid):
            logger.warning("%s: %s", link.remote, fault)
            link.fail(fault)
        else:
            logger.error("replication with %s stops: %s", link.remote, fault)
            self._tasks.spawn(duplex.end(RemoteCallError("replication stopped")), f"ebt end {link.remote}")

    # --- receiving ---

    async def _receive(self, session: _Session) -> None:
        while batch := await session.duplex.read_batch():
            raws: list[bytes] = []
            for item in batch:
                if item.body.startswith(_MESSAGE_PREFIX):
                    raws.append(item.body)
                    continue
                value = item.value
                if not isinstance(value, dict):
                    raise FrameInvalid("what comes over ebt.replicate must be messages and notes")
                if "author" in value and "sequence" in value:
                    raws.append(item.body)
                    continue
                await self._take(session, raws)
                raws = []
                self._take_notes(session, value)
            await self._take(session, raws)

    async def _take(self, session: _Session, raws: list[bytes]) -> None:
        if not raws:
            return
        await session.intake.offer(raws)

    def _take_notes(self, session: _Session, value: JsonObject) -> None:
        clock = value.get("clock")
        notes = clock if isinstance(clock, dict) else value
        own = notes.get(self._context.keys.id)
        if type(own) is int and 0 < own <= 2 * SEQUENCE_MAX + 1:
            self._context.author.remote_clock(session.link.remote, own >> 1)
        session.malformed += self.replicator.receive_notes(id(session.link), notes, self._context.now_s())
        if session.malformed > MALFORMED_NOTES_MAX:
            raise FrameInvalid(f"more than {MALFORMED_NOTES_MAX} notes that are none")
        for listener in self._on_clocks:
            listener()
        self._watch()
        self._wake_all()

    def _note_progress(self, session: _Session) -> None:
        progress, accepted = session.progress, session.intake.accepted
        if accepted > session.counted:
            if not session.counted:
                self._context.mark(session.link.remote, "first message", "of those that we did not have, stored")
            progress.received += accepted - session.counted
            progress.last_received_s = self._context.now_s()
            session.counted = accepted

    # --- sending ---

    async def _send(self, session: _Session) -> None:
        key, duplex = id(session.link), session.duplex
        try:
            if not session.link.dialled:
                await duplex.send(self.replicator.take_notes(key) or {})
            while True:
                session.wake.clear()
                while notes := self.replicator.take_notes(key):
                    await duplex.send(notes)
                following = self.replicator.next_send(key)
                if following is None:
                    await session.wake.wait()
                else:
                    await self._send_feed(session, *following)
        except (LinkClosed, RemoteCallError):
            return  # the reader hears the same, and ends the session
        except SsbRtcError as error:
            logger.error("sending to %s stops: %s", session.link.remote, error)
            await duplex.aclose()

    async def _send_feed(self, session: _Session, feed: FeedId, after: int) -> None:
        end = self._context.servable(feed)
        messages = self._context.log.read_feed(feed, after, min(SEND_MESSAGES, max(0, end - after)))
        self.replicator.sent(id(session.link), feed, after, messages[-1].sequence if messages else after)
        await session.duplex.send_encoded([message.raw for message in messages])

    # --- what happens here ---

    def _committed(self, stored: Sequence[Stored]) -> None:
        now_s, own = self._context.now_s(), self._context.keys.id
        heads = {message.author: message.sequence for message in stored}
        if self._graph_version != self._context.log.graph.version:
            self._graph_version = self._context.log.graph.version
            self._blocks_changed(heads)
        for feed, sequence in heads.items():
            if feed != own:
                self.replicator.advanced(feed, sequence, now_s)
        for session in self._sessions.values():
            self._note_progress(session)
        self._wake_all()

    def _own_advanced(self, sequence: int) -> None:
        self.replicator.advanced(self._context.keys.id, sequence, self._context.now_s())
        self._wake_all()

    def _rolled_back(self, feed: FeedId) -> None:
        self.replicator.ask_again(feed, self._context.now_s())
        self._wake_all()

    def _purging(self, _connection: object, feed: FeedId) -> None:
        """The purge is not committed yet."""
        asyncio.get_running_loop().call_soon(self._head_changed, feed)

    def _head_changed(self, feed: FeedId) -> None:
        self.replicator.advanced(feed, self._context.servable(feed), self._context.now_s())

    def _blocks_changed(self, feeds: Iterable[FeedId]) -> None:
        for feed in feeds:
            self.replicator.blocks_changed(feed, self._context.now_s())

    def _wanted_changed(self, added: frozenset[FeedId], removed: frozenset[FeedId]) -> None:
        self.replicator.unwant(removed)
        self.replicator.want(added, self._context.now_s())
        self._watch()
        self._wake_all()

    def _fork_changed(self, feed: FeedId, forked: bool) -> None:
        self.replicator.set_forked(feed, forked, self._context.now_s())
        self._wake_all()

    def _wake_all(self) -> None:
        for session in self._sessions.values():
            session.wake.set()

    def _watch(self) -> None:
        """Ticks faster from now on if something is missing."""
        if self.replicator.is_behind and self._ticking is not None and self._ticking_slowly:
            self._ticking.cancel()
            self._ticking = None
            self._start_ticking()

    def _start_ticking(self) -> None:
        if self._ticking is None:
            self._ticking_slowly = not self.replicator.is_behind
            delay_s = TICK_S if self._ticking_slowly else LAG_S
            self._ticking = asyncio.get_running_loop().call_later(delay_s, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        if not self._sessions:
            return
        self.replicator.tick(self._context.now_s())
        for key, session in self._sessions.items():
            # Counts over all feeds that are behind, so not at each commit.
            session.progress.missing = self.replicator.missing(key)
            session.progress.given_up = self.replicator.given_up(key, self._context.now_s())
        self._wake_all()
        self._start_ticking()

    # --- gossip.ping ---

    async def _pong(self, _link: Link, duplex: Duplex, *_options: Json) -> None:
        """Answers each time that arrives with ours, in milliseconds; asks for one itself where none comes.

        npm pull-ping takes turns: a JavaScript dialler pings once, then waits for ours, and both hang up in the end.
        """
        asked = False
        while True:
            try:
                async with asyncio.timeout(PING_TIMEOUT_MS / 1000):
                    arrived = len(await duplex.read_batch())
            except TimeoutError:
                asked = True
                await duplex.send(self._context.now_ms())
                continue
            if not arrived:
                return
            if arrived > asked:
                await duplex.send(self._context.now_ms())
            asked = False

    async def _ping(self, link: Link) -> None:
        """Keeps a quiet link alive, and ends one whose other side has gone without a word."""
        try:
            duplex = link.duplex("gossip.ping", {"timeout": PING_TIMEOUT_MS})
            while not link.closed.done():
                await duplex.send(self._context.now_ms())
                async with asyncio.timeout(PING_TIMEOUT_MS / 1000):
                    answer: list[Received] = await duplex.read_batch()
                if not answer:
                    return
                await asyncio.wait([link.closed], timeout=PING_TIMEOUT_MS / 2000)
        except TimeoutError:
            await link.close("no answer to a ping")
        except (LinkClosed, RemoteCallError):
            return

    async def close(self) -> None:
        """Ends everything that runs; the links themselves are the peer's."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self._tasks.close()
        for key in tuple(self._sessions):
            self._end(key)
