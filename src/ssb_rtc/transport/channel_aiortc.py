"""The other backend: aiortc, in pure Python (the extra `ssb-rtc[aiortc]`). Its descriptions hold all candidates.

Slower than wrtc (13 MB/s against 62 here), and useful where wrtc has no wheel.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, ClassVar

from ssb_rtc.errors import ConfigFault, LinkClosed
from ssb_rtc.transport.channel import CHANNEL_LABEL, Backend, Channel, OnSignal
from ssb_rtc.transport.channel_stream import SEND_LOW_BYTES, ChannelStream, DataPort
from ssb_rtc.transport.ice import CandidatePolicy, IceConfig
from ssb_rtc.wire.swarm import Signal

try:
    import aioice.ice
    import aiortc
    from aiortc.exceptions import InvalidAccessError, InvalidStateError
    from aiortc.sdp import candidate_from_sdp
except ImportError as error:
    raise ConfigFault("--rtc-backend aiortc needs a package more: pip install 'ssb-rtc[aiortc]'") from error

CLOSE_LIMIT_S = 2.0
"""The longest that we wait for the other side to confirm the close of the data channel."""
CONSENT_INTERVAL_S = 2
CONSENT_FAILURES = 4
"""A peer that does not answer four checks in a row, 2 s apart, has vanished; the library's own 6 times 5 s is long."""


class AiortcBackend(Backend):
    """Makes channels over aiortc."""

    name: ClassVar[str] = "aiortc"

    def __init__(self) -> None:
        aioice.ice.CONSENT_INTERVAL = CONSENT_INTERVAL_S
        aioice.ice.CONSENT_FAILURES = CONSENT_FAILURES

    def create(
        self, config: IceConfig, *, initiator: bool, on_signal: OnSignal, policy: CandidatePolicy | None = None
    ) -> Channel:
        if config.allow_loopback:
            _allow_loopback()
        return AiortcChannel(config, initiator=initiator, on_signal=on_signal, policy=policy)


_host_addresses = aioice.ice.get_host_addresses


def _allow_loopback() -> None:
    """The library leaves loopback addresses out and has no setting for it."""

    def with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        found: list[str] = _host_addresses(use_ipv4, use_ipv6)
        return [*found, "127.0.0.1"] if use_ipv4 and "127.0.0.1" not in found else found

    aioice.ice.get_host_addresses = with_loopback


class AiortcChannel(Channel):
    """See Channel."""

    def __init__(
        self, config: IceConfig, *, initiator: bool, on_signal: OnSignal, policy: CandidatePolicy | None = None
    ) -> None:
        super().__init__(config, initiator=initiator, on_signal=on_signal, policy=policy)
        self._connection = aiortc.RTCPeerConnection(_configuration(config))
        self._connection.on("connectionstatechange", self._on_state)
        self._connection.on("iceconnectionstatechange", self._on_ice_state)
        self._connection.on("datachannel", self._watch)
        self._port: _AiortcPort | None = None

    async def _make_offer(self) -> str:
        self._watch(self._connection.createDataChannel(CHANNEL_LABEL))
        await self._connection.setLocalDescription(await self._connection.createOffer())
        return str(self._connection.localDescription.sdp)

    async def _take_offer(self, sdp: str) -> str:
        await self._connection.setRemoteDescription(aiortc.RTCSessionDescription(sdp, "offer"))
        await self._connection.setLocalDescription(await self._connection.createAnswer())
        return str(self._connection.localDescription.sdp)

    async def _take_answer(self, sdp: str) -> None:
        await self._connection.setRemoteDescription(aiortc.RTCSessionDescription(sdp, "answer"))

    async def _add_candidate(self, signal: Signal) -> None:
        candidate = candidate_from_sdp(signal.candidate.removeprefix("candidate:"))
        candidate.sdpMid = signal.sdp_mid
        candidate.sdpMLineIndex = signal.sdp_m_line_index
        if signal.sdp_mid is None and signal.sdp_m_line_index is None:
            candidate.sdpMLineIndex = 0
        await self._connection.addIceCandidate(candidate)

    async def _close_connection(self) -> None:
        await self._connection.close()

    def _is_foreign(self, error: Exception) -> bool:
        return isinstance(
            error, (InvalidAccessError, InvalidStateError, ValueError, KeyError, IndexError, AssertionError, TypeError)
        )

    def _on_state(self) -> None:
        self._connection_state(str(self._connection.connectionState))

    def _on_ice_state(self) -> None:
        self.on_state("ice", str(self._connection.iceConnectionState))

    def _watch(self, channel: Any) -> None:
        """Makes a stream of our channel, or of the first one that the other side opens."""
        if self._port is not None:
            channel.close()
            return
        port = self._port = _AiortcPort(channel)
        stream = ChannelStream(port, "rtc", self.begin_closing)
        channel.bufferedAmountLowThreshold = SEND_LOW_BYTES
        channel.on("message", stream.arrived)
        channel.on("bufferedamountlow", stream.sent)
        channel.on("close", port.gone.set)
        channel.on("close", lambda: self._data_channel_closed(channel, stream))
        if channel.readyState == "open":
            self._channel_opened(stream)
        else:
            channel.on("open", lambda: self._channel_opened(stream))

    def _data_channel_closed(self, channel: Any, stream: ChannelStream) -> None:
        # The library closes the channel too when the way under it is gone; only the latter's state tells.
        dtls = channel.transport.transport
        if dtls.transport.state == "completed" and dtls.state == "connected":
            stream.ended()
        else:
            stream.broke("the other side vanished or closed the connection")


class _AiortcPort(DataPort):
    """A data channel of the library."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self.gone = asyncio.Event()

    def send(self, message: bytes) -> None:
        try:
            self._channel.send(message)
        except InvalidStateError as error:
            raise LinkClosed("the data channel takes no more: it is not open") from error

    @property
    def queued_bytes(self) -> int:
        return int(self._channel.bufferedAmount)

    async def close(self) -> None:
        if self.gone.is_set():
            return
        self._channel.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await self.gone.wait()


def _configuration(config: IceConfig) -> Any:
    servers = [aiortc.RTCIceServer(urls=f"stun:{place}") for place in config.stun]
    servers += [
        aiortc.RTCIceServer(urls=turn.url, username=turn.user, credential=turn.password) for turn in config.turn
    ]
    if not config.relay_only:
        return aiortc.RTCConfiguration(iceServers=servers)
    relay = getattr(aiortc, "RTCIceTransportPolicy", None)
    if relay is None:
        raise ConfigFault("--relay-only needs a newer aiortc, or --rtc-backend wrtc: this one can't keep to TURN")
    return aiortc.RTCConfiguration(iceServers=servers, iceTransportPolicy=relay.RELAY)
