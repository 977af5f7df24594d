"""The link's machinery: one muxrpc session over one stream, with back-pressure, serving, and one way to end.

`transport.link` opens links and says how they are used.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from ssb_rtc.errors import FrameInvalid, LinkClosed, RemoteCallError, SsbRtcError, TransportFault
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.secure import Codec
from ssb_rtc.transport.serving import Caller, Router, Serving
from ssb_rtc.transport.streams import Duplex, Incoming, Outgoing
from ssb_rtc.transport.window import WINDOW_NAME, Window, WindowReports
from ssb_rtc.types import Json, PeerId
from ssb_rtc.wire.manifest import split_name
from ssb_rtc.wire.rpc import Called, Ended, Event, Goodbye, Kind, Limits, Received, Session

CALL_LIMIT_S = 30.0
"""The longest that `Link.call` waits for its answer when the caller sets no limit."""
INBOUND_LIMIT_BYTES = 1024 * 1024
"""Unread stream bodies of one link above which it stops reading from its transport."""
OUTBOUND_LIMIT_BYTES = 4 * 1024 * 1024
"""Answers given while the stream was congested above which a link reads no more calls. Items of streams don't count:
their writers wait, and two links that stopped reading for them would wait for each other."""
STALL_LIMIT_S = 60.0
"""When a link has waited this long for anybody to read, the stream with the most unread bytes is cut; when it is the
other side that reads nothing, the link."""
IDLE_LIMIT_S = 600.0
"""A link on which nothing arrives for this long is closed; peers ping each other more often than that."""
FLUSH_BYTES = 64 * 1024
"""Written bytes that are sent at once; less waits for the end of the loop's turn, to travel in few boxes."""
GOODBYE_LIMIT_S = 1.0
"""The longest that `close` waits for the other side to close too."""
CLOSE_LIMIT_S = 5.0
"""The longest that `close` waits for handlers that were cancelled, or that finish with what they got."""


class _End(Protocol):
    """The link's view of the streams that it handed out."""

    request: int

    def push(self, item: Received) -> int: ...
    def finish(self, fault: SsbRtcError | None) -> None: ...


