"""One WebRTC peer connection that carries one data channel: what both backends share.

A `Backend` makes `Channel`s. The offering side calls `start`, both sides feed `signal` with what the other side sent
and hand on what `on_signal` gives them, and `opened` yields the stream. Nothing here knows of hubs and peers.

Receive back-pressure does not exist in either WebRTC library: what arrives is queued here, up to RECEIVE_MAX_BYTES, and
more than that closes the channel as the sender's fault. `transport.window` keeps peers of our kind far below it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from ssb_rtc.errors import ConnectFailed, LinkClosed, SignalInvalid, SsbRtcError
from ssb_rtc.transport.channel_stream import ChannelStream
from ssb_rtc.transport.ice import (
    CandidatePolicy,
    IceConfig,
    RemoteCandidates,
    candidate_lines,
    failure_reason,
    parse_candidate,
)
from ssb_rtc.wire.swarm import Signal

CHANNEL_LABEL = "ssb"
SIGNALS_MAX = 64
"""Signals of the other side that wait to be worked off; more are dropped."""
DISCONNECTED_GRACE_S = 5.0
"""How long a connection that lost its way may look for it before it counts as broken."""

OnSignal = Callable[[Signal], None]


class NoRoute(ConnectFailed):
    """Both sides told where they are, and no way between them was found."""


class Channel(ABC):
    """One attempt, and the connection that comes of it. Backends fill in the abstract methods.

    States: made -> started -> opened or failed -> closed. All work on the connection is done by one task, in order.
    """

    def __init__(
        self, config: IceConfig, *, initiator: bool, on_signal: OnSignal, policy: CandidatePolicy | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self.config = config
        self.initiator = initiator
        self._on_signal = on_signal
        self._remote = RemoteCandidates(policy or CandidatePolicy(allow_loopback=config.allow_loopback))
        self._local_kinds: set[str] = set()
        self._described = False
        self._early_local: list[Signal] = []
        self._early_remote: list[Signal] = []
        self._remote_described = False
        self._signals: asyncio.Queue[Signal] = asyncio.Queue(SIGNALS_MAX)
        self._opened: asyncio.Future[ChannelStream] = loop.create_future()
        self._worker: asyncio.Task[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._stream: ChannelStream | None = None
        self.on_gone: Callable[[], None] = lambda: None
        """Called once when everything is closed."""
        self.on_state: Callable[[str, str], None] = lambda _of, _state: None
        """Called with `ice` or `connection` and its new state, in the words of the WebRTC standard."""

    # --- what the transport uses ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins: the initiator makes its offer, the other side waits for one."""
        if self._worker is None and self._closing is None:
            self._worker = asyncio.get_running_loop().create_task(self._work(), name="rtc channel")

    def signal(self, signal: Signal) -> None:
        """Takes a signal of the other side. Never raises: what it breaks shows in `opened`."""
        if self._closing is None and not self._signals.full():
            self._signals.put_nowait(signal)

    async def opened(self) -> ChannelStream:
        """The stream, once the channel is open.

        Raises ConnectFailed with why there is no way, SignalInvalid when the other side's signals made no sense. The
        channel is not closed by that: call `close`.
        """
        return await asyncio.shield(self._opened)

    async def close(self) -> None:
        """Ends whatever there is of the connection; nothing of it is left when it returns. Closes the stream too."""
        await asyncio.shield(self.begin_closing())

    def begin_closing(self) -> asyncio.Future[None]:
        """Starts to close, and returns what is done when it is closed."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._shut_down(), name="close rtc channel")
        return self._closing

    @property
    def answered(self) -> bool:
        """The other side's description came."""
        return self._remote_described

    @property
    def failure(self) -> str:
        """Why no way was found, from what was tried so far."""
        return failure_reason(self._local_kinds, self._remote.kinds, self.config)

    # --- what a backend fills in ----------------------------------------------------------------------------------

    @abstractmethod
    async def _make_offer(self) -> str:
        """Creates the data channel and the offer, starts gathering, returns the SDP."""

    @abstractmethod
    async def _take_offer(self, sdp: str) -> str:
        """Takes the other side's offer, starts gathering, returns the answer's SDP."""

    @abstractmethod
    async def _take_answer(self, sdp: str) -> None:
        """Takes the other side's answer."""

    @abstractmethod
    async def _add_candidate(self, signal: Signal) -> None:
        """Tries one more address of the other side."""

    @abstractmethod
    async def _close_connection(self) -> None:
        """Frees everything that the library holds for this connection."""

    @abstractmethod
    def _is_foreign(self, error: Exception) -> bool:
        """True for the library's own complaints about signals that make no sense."""

    # --- what a backend calls -------------------------------------------------------------------------------------

    def _found_candidate(self, line: str, mid: str | None, index: int | None) -> None:
        """The library found one of our addresses."""
        if not self._note_local(line):
            return
        signal = Signal("candidate", candidate=line, sdp_mid=mid, sdp_m_line_index=index)
        if self._described:
            self._on_signal(signal)
        else:
            self._early_local.append(signal)

    def _channel_opened(self, stream: ChannelStream) -> None:
        """The data channel is open."""
        if self._opened.done() or self._closing is not None:
            stream.abort("a second channel is not wanted")
            return
        self._stream = stream
        self._opened.set_result(stream)

    def _connection_state(self, state: str) -> None:
        """The library reports how the connection is: 'connected', 'disconnected', 'failed' or 'closed'."""
        self.on_state("connection", state)
        if state == "disconnected":
            if self._grace is None:
                self._grace = asyncio.get_running_loop().call_later(DISCONNECTED_GRACE_S, self._lost)
            return
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        if state == "failed":
            self._lost()
        elif state == "closed" and self._stream is not None:
            self._stream.broke("the other side closed the connection")

    def _lost(self) -> None:
        self._grace = None
        if self._stream is not None:
            self._stream.broke("the other side vanished: nothing came from its address any more")
        else:
            self._fail(NoRoute(self.failure))

    # --- the work -------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            if self.initiator:
                self._send_description("offer", await self._make_offer())
            while True:
                await self._take(await self._signals.get())
        except SsbRtcError as error:
            self._fail(error)
        except Exception as error:
            if not self._is_foreign(error):
                self._fail(ConnectFailed(f"the WebRTC library failed: {error}"))
                raise
            self._fail(SignalInvalid(f"the other side's signals make no sense: {error}"))

    async def _take(self, signal: Signal) -> None:
        if signal.kind == "candidate":
            if not self._remote_described:
                self._early_remote.append(signal)
            elif signal.candidate and self._remote.admit(signal.candidate):
                await self._add_candidate(signal)
            return
        if self._remote_described or (signal.kind == "offer") == self.initiator:
            return
        sdp = self._remote.filter_sdp(signal.sdp)
        if signal.kind == "offer":
            answer = await self._take_offer(sdp)
            self._remote_described = True
            self._send_description("answer", answer)
        else:
            await self._take_answer(sdp)
            self._remote_described = True
        early, self._early_remote = self._early_remote, []
        for candidate in early:
            await self._take(candidate)

    def _send_description(self, kind: str, sdp: str) -> None:
        carried = {line for line in candidate_lines(sdp) if self._note_local(line)}
        sdp = "\r\n".join(
            line for line in sdp.splitlines() if not line.startswith("a=candidate:") or line[2:] in carried
        )
        sdp += "\r\n"
        self._on_signal(Signal("offer" if kind == "offer" else "answer", sdp=sdp))
        self._described = True
        early, self._early_local = self._early_local, []
        for signal in early:
            if not any(_same_candidate(signal.candidate, line) for line in carried):
                self._on_signal(signal)

    def _note_local(self, line: str) -> bool:
        """True when the other side shall hear of this address of ours: nobody can connect to the TCP ones (port 9)."""
        try:
            candidate = parse_candidate(line)
        except SignalInvalid:
            return False
        if candidate.protocol != "udp":
            return False
        self._local_kinds.add(candidate.kind)
        return True

    def _fail(self, error: SsbRtcError) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
            # Marks it as seen: an attempt that was given up has nobody who asks.
            self._opened.exception()
        elif self._stream is not None:
            self._stream.broke(str(error))

    async def _shut_down(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if self._stream is not None:
            await self._stream.shut()
        self._fail(LinkClosed("the channel was closed before it opened"))
        try:
            await self._close_connection()
        finally:
            self.on_gone()


class Backend(ABC):
    """A WebRTC library."""

    name: ClassVar[str]

    @abstractmethod
    def create(
        self, config: IceConfig, *, initiator: bool, on_signal: OnSignal, policy: CandidatePolicy | None = None
    ) -> Channel:
        """A channel that is not started yet."""


def _same_candidate(one: str, other: str) -> bool:
    """The same foundation, component, protocol, priority, address, port and kind; what follows is told differently."""
    return one.removeprefix("candidate:").split(" ")[:8] == other.removeprefix("candidate:").split(" ")[:8]
