"""What a hub in the hands of an enemy can do to those who speak the sealed dialect there: delay and drop, no more.

The hub is a process of its own (tests/e2e/rogue_hub.py). First two speakers of the dialect, then whole peers with real
data channels.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from ssb_rtc.errors import TransportFault
from ssb_rtc.hub.server import serve
from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.signalhub.client import HubClient, open_session
from ssb_rtc.signalhub.signalling import Announced, Busy, ClockDiffers, HubUp, Left, SignalReceived
from ssb_rtc.types import HubUrl, peer_of
from ssb_rtc.wire import channels, letters
from ssb_rtc.wire.envelope import Kind
from ssb_rtc.wire.swarm import app_name
from tests.e2e.rogue_hub import MODES, RogueHub, ordering, rogue_process
from tests.e2e.sealed_peers import friends_on, linked
from tests.signalhub.sealed_party import (
    ANSWER,
    KNOCK,
    NETWORK,
    OFFER,
    Party,
    announcement_of,
    befriend,
    candidate,
    envelope_of,
    fresh_session,
    ordered,
)
from tests.storage.feedmaker import keys_of

ENEMY = keys_of(9)
HARMLESS = ("duplicate", "reorder", "replay", "misdirect", "flood")
"""What does not even delay a letter for long."""
DEADLY = ("drop", "hold", "rewrite")
ATTACKS = MODES[1:]


@pytest.fixture(scope="module")
def rogue() -> Iterator[HubUrl]:
    with rogue_process() as url:
        yield url


@pytest.fixture
async def hub(rogue: HubUrl) -> AsyncIterator[RogueHub]:
    async with ordering(rogue) as running:
        yield running


@pytest.fixture
async def honest() -> AsyncIterator[HubUrl]:
    server = await serve("127.0.0.1", 0)
    yield HubUrl(server.url)
    await server.close()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def pair(session: aiohttp.ClientSession, hub: RogueHub) -> AsyncIterator[tuple[Party, Party]]:
    """Two friends on the hub."""
    low, high = ordered(session)
    befriend(low, high)
    for party in (low, high):
        await party.signalling.connect(hub.url)
    yield low, high
    for party in (low, high):
        await party.signalling.close()


async def meet(low: Party, high: Party, hub: HubUrl, attempt: str) -> None:
    """All that two say to each other, over this hub."""
    await low.say(hub, high, attempt, KNOCK)
    await high.until(lambda: any(heard.session == attempt for heard in high.heard("knock")))
    await high.say(hub, low, attempt, OFFER)
    await high.say(hub, low, attempt, candidate(1))
    await low.until(lambda: low.heard("offer") and low.heard("candidate"))
    await low.say(hub, high, attempt, ANSWER)
    await low.say(hub, high, attempt, candidate(2))
    await high.until(lambda: high.heard("answer") and high.heard("candidate"))


def told_once(party: Party, other: Party) -> Counter[str]:
    """What a party was told; all of it by the other one, and nothing twice."""
    heard = [event for event in party.events if isinstance(event, SignalReceived)]
    assert {event.peer for event in heard} <= {other.id}
    # A knock comes again where it is said over another hub; the transport takes it for a copy.
    names = [(event.session, event.signal) for event in heard if event.signal.kind != "knock"]
    assert len(names) == len(set(names))
    assert not [event for event in party.events if isinstance(event, Announced | Left | Busy | ClockDiffers)]
    return Counter(event.signal.kind for event in heard)


# --- two speakers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", HARMLESS)
async def test_letters_get_through_and_count_once(pair: tuple[Party, Party], hub: RogueHub, attack: str) -> None:
    low, high = pair
    for party in pair:
        party.let_time_pass()
    await hub.turn(attack)
    await meet(low, high, hub.url, fresh_session())
    assert told_once(low, high) == {"offer": 1, "candidate": 1}
    assert told_once(high, low) == {"knock": 1, "answer": 1, "candidate": 1}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_honest_hub_serves_as_if_the_other_one_were_not_there(
    pair: tuple[Party, Party], hub: RogueHub, honest: HubUrl, attack: str
) -> None:
    low, high = pair
    for party in pair:
        await party.signalling.connect(honest)
    await hub.turn(attack)
    attempt = fresh_session()
    with suppress(TransportFault):  # it may have cut the connection
        await low.say(hub.url, high, attempt, KNOCK)
    await meet(low, high, honest, attempt)
    assert {"offer", "candidate"} <= set(told_once(low, high))
    assert {"knock", "answer", "candidate"} <= set(told_once(high, low))


async def test_rewritten_letters_say_nothing(pair: tuple[Party, Party], hub: RogueHub) -> None:
    """SDP and fingerprints are in them: a change anywhere is a change of all."""
    low, high = pair
    attempt = fresh_session()
    await low.say(hub.url, high, attempt, KNOCK)
    await high.until_heard("knock")
    await hub.turn("rewrite")
    for _ in range(5):
        await high.say(hub.url, low, attempt, OFFER)
    await low.until_dropped("invalid", 5)
    assert told_once(low, high) == {}


async def test_letters_an_hour_late_are_stale(pair: tuple[Party, Party], hub: RogueHub) -> None:
    low, high = pair
    attempt = fresh_session()
    await low.say(hub.url, high, attempt, KNOCK)
    await high.until_heard("knock")
    await hub.turn("hold")
    await low.say(hub.url, high, fresh_session(), KNOCK)
    await high.say(hub.url, low, attempt, OFFER)
    for party in pair:
        party.wall_s, party.now_s = party.wall_s + 3_600, party.now_s + 3_600
    await hub.turn("honest")
    await hub.order(release=True)
    await high.until_dropped("stale")
    await low.until_dropped("unknown")
    assert told_once(high, low) == {"knock": 1}
    assert told_once(low, high) == {}


async def test_everything_that_was_ever_said_played_again_changes_nothing(
    pair: tuple[Party, Party], hub: RogueHub
) -> None:
    """At once, an hour later, and after one of them was started anew, on every channel that it listens to."""
    low, high = pair
    await meet(low, high, hub.url, fresh_session())
    said = {body for _, body in await hub.seen()}
    assert len(said) == 5
    expected = (told_once(low, high), told_once(high, low))
    for pause_s in (0, 130, 3_600):
        for party in pair:
            party.wall_s, party.now_s = party.wall_s + pause_s, party.now_s + pause_s
        before = sum(sum(party.dropped.values()) for party in pair)
        names = await hub.channels()
        await hub.say(*((name, body) for name in names for body in said))
        async with asyncio.timeout(15):
            while sum(sum(party.dropped.values()) for party in pair) < before + len(names) * len(said):
                await asyncio.sleep(0.01)
        assert (told_once(low, high), told_once(high, low)) == expected


async def test_what_one_hub_drops_comes_over_another(pair: tuple[Party, Party], hub: RogueHub, honest: HubUrl) -> None:
    """It lets a knock pass and then nothing more."""
    low, high = pair
    for party in pair:
        await party.signalling.connect(honest)
    attempt = fresh_session()
    for where in (hub.url, honest):
        await low.say(where, high, attempt, KNOCK)
    await high.until_heard("knock", 2)
    await hub.turn("drop")
    for signal in (OFFER, candidate(1)):
        await high.say(hub.url, low, attempt, signal)
    await low.until(lambda: low.heard("offer") and low.heard("candidate"))
    for signal in (ANSWER, candidate(2)):
        await low.say(hub.url, high, attempt, signal)
    await high.until(lambda: high.heard("answer") and high.heard("candidate"))


async def test_a_hub_that_is_quicker_with_a_copy_than_the_honest_one_keeps_nothing_to_itself(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: RogueHub, honest: HubUrl
) -> None:
    """It listens on the honest hub, says the knock on its own first, and drops what is said there in answer."""
    low, high = pair
    stolen: list[str] = []
    await low.signalling.connect(honest)
    spy = HubClient(honest, app_name(NETWORK), session)
    await spy.subscribe([high.friend_inbox], stolen.append, lambda _fault: None)
    attempt = fresh_session()
    await low.say(honest, high, attempt, KNOCK)
    async with asyncio.timeout(15):
        while not stolen:
            await asyncio.sleep(0.01)
    await hub.turn("drop")
    await hub.say((high.friend_inbox, stolen[0]))
    await high.until_heard("knock")
    for signal in (OFFER, candidate(1)):
        await high.say(hub.url, low, attempt, signal)
    await high.signalling.connect(honest)
    await spy.broadcast(high.friend_inbox, stolen[0])
    await low.until(lambda: low.heard("offer") and low.heard("candidate"))
    await low.say(honest, high, attempt, ANSWER)
    await high.until_heard("answer")
    assert told_once(high, low) == {"knock": 1, "answer": 1}
    await spy.close()


async def test_letters_over_two_hubs_count_once(pair: tuple[Party, Party], hub: RogueHub, honest: HubUrl) -> None:
    low, high = pair
    for party in pair:
        await party.signalling.connect(honest)
    attempt = fresh_session()
    for where in (hub.url, honest):
        await low.say(where, high, attempt, KNOCK)
    await high.until_heard("knock", 2)
    for signal in (OFFER, candidate(1)):
        await high.say(hub.url, low, attempt, signal)
    await low.until_dropped("copy", 2)
    for signal in (ANSWER, candidate(2)):
        await low.say(hub.url, high, attempt, signal)
    await high.until_dropped("copy", 2)
    assert told_once(low, high) == {"offer": 1, "candidate": 1}
    assert told_once(high, low) == {"knock": 2, "answer": 1, "candidate": 1}


async def test_a_knock_that_was_kept_back_takes_no_newer_one_s_place(
    pair: tuple[Party, Party], hub: RogueHub, honest: HubUrl
) -> None:
    low, high = pair
    for party in pair:
        await party.signalling.connect(honest)
    await hub.turn("hold")
    await low.say(hub.url, high, fresh_session(), KNOCK)
    low.wall_s += 30
    attempt = fresh_session()
    await low.say(honest, high, attempt, KNOCK)
    await high.until_heard("knock")
    await hub.order(release=True)
    await high.until_dropped("stale")
    assert [heard.session for heard in high.heard("knock")] == [attempt]


async def test_a_letter_turned_to_another_receiver_does_not_open(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: RogueHub
) -> None:
    low, high = pair
    third = Party(keys_of(3), session)
    await third.signalling.connect(hub.url)
    await low.say(hub.url, high, fresh_session(), KNOCK)
    ((_, body),) = await hub.seen()
    await hub.say(*((name, body) for name in await hub.channels()))
    await third.until_dropped("invalid", 3)
    await third.signalling.close()
    assert third.events == [HubUp(hub.url)]


@pytest.mark.parametrize("kind", list(Kind))
async def test_nobody_writes_in_another_s_name(pair: tuple[Party, Party], hub: RogueHub, kind: Kind) -> None:
    """Not even into a session that is under way, of which the hub knows all but what is sealed."""
    low, high = pair
    attempt = fresh_session()
    await low.say(hub.url, high, attempt, KNOCK)
    await high.until_heard("knock")
    if kind.is_public:
        await hub.say((channels.announce_channel(NETWORK, 0, 0), announcement_of(ENEMY, kind, sender=high.id)))
    else:
        ours = letters.public_of(bytes(32))
        payload = {
            Kind.OFFER: letters.offer(ours, bytes(16), "v=0 evil", ours, secrets.token_bytes(32)),
            Kind.BUSY: letters.busy(3_600),
            Kind.CLOCK: letters.clock(0),
        }.get(kind, letters.knock(ours, bytes(16)))
        forged = envelope_of(ENEMY, low.id, kind, payload, sender=high.id, session=attempt)
        await hub.say((low.friend_inbox, forged))
    await low.until_dropped("invalid")
    assert told_once(low, high) == {}


@pytest.mark.parametrize("kind", [Kind.OFFER, Kind.ANSWER, Kind.CANDIDATE, Kind.BUSY, Kind.CLOCK])
async def test_the_hub_s_own_letters_belong_to_no_session_of_others(
    pair: tuple[Party, Party], hub: RogueHub, kind: Kind
) -> None:
    """An operator that is a peer too answers our knock at somebody else."""
    low, high = pair
    attempt = fresh_session()
    await low.say(hub.url, high, attempt, KNOCK)
    await high.until_heard("knock")
    ours = letters.public_of(bytes(32))
    payload = letters.offer(ours, bytes(16), "v=0 evil", ours, secrets.token_bytes(32))
    for party in pair:
        await hub.say((party.friend_inbox, envelope_of(ENEMY, party.id, kind, payload, session=attempt)))
        await party.until_dropped("unknown")
    assert told_once(low, high) == {}


# --- whole peers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS)
async def test_peers_that_share_an_honest_hub_are_linked_all_the_same(
    tmp_path: Path, hub: RogueHub, honest: HubUrl, attack: str
) -> None:
    await hub.turn(attack)
    async with friends_on(tmp_path, [hub.url, honest]) as (ann, ben):
        await linked(ann, ben.peer.id)
        await linked(ben, ann.peer.id)
        assert len(ann.state.linked) == len(ben.state.linked) == 1


@pytest.mark.parametrize("attack", DEADLY)
async def test_peers_that_share_only_a_hub_that_cuts_them_off_say_why(
    tmp_path: Path, hub: RogueHub, attack: str
) -> None:
    await hub.turn(attack)
    async with friends_on(tmp_path, [hub.url]) as (ann, ben):
        await hub.until(lambda known: len({channel for channel, _ in known["seen"]}) >= 2)
        for peer, other in ((ann, ben), (ben, ann)):
            why = peer.peer.controls.why_peer(other.peer.id)
            assert "nothing came of our knocks" in " ".join(why["because"])
            assert "it is knocked at in" in " ".join(why["next"])
            assert not peer.all(a.RemotePeerConnectionSucceeded)


async def test_a_hub_that_is_a_peer_too_is_met_as_itself_or_not_at_all(tmp_path: Path, hub: RogueHub) -> None:
    """It drops what friends say, and answers in its own name and in theirs: nobody is linked to it as to a friend."""
    await hub.turn("hold")
    async with friends_on(tmp_path, [hub.url]) as (ann, ben):
        inbox = channels.friend_inbox
        known = await hub.until(lambda known: len(known["seen"]) >= 2)
        day = channels.day_of(ann.state.now.wall_s)
        name = inbox(ann.peer._inboxes.inboxes.own, day)
        assert name in {channel for channel, _ in known["seen"]}
        wall_s = ann.state.now.wall_s
        for sender in (None, peer_of(ben.peer.id)):
            await hub.say((name, envelope_of(ENEMY, peer_of(ann.peer.id), sender=sender, wall_s=wall_s)))
        sealed = ann.network._sealed
        async with asyncio.timeout(15):
            while not (sealed.dropped.get("invalid") and ann.all(a.RemotePeerDidOffer)):
                await asyncio.sleep(0.01)
        (refused,) = ann.all(e.RefuseOffer)
        assert refused.peer == peer_of(ENEMY.id)
        assert refused.not_before_s is None
        assert not ann.state.linked
