"""Sessions over hubs: offers, answers and candidates find each other, and crossing offers end in one connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from ssb_rtc.errors import ConfigFault, ConnectFailed, LinkClosed, ListenFailed, MisuseError, SignalInvalid
from ssb_rtc.transport import rtc
from ssb_rtc.transport.base import Stream
from ssb_rtc.transport.ice import IceConfig, candidate_lines, parse_candidate, parse_turn
from ssb_rtc.transport.rtc import RESENDS_MAX, PeerBusy, RtcTransport, Superseded, backend_named, unnamed_session
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal
from tests.transport.channels import PAIRS
from tests.transport.linking import ALICE, BOB, peer_id, within
from tests.transport.meeting import GREAT, HUB, SMALL, Meeting

A, B = peer_id(ALICE), peer_id(BOB)
LITTLE, BIG = peer_id(SMALL), peer_id(GREAT)


class Desk:
    """Takes what `on_offer` reports."""

    def __init__(self) -> None:
        self.offers: list[tuple[HubUrl, PeerId, str]] = []
        self.alone: list[bool] = []

    def on_offer(self, hub: HubUrl, peer: PeerId, session: str, signal: Signal) -> None:
        self.offers.append((hub, peer, session))
        self.alone.append(signal.alone)


async def say_hello(ours: Stream, theirs: Stream) -> None:
    ours.write(b"hello")
    async with asyncio.timeout(5):
        assert await theirs.read() == b"hello"
        theirs.write(b"you too")
        assert await ours.read() == b"you too"


@pytest.mark.parametrize(("offerer", "answerer"), PAIRS)
@pytest.mark.parametrize("named", [True, False], ids=["sessions", "no sessions"])
async def test_an_offer_is_reported_accepted_and_becomes_a_stream(offerer: str, answerer: str, named: bool) -> None:
    meeting, desk = Meeting(named=named), Desk()
    a, b = meeting.join(A, offerer), meeting.join(B, answerer, desk.on_offer)
    b.listen_on(HUB)
    offering = asyncio.create_task(a.offer(HUB, B, "s1", alone=named))
    await within(5, lambda: desk.offers)
    assert desk.alone == [named]
    hub, peer, session = desk.offers[0]
    assert (hub, peer) == (HUB, A)
    assert (session == "s1") == named
    async with asyncio.timeout(10):
        theirs = await b.accept(hub, peer, session)
        ours = await offering
    await say_hello(ours, theirs)
    assert len(desk.offers) == 1
    assert B in ours.description
    await ours.close()
    async with asyncio.timeout(3):
        assert await theirs.read() == b""
    await within(3, lambda: not a._attempts and not b._attempts)
    await meeting.close()


async def test_candidates_that_come_before_their_offer_wait_for_it() -> None:
    meeting, desk = Meeting(), Desk()
    late: list[Callable[[], None]] = []
    meeting.join(A, ice=IceConfig(allow_loopback=True, gather_wait_s=0))
    b = meeting.join(B, "wrtc", desk.on_offer)

    def hold_offers(sender: PeerId, to: PeerId, signal: Signal) -> bool:
        if signal.kind == "offer" and sender == A:
            bare = "\r\n".join(line for line in signal.sdp.split("\r\n") if not line.startswith("a=candidate"))
            late.append(lambda: b.receive(HUB, A, "s1", Signal("offer", sdp=bare)))
            for line in (line[2:] for line in signal.sdp.split("\r\n") if line.startswith("a=candidate")):
                b.receive(HUB, A, "s1", Signal("candidate", candidate=line, sdp_mid="0", sdp_m_line_index=0))
            return False
        return True

    meeting.on_way = hold_offers
    b.listen_on(HUB)
    offering = asyncio.create_task(meeting.transports[A].offer(HUB, B, "s1"))
    await within(5, lambda: late and meeting.said(A, "candidate"))
    await asyncio.sleep(0.05)
    late[0]()
    async with asyncio.timeout(10):
        theirs = await b.accept(HUB, A, "s1")
        await say_hello(await offering, theirs)
    await meeting.close()


async def test_one_attempt_may_keep_to_relays_while_others_do_not() -> None:
    """Nothing listens at this TURN server, so what keeps to relays has no address to tell."""
    ice = IceConfig(allow_loopback=True, turn=(parse_turn("turn:u:p@127.0.0.1:9"),))
    meeting, at_a, at_b = Meeting(), Desk(), Desk()
    a, b = meeting.join(A, "wrtc", at_a.on_offer, ice), meeting.join(B, "wrtc", at_b.on_offer)
    a.listen_on(HUB)
    b.listen_on(HUB)

    def told(session: str) -> set[str]:
        said = [signal for who, _, of, signal in meeting.heard if who == A and of == session]
        lines = [line for signal in said for line in (*candidate_lines(signal.sdp), signal.candidate) if line]
        return {parse_candidate(line).kind for line in lines}

    offering = [asyncio.create_task(a.offer(HUB, B, name, relay_only=name == "shy")) for name in ("shy", "open")]
    await within(10, lambda: len(at_b.offers) == 2 and told("open"))
    asking = [asyncio.create_task(b.offer(HUB, A, name)) for name in ("asks a shy one", "asks an open one")]
    await within(10, lambda: len(at_a.offers) == 2)
    answering = [
        asyncio.create_task(a.accept(HUB, B, session, relay_only="shy" in session)) for _, _, session in at_a.offers
    ]
    await within(10, lambda: len(meeting.said(A, "answer")) == 2 and told("asks an open one"))
    assert told("open") == told("asks an open one") == {"host"}
    assert told("shy") == told("asks a shy one") == set()
    tasks = [*offering, *asking, *answering]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await meeting.close()


async def test_a_refused_offer_is_forgotten() -> None:
    meeting, desk = Meeting(), Desk()
    meeting.join(A)
    b = meeting.join(B, "wrtc", desk.on_offer)
    b.listen_on(HUB)
    offering = asyncio.create_task(meeting.transports[A].offer(HUB, B, "s1"))
    await within(5, lambda: desk.offers)
    b.refuse(HUB, A, "s1")
    b.refuse(HUB, A, "s1")
    with pytest.raises(ConnectFailed, match="not there any more"):
        await b.accept(HUB, A, "s1")
    offering.cancel()
    await asyncio.gather(offering, return_exceptions=True)
    assert not meeting.said(B, "answer")
    await meeting.close()


async def test_a_refused_attempt_ends_at_once_and_leaves_nothing_behind() -> None:
    tasks = asyncio.all_tasks()
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "wrtc", desk.on_offer)
    b.listen_on(HUB)
    offering = asyncio.create_task(a.offer(HUB, B, "s1"))
    await within(5, lambda: desk.offers)
    for hub, peer, session in ((HUB, B, "s2"), (HUB, LITTLE if B == BIG else BIG, "s1"), (HubUrl("http://x"), B, "s1")):
        a.refused(hub, peer, session, 60.0)
    await asyncio.sleep(0)
    assert not offering.done(), "another session, another peer and another hub are nothing to it"
    a.refused(HUB, B, "s1", 60.0)
    async with asyncio.timeout(2):
        with pytest.raises(PeerBusy, match="it is busy") as caught:
            await offering
    assert caught.value.not_before_s == 60.0
    assert not a._attempts
    b.refuse(*desk.offers[0])
    await within(2, lambda: asyncio.all_tasks() <= tasks)
    await meeting.close()


async def test_a_live_connection_and_an_attempt_of_the_other_side_are_not_refused() -> None:
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "wrtc", desk.on_offer)
    b.listen_on(HUB)
    offering = asyncio.create_task(a.offer(HUB, B, "s1"))
    await within(5, lambda: desk.offers)
    b.refused(HUB, A, "s1", 60.0)
    async with asyncio.timeout(10):
        theirs = await b.accept(*desk.offers[0])
        b.refused(HUB, A, "s1", 60.0)
        ours = await offering
    a.refused(HUB, B, "s1", 60.0)
    b.refused(HUB, A, "s1", 60.0)
    await say_hello(ours, theirs)
    await meeting.close()


async def test_offers_over_a_hub_that_is_not_listened_on_are_dropped() -> None:
    meeting, desk = Meeting(), Desk()
    b = meeting.join(B, "wrtc", desk.on_offer)
    offer = Signal("offer", sdp="v=0")
    b.receive(HUB, A, "s1", offer)
    b.listen_on(HUB)
    b.receive(HubUrl("https://other.example"), A, "s2", offer)
    assert desk.offers == []
    b.receive(HUB, A, "s3", offer)
    b.receive(HUB, A, "s3", offer)
    assert [session for _, _, session in desk.offers] == ["s3"], "a copy counts once"
    await b.unlisten(HUB)
    with pytest.raises(ConnectFailed, match="not there any more"):
        await b.accept(HUB, A, "s3")
    b.receive(HUB, A, "s4", offer)
    assert len(desk.offers) == 1
    await meeting.close()


@pytest.mark.parametrize(("small", "great"), PAIRS)
async def test_when_offers_cross_the_greater_keys_stands(small: str, great: str) -> None:
    meeting = Meeting()
    little, big = meeting.join(LITTLE, small), meeting.join(BIG, great)
    streams: list[Stream] = []
    waiting: list[tuple[PeerId, PeerId, Signal]] = []

    def until_both_are_said(sender: PeerId, to: PeerId, signal: Signal) -> bool:
        waiting.append((sender, to, signal))
        if meeting.said(LITTLE, "offer") and meeting.said(BIG, "offer"):
            meeting.on_way = lambda *_: True
            for who, whom, what in waiting:
                session = "little" if who == LITTLE else "big"
                asyncio.get_running_loop().call_soon(meeting.transports[whom].receive, HUB, who, session, what)
        return False

    meeting.on_way = until_both_are_said

    async def on_stream(stream: Stream) -> None:
        streams.append(stream)

    await little.listen(HUB, on_stream)
    await big.listen(HUB, on_stream)
    async with asyncio.timeout(15):
        outcomes = await asyncio.gather(
            little.offer(HUB, BIG, "little"), big.offer(HUB, LITTLE, "big"), return_exceptions=True
        )
    lost, won = outcomes
    assert isinstance(lost, Superseded)
    assert isinstance(won, Stream)
    await within(5, lambda: streams)
    await say_hello(won, streams[0])
    assert len(streams) == 1, "one connection comes of it"
    offers = meeting.said(BIG, "offer")
    assert len(offers) == 2, "the offer that stands is sent again"
    assert offers[0] == offers[1], "and it is sent unchanged"
    assert not meeting.said(BIG, "answer")
    await meeting.close()


async def test_crossing_offers_where_the_first_copy_of_the_standing_one_was_lost() -> None:
    meeting = Meeting()
    little, big = meeting.join(LITTLE), meeting.join(BIG)
    lost: list[Signal] = []

    def lose_the_first(sender: PeerId, to: PeerId, signal: Signal) -> bool:
        if sender == BIG and not meeting.said(LITTLE, "offer"):
            lost.append(signal)
            return False
        return True

    meeting.on_way = lose_the_first
    streams: list[Stream] = []

    async def on_stream(stream: Stream) -> None:
        streams.append(stream)

    await little.listen(HUB, on_stream)
    await big.listen(HUB, on_stream)
    winning = asyncio.create_task(big.offer(HUB, LITTLE, "big"))
    await within(5, lambda: lost)
    with pytest.raises(Superseded):
        await little.offer(HUB, BIG, "little")
    async with asyncio.timeout(10):
        won = await winning
    await within(5, lambda: streams)
    await say_hello(won, streams[0])
    await meeting.close()


async def test_a_manager_decides_about_crossing_offers() -> None:
    meeting, at_little, at_big = Meeting(), Desk(), Desk()
    little = meeting.join(LITTLE, "wrtc", at_little.on_offer)
    big = meeting.join(BIG, "wrtc", at_big.on_offer)
    little.listen_on(HUB)
    big.listen_on(HUB)
    losing = asyncio.create_task(little.offer(HUB, BIG, "little"))
    winning = asyncio.create_task(big.offer(HUB, LITTLE, "big"))
    await within(5, lambda: at_little.offers and at_big.offers)
    big.refuse(*at_big.offers[0])
    for _ in range(RESENDS_MAX + 2):
        big.resend(HUB, LITTLE, "big")
    assert len(meeting.said(BIG, "offer")) == 1 + RESENDS_MAX
    async with asyncio.timeout(10):
        theirs = await little.accept(*at_little.offers[0])
        with pytest.raises(Superseded):
            await losing
        await say_hello(await winning, theirs)
    assert len(at_little.offers) == 1
    await meeting.close()


async def test_an_answer_is_sent_again_when_the_offer_comes_again() -> None:
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "wrtc", desk.on_offer)
    b.listen_on(HUB)
    meeting.on_way = lambda sender, to, signal: not (signal.kind == "answer" and len(meeting.said(B, "answer")) == 1)
    offering = asyncio.create_task(a.offer(HUB, B, "s1"))
    await within(5, lambda: desk.offers)
    accepting = asyncio.create_task(b.accept(HUB, A, "s1"))
    await within(5, lambda: meeting.said(B, "answer"))
    a.resend(HUB, B, "s1")
    async with asyncio.timeout(10):
        await say_hello(await offering, await accepting)
    await meeting.close()


async def test_an_attempt_that_nobody_answers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtc, "ATTEMPT_LIMIT_S", 0.2)
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "wrtc", desk.on_offer)
    with pytest.raises(ConnectFailed, match=r"nobody answered our offer within 0\.2 s"):
        await a.offer(HUB, B, "s1")
    assert not a._attempts
    b.listen_on(HUB)
    meeting.on_way = lambda sender, to, signal: sender == A
    offering = asyncio.create_task(a.offer(HUB, B, "s2"))
    await within(2, lambda: desk.offers)
    with pytest.raises(ConnectFailed, match=r"no route|nobody took up"):
        await b.accept(*desk.offers[0])
    await asyncio.gather(offering, return_exceptions=True)
    await meeting.close()


async def test_an_offer_without_any_address_is_told_from_one_that_nobody_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rtc, "ATTEMPT_LIMIT_S", 0.5)
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "wrtc", desk.on_offer)

    def without_addresses(sender: PeerId, to: PeerId, signal: Signal) -> bool:
        if signal.kind == "offer":
            bare = "\r\n".join(line for line in signal.sdp.split("\r\n") if not line.startswith("a=candidate"))
            b.receive(HUB, A, "s1", Signal("offer", sdp=bare))
        return False

    meeting.on_way = without_addresses
    b.listen_on(HUB)
    offering = asyncio.create_task(a.offer(HUB, B, "s1"))
    await within(5, lambda: desk.offers)
    with pytest.raises(ConnectFailed, match="sent no address"):
        await b.accept(*desk.offers[0])
    with pytest.raises(ConnectFailed, match="nobody answered"):
        await offering
    await meeting.close()


async def test_an_offer_or_answer_that_did_not_get_out_fails_its_attempt_at_once() -> None:
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "wrtc", desk.on_offer)
    meeting.on_way = lambda _sender, _to, signal: signal.kind == "offer"
    b.listen_on(HUB)
    offering = asyncio.create_task(a.offer(HUB, B, "s1"))
    await within(5, lambda: desk.offers)
    answering = asyncio.create_task(b.accept(*desk.offers[0]))
    await within(5, lambda: meeting.said(B, "answer"))
    a.not_sent(B, "s1", Signal("candidate", candidate="candidate:..."), "the hub is full")
    a.not_sent(B, "s2", meeting.said(A, "offer")[0], "the hub is full")
    await asyncio.sleep(0)
    assert not offering.done(), "a candidate more or less, and another attempt, are nothing to it"
    a.not_sent(B, "s1", meeting.said(A, "offer")[0], "the hub is full")
    b.not_sent(A, "s1", meeting.said(B, "answer")[0], "the hub is gone")
    async with asyncio.timeout(5):
        with pytest.raises(ConnectFailed, match="our offer did not get out: the hub is full"):
            await offering
        with pytest.raises(ConnectFailed, match="our answer did not get out: the hub is gone"):
            await answering
    assert not a._attempts
    assert not b._attempts
    a.not_sent(B, "s1", meeting.said(A, "offer")[0], "the hub is full")
    await meeting.close()


async def test_a_callers_own_time_limit_leaves_nothing_behind() -> None:
    tasks = asyncio.all_tasks()
    meeting, desk = Meeting(), Desk()
    a, b = meeting.join(A), meeting.join(B, "aiortc", desk.on_offer)
    b.listen_on(HUB)
    meeting.on_way = lambda sender, to, signal: signal.kind == "offer"
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await a.offer(HUB, B, "s1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await b.accept(*desk.offers[0])
    assert not a._attempts
    assert not b._attempts
    await within(2, lambda: asyncio.all_tasks() <= tasks)
    await meeting.close()


async def test_closing_the_transport_ends_attempts_and_streams() -> None:
    tasks = asyncio.all_tasks()
    meeting = Meeting()
    a, b = meeting.join(A), meeting.join(B)
    arrived: list[Stream] = []

    async def on_stream(stream: Stream) -> None:
        arrived.append(stream)

    listener = await b.listen(HUB, on_stream)
    with pytest.raises(ListenFailed, match="already"):
        await b.listen(HUB, on_stream)
    stream = await a.connect(f"{HUB}~{B}")
    meeting.on_way = lambda sender, to, signal: False
    pending = asyncio.create_task(a.offer(HUB, B, "pending"))
    await within(5, lambda: len(meeting.said(A, "offer")) == 2)
    await listener.close()
    await meeting.close()
    outcome = (await asyncio.gather(pending, return_exceptions=True))[0]
    assert isinstance(outcome, Exception)
    for closed in (stream, arrived[0]):
        with contextlib.suppress(LinkClosed):
            assert await closed.read() == b""
    await within(2, lambda: asyncio.all_tasks() <= tasks)


async def test_one_session_is_one_attempt() -> None:
    meeting = Meeting()
    a = meeting.join(A)
    first = asyncio.create_task(a.offer(HUB, B, "s1"))
    await within(5, lambda: meeting.said(A, "offer"))
    with pytest.raises(MisuseError, match="under way"):
        await a.offer(HUB, B, "s1")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await meeting.close()


async def test_an_offer_that_makes_no_sense_is_the_remotes_fault() -> None:
    meeting, desk = Meeting(), Desk()
    b = meeting.join(B, "wrtc", desk.on_offer)
    b.listen_on(HUB)
    b.receive(HUB, A, "s1", Signal("offer", sdp="v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"))
    with pytest.raises(SignalInvalid, match="data channel"):
        await b.accept(HUB, A, "s1")
    assert not b._attempts
    await meeting.close()


async def test_signals_that_fit_nothing_are_dropped() -> None:
    meeting = Meeting()
    b = meeting.join(B)
    b.listen_on(HUB)
    for session in (None, "s1"):
        b.receive(HUB, A, session, Signal("answer", sdp="v=0"))
        b.receive(HUB, A, session, Signal("candidate", candidate="candidate:1 1 udp 1 10.0.0.1 9 typ host"))
    b.resend(HUB, A, "s1")
    b.refuse(HUB, A, "s1")
    assert not b._attempts
    await meeting.close()


async def test_a_place_that_is_none_is_a_mistake() -> None:
    a = Meeting().join(A)
    for where in ("", "https://hub.example", "https://hub.example~nobody", f"~{B}"):
        with pytest.raises(MisuseError):
            await a.connect(where)
    desk = Desk()
    managed = Meeting().join(A, "wrtc", desk.on_offer)

    async def on_stream(stream: Stream) -> None:
        raise AssertionError

    with pytest.raises(MisuseError, match="listen_on"):
        await managed.listen(HUB, on_stream)


def test_an_offer_without_a_session_has_the_same_name_in_each_copy() -> None:
    one, two = Signal("offer", sdp="v=0\r\na"), Signal("offer", sdp="v=0\r\nb")
    assert unnamed_session(one) == unnamed_session(Signal("offer", sdp=one.sdp))
    assert unnamed_session(one) != unnamed_session(two)
    assert len(unnamed_session(one)) <= 64


def test_backends_by_name() -> None:
    assert [backend_named(name).name for name in ("wrtc", "aiortc")] == ["wrtc", "aiortc"]
    with pytest.raises(ConfigFault, match="wrtc or aiortc"):
        backend_named("pion")


def test_the_transport_is_one_of_the_transports() -> None:
    assert RtcTransport.name == "rtc"