class Link:
    """One muxrpc connection with a peer. Made by `open_link` and `open_plain_link`."""

    def __init__(
        self,
        stream: Stream,
        codec: Codec,
        *,
        remote: PeerId,
        dialled: bool,
        caller: Caller,
        router: Router,
        limits: Limits | None = None,
        idle_limit_s: float | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.remote = remote
        self.dialled = dialled
        self.caller = caller
        self.transport = stream.transport
        self.description = stream.description
        self.bytes_in = 0
        self.bytes_out = 0
        self.closed: asyncio.Future[str] = loop.create_future()
        """Done when the link has ended, with the reason for people. Never raises."""
        self.fault: SsbRtcError | None = None
        """What the other side did wrong, when that ended the link."""
        self.ended_cleanly = False
        """The other side said goodbye: the way to it is not to blame."""
        self._loop = loop
        self._stream = stream
        self._codec = codec
        self._session = Session(limits)
        self._serving = Serving(self, router)
        self._calls: dict[int, asyncio.Future[Json]] = {}
        self._ends: dict[int, _End] = {}
        self._unread_bytes = 0
        self._room: asyncio.Future[None] | None = None
        self._flush_handle: asyncio.Handle | None = None
        self._sent_bytes_since_turn = 0
        self._answered_bytes = 0
        self._window = Window() if stream.transport == "rtc" else None
        self._idle_limit_s = idle_limit_s
        self._last_in_s = loop.time()
        self._idle_handle: asyncio.TimerHandle | None = None
        self._reader: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Link {'to' if self.dialled else 'from'} {self.remote} over {self.description}>"

    @property
    def local(self) -> bool:
        """The other end acts for us: it may call everything."""
        return self.caller is Caller.OWNER

    def start(self, rest: bytes = b"") -> None:
        """Starts reading; `rest` arrived already. The openers call it."""
        self._reader = self._loop.create_task(self._run(rest), name=f"link {self.description}")
        if self._idle_limit_s is not None:
            self._idle_handle = self._loop.call_later(self._idle_limit_s, self._check_idle)
        if self._window is not None:
            self._follow_window(self._window)

    # --- calling --------------------------------------------------------------------------------------------------

    async def call(self, name: str, *args: Json, timeout_s: float | None = CALL_LIMIT_S) -> Json:
        """Calls an async or sync method, like `"blobs.has"`, and returns its answer.

        Raises RemoteCallError when the answer is an error, LinkClosed when the link ends first, TransportFault when
        `timeout_s` passes (a late answer is ignored).
        """
        self._require_open()
        request = self._session.call(split_name(name), list(args), Kind.ASYNC)
        answer: asyncio.Future[Json] = self._loop.create_future()
        self._calls[request] = answer
        self._schedule_flush()
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            raise TransportFault(
                f"{name} was not answered within {timeout_s:g} s: the other side is busy or gone"
            ) from error
        finally:
            self._calls.pop(request, None)

    def source(self, name: str, *args: Json) -> Incoming:
        """Opens a source and returns what arrives on it. Raises LinkClosed."""
        incoming = Incoming(self, self._open(name, args, Kind.SOURCE))
        self.adopt(incoming)
        return incoming

    def sink(self, name: str, *args: Json) -> Outgoing:
        """Opens a sink and returns where to send. Raises LinkClosed."""
        outgoing = Outgoing(self, self._open(name, args, Kind.SINK))
        self.adopt(outgoing)
        return outgoing

    def duplex(self, name: str, *args: Json) -> Duplex:
        """Opens a duplex and returns both of its directions. Raises LinkClosed."""
        duplex = Duplex(self, self._open(name, args, Kind.DUPLEX))
        self.adopt(duplex)
        return duplex

    async def close(self, reason: str = "") -> None:
        """Says goodbye, sends what is queued, and closes. Everything in flight ends with LinkClosed.

        Cancels the handlers of the other side's calls and waits for them, except for one that calls this itself.
        """
        first = not self.closed.done()
        tasks = self._end(reason or "closed by this side")
        if self._reader is not None and self._reader not in tasks and self._reader is not asyncio.current_task():
            tasks.append(self._reader)
        try:
            await self._wait_for(tasks)
            if first:
                await self._hear_goodbye()
                await self._stream.close()
        finally:
            if first:
                self._stream.abort(self.end_reason)

    # --- what the streams and the server ask of their link --------------------------------------------------------

    def adopt(self, end: _End) -> None:
        """Routes what arrives on `end.request` to it."""
        if self.closed.done():
            end.finish(LinkClosed(self.end_reason))
        else:
            self._ends[end.request] = end

    def write_item(self, request: int, value: Json | bytes | str) -> bool:
        """See StreamHost."""
        written = self._session.write(request, value)
        if self._session.outgoing_bytes >= FLUSH_BYTES:
            self._flush()
        elif self._flush_handle is None:
            self._schedule_flush()
        return written

    def end_stream(self, request: int, error: RemoteCallError | None) -> None:
        """See StreamHost."""
        self._session.end(request, error)
        self._schedule_flush()

    def answer(self, called: Called, value: Json) -> None:
        """Answers an async call of the other side."""
        before = self._session.outgoing_bytes
        self._session.reply(called.request, value)
        self._answered_bytes += self._session.outgoing_bytes - before
        self._schedule_flush()

    def answer_error(self, called: Called, error: RemoteCallError) -> None:
        """Answers any call of the other side with an error."""
        before = self._session.outgoing_bytes
        if called.kind.is_stream:
            self._session.end(called.request, error)
        else:
            self._session.reply_error(called.request, error)
        self._answered_bytes += self._session.outgoing_bytes - before
        self._schedule_flush()

    @property
    def should_wait(self) -> bool:
        """See StreamHost: after each FLUSH_BYTES others get their turn; a congested link waits."""
        return self._sent_bytes_since_turn >= FLUSH_BYTES or self._congested

    async def turn(self) -> None:
        """See StreamHost."""
        self._sent_bytes_since_turn = 0
        if not self._congested:
            await asyncio.sleep(0)
        while self._congested and not self.closed.done():
            if self._stream.congested:
                await self._stream.drain()
            elif self._window is not None:
                await self._window.opened()

    def took(self, size_bytes: int) -> None:
        """See StreamHost."""
        self._unread_bytes -= size_bytes
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def fail(self, fault: SsbRtcError) -> None:
        """See StreamHost: ends the link because the other side broke the protocol."""
        if not self.closed.done():
            self.fault = fault
        self._end(str(fault))
        self._stream.abort(str(fault))

    @property
    def is_held(self) -> bool:
        """Whether we read nothing just now, because too much of what came is unread."""
        return self._room is not None

    @property
    def end_reason(self) -> str:
        """Why the link ended, or that it did not."""
        return self.closed.result() if self.closed.done() else "the stream is over"

    # --- reading --------------------------------------------------------------------------------------------------

    async def _run(self, rest: bytes) -> None:
        try:
            reason = await self._read_all(rest)
        except FrameInvalid as fault:
            self.fault = fault
            reason = str(fault)
        except LinkClosed as error:
            reason = str(error)
        except Exception as error:
            reason = "internal error"
            self._loop.call_exception_handler({"message": f"{self!r} failed", "exception": error})
        tasks = self._end(reason)
        try:
            if self.fault is not None:
                self._stream.abort(reason)
            await self._stream.close()
        finally:
            self._stream.abort(reason)
        await self._wait_for(tasks)

    async def _read_all(self, data: bytes) -> str:
        while True:
            if data:
                self.bytes_in += len(data)
                self._last_in_s = self._loop.time()
                plain = self._codec.open(data)
                before = self._session.outgoing_bytes
                events = self._session.receive(plain) if plain else []
                self._answered_bytes += self._session.outgoing_bytes - before
                if self._dispatch(events):
                    return self._goodbye_heard()
                if self._window is not None:
                    self._window.read_bytes += len(data)
                    self._report_window(self._window)
                if self._session.outgoing_bytes:
                    self._schedule_flush()
            if self._answers_pile_up:
                await self._until_taken()
            elif self._unread_bytes > INBOUND_LIMIT_BYTES:
                await self._make_room()
            elif len(data) >= FLUSH_BYTES:
                await asyncio.sleep(0)
            data = await self._stream.read()
            if not data:
                if self._codec.ended:
                    return self._goodbye_heard()
                raise LinkClosed("the connection was cut: it ended without a goodbye")

    def _goodbye_heard(self) -> str:
        self.ended_cleanly = True
        return "the other side closed the link"

    def _dispatch(self, events: list[Event]) -> bool:
        """Hands the events out; True after a goodbye."""
        goodbye = bool(events) and type(events[-1]) is Goodbye
        for event in events:
            if type(event) is Received:
                end = self._ends.get(event.request)
                if end is not None:
                    self._unread_bytes += end.push(event)
                else:
                    answer = self._calls.get(event.request)
                    if answer is not None and not answer.done():
                        answer.set_result(event.value)
            elif type(event) is Called:
                self._called(event)
            elif type(event) is Ended and not (goodbye and event.error is not None):
                self._ended(event)
        return goodbye

    def _called(self, event: Called) -> None:
        if self._window is not None and event.name == WINDOW_NAME and event.kind is Kind.SOURCE:
            self._window.report_to = event.request
            self._session.write(event.request, self._window.report())
        else:
            self._serving.start(event)

    def _ended(self, event: Ended) -> None:
        end = self._ends.pop(event.request, None)
        if end is not None:
            end.finish(event.error)
            if event.request < 0 and type(end) is Outgoing:
                self._serving.stop(event.request)
            return
        answer = self._calls.get(event.request)
        if answer is not None and not answer.done():
            answer.set_exception(event.error or RemoteCallError("the call ended without an answer"))
        if self._window is not None and event.request == self._window.report_to:
            self._window.report_to = None

    async def _make_room(self) -> None:
        """Waits until the unread bytes are below the limit; cuts the fullest stream when nobody reads at all."""
        while self._unread_bytes > INBOUND_LIMIT_BYTES:
            before = self._unread_bytes
            self._room = self._loop.create_future()
            try:
                async with asyncio.timeout(STALL_LIMIT_S):
                    await self._room
            except TimeoutError:
                if self._unread_bytes >= before:
                    self._cut_fullest()
            finally:
                self._room = None

    @property
    def _answers_pile_up(self) -> bool:
        if not self._stream.congested:
            self._answered_bytes = 0
        return self._answered_bytes > OUTBOUND_LIMIT_BYTES

    async def _until_taken(self) -> None:
        """Waits until the other side has read our answers: who only calls must not fill our memory with them."""
        while self._stream.congested:
            before = self._stream.queued_bytes
            try:
                async with asyncio.timeout(STALL_LIMIT_S):
                    await self._stream.drain()
            except TimeoutError:
                if self._stream.queued_bytes >= before:
                    raise FrameInvalid(f"the other side read no answers for {STALL_LIMIT_S:g} s") from None

    def _cut_fullest(self) -> None:
        readers = [end for end in self._ends.values() if isinstance(end, Incoming)]
        fullest = max(readers, key=lambda end: end.unread_bytes, default=None)
        if fullest is None:
            # What is left unread belongs to streams that ended before they were read: nothing more will come of them.
            self._unread_bytes = 0
        else:
            fullest.cut(LinkClosed(f"the stream was cut: nobody read it for {STALL_LIMIT_S:g} s"))

    # --- writing --------------------------------------------------------------------------------------------------

    @property
    def _congested(self) -> bool:
        return self._stream.congested or (self._window is not None and self._window.full)

    def _open(self, name: str, args: tuple[Json, ...], kind: Kind) -> int:
        self._require_open()
        request = self._session.call(split_name(name), list(args), kind)
        self._schedule_flush()
        return request

    def _require_open(self) -> None:
        if self.closed.done():
            raise LinkClosed(self.closed.result())

    def _schedule_flush(self) -> None:
        if self._flush_handle is None and not self.closed.done():
            self._flush_handle = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        data = self._session.take_outgoing()
        if data and not self.closed.done():
            self._put(self._codec.seal(data))
            self._sent_bytes_since_turn += len(data)

    def _put(self, data: bytes) -> None:
        self._stream.write(data)
        self.bytes_out += len(data)
        if self._window is not None:
            self._window.sent_bytes += len(data)

    def _follow_window(self, window: Window) -> None:
        self.adopt(WindowReports(window, self._session.call(WINDOW_NAME, [], Kind.SOURCE)))
        self._schedule_flush()

    def _report_window(self, window: Window) -> None:
        if window.report_due and window.report_to is not None:
            self._session.write(window.report_to, window.report())

    # --- the end --------------------------------------------------------------------------------------------------

    def _end(self, reason: str) -> list[asyncio.Task[None]]:
        """Ends everything in flight; returns the cancelled tasks. Only the first call does something."""
        if self.closed.done():
            return []
        if self.fault is None:
            self._session.goodbye()
            self._flush()
            self._put(self._codec.goodbye())
        self.closed.set_result(reason)
        for handle in (self._flush_handle, self._idle_handle):
            if handle is not None:
                handle.cancel()
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(LinkClosed(reason))
        ends, self._ends = self._ends, {}
        for end in ends.values():
            end.finish(LinkClosed(reason))
        if self._window is not None:
            self._window.lift()
        tasks = self._serving.cancel_all()
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
            tasks.append(self._reader)
        return tasks

    async def _wait_for(self, tasks: list[asyncio.Task[None]]) -> None:
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_LIMIT_S)
            for task in late:
                task.cancel()

    async def _hear_goodbye(self) -> None:
        """Reads to the other side's end: a socket that closes with bytes unread loses what it sent.

        Its goodbye is enough: who closes at the same time as we do waits for ours.
        """
        goodbye = False
        try:
            async with asyncio.timeout(GOODBYE_LIMIT_S):
                while not (goodbye and self._codec.ended) and (data := await self._stream.read()):
                    events = self._session.receive(self._codec.open(data))
                    goodbye = goodbye or any(type(event) is Goodbye for event in events)
        except (TimeoutError, TransportFault, FrameInvalid):
            pass

    def _check_idle(self) -> None:
        assert self._idle_limit_s is not None
        left_s = self._last_in_s + self._idle_limit_s - self._loop.time()
        if left_s <= 0:
            self.fail(TransportFault(f"nothing arrived for {self._idle_limit_s:g} s"))
        else:
            self._idle_handle = self._loop.call_later(left_s, self._check_idle)
