"""The default backend: PyPI's wrtc 0.1 (libwebrtc; its import name is `webrtc`). It trickles candidates."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, ClassVar

import webrtc

from ssb_rtc.errors import ConfigFault, LinkClosed
from ssb_rtc.transport.channel import CHANNEL_LABEL, Backend, Channel, OnSignal
from ssb_rtc.transport.channel_stream import SEND_LOW_BYTES, ChannelStream, DataPort
from ssb_rtc.transport.ice import CandidatePolicy, IceConfig
from ssb_rtc.wire.swarm import Signal

CLOSE_LIMIT_S = 2.0
"""The longest that we wait for the other side to confirm the close of the data channel."""


class WrtcBackend(Backend):
    """Makes channels over libwebrtc."""

    name: ClassVar[str] = "wrtc"

    def create(
        self, config: IceConfig, *, initiator: bool, on_signal: OnSignal, policy: CandidatePolicy | None = None
    ) -> Channel:
        if config.allow_loopback:
            _allow_loopback()
        return WrtcChannel(config, initiator=initiator, on_signal=on_signal, policy=policy)


_loopback_allowed = False


def _allow_loopback() -> None:
    # The library's switch is for the whole process, and has to be set before its first connection.
    global _loopback_allowed  # noqa: PLW0603
    if _loopback_allowed:
        return
    try:
        webrtc.allow_loopback()
    except webrtc.InvalidStateError as error:
        raise ConfigFault(
            "allow_loopback comes too late: a WebRTC connection without it was made in this process before"
        ) from error
    _loopback_allowed = True


class WrtcChannel(Channel):
    """See Channel."""

    def __init__(
        self, config: IceConfig, *, initiator: bool, on_signal: OnSignal, policy: CandidatePolicy | None = None
    ) -> None:
        super().__init__(config, initiator=initiator, on_signal=on_signal, policy=policy)
        self._gathered = asyncio.Event()
        self._connection = webrtc.RTCPeerConnection(_configuration(config))
        self._connection.on("icecandidate", self._on_candidate)
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("iceconnectionstatechange", self._on_ice_state)
        self._connection.on("datachannel", lambda event: self._watch(event.channel))
        self._port: _WrtcPort | None = None

    async def _make_offer(self) -> str:
        self._watch(self._connection.create_data_channel(CHANNEL_LABEL))
        await self._connection.set_local_description(await self._connection.create_offer())
        return await self._description()

    async def _take_offer(self, sdp: str) -> str:
        await self._connection.set_remote_description(webrtc.RTCSessionDescriptionInit("offer", sdp))
        await self._connection.set_local_description(await self._connection.create_answer())
        return await self._description()

    async def _take_answer(self, sdp: str) -> None:
        await self._connection.set_remote_description(webrtc.RTCSessionDescriptionInit("answer", sdp))

    async def _add_candidate(self, signal: Signal) -> None:
        index = 0 if signal.sdp_mid is None and signal.sdp_m_line_index is None else signal.sdp_m_line_index
        with contextlib.suppress(webrtc.OperationError):  # one candidate that does not parse is no reason to give up
            await self._connection.add_ice_candidate(
                webrtc.RTCIceCandidateInit(signal.candidate, sdp_mid=signal.sdp_mid, sdp_m_line_index=index)
            )

    async def _close_connection(self) -> None:
        self._connection.close()
        self._connection.off()
        if self._port is not None:
            self._port.channel.off()
        # The library's threads let go of their sockets a moment after close.
        await asyncio.sleep(0)

    def _is_foreign(self, error: Exception) -> bool:
        return isinstance(error, (webrtc.RTCException, TypeError, ValueError))

    async def _description(self) -> str:
        """Our description with the candidates found within a short wait: fewer messages through the hub."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.gather_wait_s):
                await self._gathered.wait()
        description = self._connection.local_description
        return str(description.sdp) if description is not None else ""

    def _on_candidate(self, event: Any) -> None:
        candidate = event.candidate
        if candidate is None or not candidate.candidate:
            self._gathered.set()
        else:
            self._found_candidate(candidate.candidate, candidate.sdp_mid, candidate.sdp_m_line_index)

    def _on_state(self, _event: Any) -> None:
        self._connection_state(str(self._connection.connection_state.value))

    def _on_ice_state(self, _event: Any) -> None:
        self.on_state("ice", str(self._connection.ice_connection_state.value))

    def _watch(self, channel: Any) -> None:
        """Makes a stream of our channel, or of the first one that the other side opens."""
        if self._port is not None:
            channel.close()
            return
        port = self._port = _WrtcPort(channel)
        stream = ChannelStream(port, "rtc", self.begin_closing)
        channel.buffered_amount_low_threshold = SEND_LOW_BYTES
        channel.on("message", lambda event: stream.arrived(event.data))
        channel.on("bufferedamountlow", lambda _: stream.sent())
        channel.on("close", lambda _: port.gone.set())
        channel.once("close", lambda _: stream.ended())
        if channel.ready_state == webrtc.RTCDataChannelState.open:
            self._channel_opened(stream)
        else:
            channel.on("open", lambda _: self._channel_opened(stream))


class _WrtcPort(DataPort):
    """A data channel of the library."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.gone = asyncio.Event()

    def send(self, message: bytes) -> None:
        try:
            self.channel.send(message)
        except webrtc.RTCException as error:
            raise LinkClosed(f"the data channel takes no more: {error}") from error

    @property
    def queued_bytes(self) -> int:
        return int(self.channel.buffered_amount)

    async def close(self) -> None:
        if self.gone.is_set():
            return
        self.channel.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.gone.wait()


def _configuration(config: IceConfig) -> Any:
    servers = [webrtc.RTCIceServer(f"stun:{place}") for place in config.stun]
    servers += [webrtc.RTCIceServer(turn.url, turn.user, turn.password) for turn in config.turn]
    policy = webrtc.RTCIceTransportPolicy.relay if config.relay_only else webrtc.RTCIceTransportPolicy.all
    return webrtc.RTCConfiguration(ice_servers=servers, ice_transport_policy=policy)
