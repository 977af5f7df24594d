"""The sealed dialect between two speakers over a real hub: who hears what, once, and what crosses."""

from __future__ import annotations

import asyncio
import base64
import secrets

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError, TransportFault
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.signalhub.carriers import SealedLimits
from ssb_rtc.signalhub.client import HubClient
from ssb_rtc.signalhub.signalling import Announced, Busy, ClockDiffers, HubDown, HubUp, Left, SignalReceived
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire import channels, envelope, letters
from ssb_rtc.wire.envelope import Kind, Letter
from ssb_rtc.wire.swarm import Signal, app_name
from tests.signalhub.sealed_party import (
    ANSWER,
    KNOCK,
    NETWORK,
    NOON_S,
    OFFER,
    Party,
    announcement_of,
    befriend,
    candidate,
    envelope_of,
    fresh_session,
    ordered,
    post,
)
from tests.storage.feedmaker import keys_of

# --- the ways of a letter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("friends", [True, False])
async def test_knock_offer_answer_and_candidates_both_ways(
    pair: tuple[Party, Party], hub: HubUrl, friends: bool
) -> None:
    low, high = pair
    if not friends:
        befriend(low)
        befriend(high)
    attempt = fresh_session()
    assert low.events == [HubUp(hub)]
    await low.say(hub, high, attempt, Signal("knock", alone=True))
    heard = await high.until_heard("knock")
    assert heard == SignalReceived(hub, low.id, attempt, Signal("knock", alone=True))
    await high.say(hub, low, attempt, OFFER)
    await high.say(hub, low, attempt, candidate(1))
    assert (await low.until_heard("candidate")).signal == candidate(1)
    assert low.heard("offer") == [SignalReceived(hub, high.id, attempt, OFFER)]
    await low.say(hub, high, attempt, ANSWER)
    await low.say(hub, high, attempt, candidate(2))
    assert (await high.until_heard("candidate")).signal == candidate(2)
    assert high.heard("answer") == [SignalReceived(hub, low.id, attempt, ANSWER)]
    assert low.dropped == high.dropped == {}


@pytest.mark.parametrize("answers", ["knock", "offer"])
async def test_busy_answers_a_knock_or_an_offer(pair: tuple[Party, Party], hub: HubUrl, answers: str) -> None:
    low, high = pair
    attempt = fresh_session()
    await low.say(hub, high, attempt, KNOCK)
    await high.until_heard("knock")
    teller, told = (high, low)
    if answers == "offer":
        await high.say(hub, low, attempt, OFFER)
        await low.until_heard("offer")
        teller, told = low, high
    await teller.signalling.say_busy(hub, told.id, attempt, 41.5)
    await told.until(lambda: told.of(Busy))
    assert told.of(Busy) == [Busy(hub, teller.id, attempt, 42.0)]


async def test_busy_about_nothing_is_not_said(pair: tuple[Party, Party], hub: HubUrl) -> None:
    low, high = pair
    await high.signalling.say_busy(hub, low.id, fresh_session(), 5)
    await low.say(hub, high, fresh_session(), KNOCK)
    await high.until_heard("knock")
    assert low.events == [HubUp(hub)]


@pytest.mark.parametrize("first", ["lesser", "greater"])
async def test_of_two_knocks_that_cross_the_greater_key_answers_the_other(
    pair: tuple[Party, Party], hub: HubUrl, first: str
) -> None:
    """The greater one may have come after the first knock, so the lesser one says it once more."""
    low, high = pair
    ours, theirs = fresh_session(), fresh_session()
    if first == "lesser":
        await high.signalling.disconnect(hub)  # it is not there yet, and hears nothing
        await low.say(hub, high, ours, KNOCK)
        await high.signalling.connect(hub)
        await high.say(hub, low, theirs, KNOCK)
    else:
        await low.signalling.disconnect(hub)
        await high.say(hub, low, theirs, KNOCK)
        await low.signalling.connect(hub)
        await low.say(hub, high, ours, KNOCK)
    heard = await high.until_heard("knock")
    assert heard.session == ours
    assert low.heard("knock") == []
    await high.say(hub, low, ours, OFFER)
    assert (await low.until_heard("offer")).session == ours
    assert low.dropped == ({"crossing": 1} if first == "lesser" else {})


async def test_a_knock_that_crosses_ours_at_an_old_inbox_of_theirs_is_answered_where_they_listen(
    pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    low.inboxes.told[high.id] = bytes(32)
    ours = fresh_session()
    await low.say(hub, high, ours, KNOCK)
    await high.say(hub, low, fresh_session(), KNOCK)
    assert (await high.until_heard("knock")).session == ours
    assert low.heard("knock") == []


async def test_of_two_offers_that_cross_the_greater_key_s_stands(pair: tuple[Party, Party], hub: HubUrl) -> None:
    """Each hears the other's knock before its own goes out, so no knock crosses, and both offer."""
    low, high = pair
    ours, theirs = fresh_session(), fresh_session()
    await high.say(hub, low, theirs, KNOCK)
    await low.until_heard("knock")
    await low.say(hub, high, ours, KNOCK)
    await high.until_heard("knock")
    high_offers = high.say(hub, low, ours, Signal("offer", sdp="v=0\r\nhigh"))
    await asyncio.gather(high_offers, low.say(hub, high, theirs, OFFER))
    await high.until_dropped("crossing")
    assert (await low.until_heard("offer")).session == ours
    await low.say(hub, high, ours, ANSWER)
    assert (await high.until_heard("answer")).session == ours
    assert (len(low.heard("offer")), high.heard("offer")) == (1, [])


@pytest.mark.parametrize("lost", [True, False])
async def test_an_offer_that_stands_is_said_once_more(pair: tuple[Party, Party], hub: HubUrl, lost: bool) -> None:
    low, high = pair
    ours, theirs = fresh_session(), fresh_session()
    await high.say(hub, low, theirs, KNOCK)
    await low.until_heard("knock")
    await low.say(hub, high, ours, KNOCK)
    await high.until_heard("knock")
    for bucket in low.signalling._hubs[hub].buckets.values() if lost else ():
        while bucket.take(low.now_s):
            pass  # whatever comes now is dropped
    await high.say(hub, low, ours, OFFER)
    if lost:
        await low.until_dropped("flood")
        low.now_s += 1
    else:
        await low.until_heard("offer")
    await low.say(hub, high, theirs, Signal("offer", sdp="v=0\r\nlow"))
    await high.until_dropped("crossing")
    assert (await low.until_heard("offer")).session == ours
    assert high.heard("offer") == []


async def test_a_knock_that_a_slow_hub_brings_takes_the_place_of_no_offer(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    """The knocks crossed, and the offer that settled it is being answered."""
    low, high = pair
    ours = fresh_session()
    await low.say(hub, high, ours, KNOCK)
    await high.until_heard("knock")
    high.wall_s += 1
    await high.say(hub, low, ours, OFFER)
    await low.until_heard("offer")
    await post(session, hub, low.friend_inbox, envelope_of(high.keys, low.id, wall_s=NOON_S))
    await low.until_dropped("crossing")
    assert low.heard("knock") == []
    await post(session, hub, low.friend_inbox, envelope_of(high.keys, low.id, wall_s=NOON_S + 2))
    await low.until_heard("knock")


async def test_whoever_knocks_all_the_time_uses_up_none_of_our_knocks(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    await low.say(hub, high, fresh_session(), KNOCK)
    await post(session, hub, low.friend_inbox, *(envelope_of(high.keys, low.id) for _ in range(30)))
    await low.until_dropped("crossing", 30)
    await high.until(lambda: len(high.heard("knock")) == 2)
    async with asyncio.timeout(5):
        await low.say(hub, high, fresh_session(), KNOCK)
    await high.until_heard("knock", 3)


async def test_an_old_knock_of_ours_crosses_nothing(pair: tuple[Party, Party], hub: HubUrl) -> None:
    low, high = pair
    await low.say(hub, high, fresh_session(), KNOCK)
    await high.until_heard("knock")
    low.now_s += 11
    await high.say(hub, low, fresh_session(), KNOCK)
    await low.until_heard("knock")


async def test_the_same_letter_through_two_hubs_counts_once(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    other = await serve("127.0.0.1", 0)
    second = HubUrl(other.url)
    for party in pair:
        await party.signalling.connect(second)
    bodies = [envelope_of(low.keys, high.id, session=fresh_session())]
    attempt = fresh_session()
    for where in (hub, second):
        await post(session, where, high.friend_inbox, *bodies)
        await post(session, where, high.public_inbox, *bodies)
    await high.until_dropped("copy", 3)
    assert len(high.heard("knock")) == 1
    await low.say(hub, high, attempt, KNOCK)
    await high.until_heard("knock", 2)
    await high.signalling.close()
    await low.signalling.close()
    await other.close()


async def test_a_copy_of_an_offer_an_answer_or_a_candidate_counts_for_nothing(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    attempt = fresh_session()
    spied: list[str] = []
    spy = HubClient(hub, app_name(NETWORK), session)
    replies = [held.reply for party in pair for held in party.signalling._hubs.values()]
    await spy.subscribe(replies, spied.append, lambda _fault: None)
    await low.say(hub, high, attempt, KNOCK)
    await high.until_heard("knock")
    await high.say(hub, low, attempt, OFFER)
    await low.until_heard("offer")
    for signal in (ANSWER, candidate(1)):
        await low.say(hub, high, attempt, signal)
    await high.until_heard("candidate")
    async with asyncio.timeout(10):
        while len(spied) < 3:
            await asyncio.sleep(0.01)
    for reply in replies:
        await post(session, hub, reply, *spied)
    await low.until_dropped("copy", 1)
    await high.until_dropped("copy", 2)
    assert [len(party.of(SignalReceived)) for party in pair] == [1, 3]
    await spy.close()


async def test_only_the_inbox_that_is_meant_hears_a_letter(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    """A letter to somebody else does not open, wherever a hub brings it."""
    low, high = pair
    await post(session, hub, low.friend_inbox, envelope_of(keys_of(9), high.id))
    await post(session, hub, low.public_inbox, envelope_of(keys_of(9), low.id, network=bytes(32)))
    await post(session, hub, low.public_inbox, envelope_of(keys_of(9), low.id, sender=high.id))
    await low.until_dropped("invalid", 3)
    assert low.events == [HubUp(hub)]


# --- strangers ----------------------------------------------------------------------------------------------------


async def test_announcements_and_goodbyes(pair: tuple[Party, Party], hub: HubUrl) -> None:
    low, high = pair
    await low.signalling.announce(hub, 4)
    await low.signalling.leave(hub)
    await high.until(lambda: high.of(Left))
    assert high.of(Announced) == [Announced(hub, low.id, 4)]
    assert high.of(Left) == [Left(hub, low.id)]
    await high.signalling.leave(hub)
    await low.until_dropped("own", 2)
    assert low.of(Left) == []


async def test_a_forged_announcement_or_goodbye_is_not_believed(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    everybody = channels.announce_channel(NETWORK, 0, 0)
    forged = [announcement_of(keys_of(9), kind, sender=high.id) for kind in (Kind.ANNOUNCE, Kind.LEAVE)]
    await post(session, hub, everybody, *forged)
    await low.until_dropped("invalid", 2)
    assert low.of(Announced) == low.of(Left) == []


async def test_who_wants_no_strangers_says_and_hears_nothing_public(
    session: aiohttp.ClientSession, server: HubServer, hub: HubUrl
) -> None:
    shy, friend = ordered(session, strangers=False)
    befriend(shy, friend)
    await shy.signalling.connect(hub)
    await friend.signalling.connect(hub)
    assert set(shy.signalling._desk.channels(shy.signalling._hubs[hub])["open"]) == set()
    await shy.signalling.announce(hub, 3)
    await shy.signalling.leave(hub)
    everybody = channels.announce_channel(NETWORK, 0, 0)
    await post(session, hub, everybody, announcement_of(keys_of(9)))
    await post(session, hub, shy.public_inbox, envelope_of(keys_of(9), shy.id))
    await friend.say(hub, shy, fresh_session(), KNOCK)
    await shy.until_heard("knock")
    assert shy.dropped == friend.dropped == {}
    assert friend.of(Announced) == []
    for party in (shy, friend):
        await party.signalling.close()


# --- clocks and days ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [3_600.0, -3_600.0])
async def test_a_friend_whose_clock_is_wrong_is_told_so_and_knocks_again(
    pair: tuple[Party, Party], hub: HubUrl, off_s: float
) -> None:
    low, high = pair
    low.wall_s += off_s
    attempt = fresh_session()
    await low.say(hub, high, attempt, KNOCK)
    assert (await high.until_heard("knock")).session == attempt
    assert low.of(ClockDiffers) == [ClockDiffers(hub, high.id, -off_s)]
    await high.say(hub, low, attempt, OFFER)
    await low.until_heard("offer")
    await low.say(hub, high, fresh_session(), KNOCK)
    await high.until_heard("knock", 2)
    low.wall_s -= off_s  # somebody sets it right, so that what we believe of our friend's is wrong now
    high.now_s += 61
    await low.say(hub, high, fresh_session(), KNOCK)
    await high.until_heard("knock", 3)
    assert len(low.of(ClockDiffers)) == 1


async def test_a_clock_note_is_for_friends_and_once_a_minute(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    late = [envelope_of(high.keys, low.id, wall_s=NOON_S - 1_000) for _ in range(5)]
    await post(session, hub, low.friend_inbox, *late)
    await post(session, hub, low.public_inbox, envelope_of(keys_of(9), low.id, wall_s=NOON_S + 1_000))
    await low.until_dropped("stale", 6)
    assert len(low.signalling._sessions) == 1
    assert low.events == [HubUp(hub)]


async def test_an_old_knock_played_again_is_stale(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    old = envelope_of(high.keys, low.id)
    await post(session, hub, low.friend_inbox, old)
    await low.until_heard("knock")
    low.wall_s, low.now_s = low.wall_s + 1_801, low.now_s + 1_801  # it is forgotten, and too old
    await low.signalling.renew()
    await post(session, hub, low.friend_inbox, old)
    await low.until_dropped("stale", 1)
    assert len(low.heard("knock")) == 1


async def test_no_letter_is_lost_when_the_day_changes(pair: tuple[Party, Party], hub: HubUrl) -> None:
    """Clocks differ, channels change under way, and every knock is heard once."""
    low, high = pair
    midnight_s, count = NOON_S + 43_200.0, 0
    for low_s, high_s in [(-2_000, -1_500), (-1_000, -300), (-400, 300), (100, 700), (800, 1_400), (1_500, 2_300)]:
        low.wall_s, high.wall_s = midnight_s + low_s, midnight_s + high_s
        low.now_s = high.now_s = low.now_s + 700
        renewing = [asyncio.create_task(party.signalling.renew()) for party in pair]
        for _ in range(3):
            await low.say(hub, high, fresh_session(), KNOCK)
        count += 3
        await asyncio.gather(*renewing)
        await high.until_heard("knock", count)
    assert low.signalling.hubs == high.signalling.hubs == {hub}
    assert high.of(HubDown) == []


async def test_a_renewed_inbox_is_found_by_who_was_told(pair: tuple[Party, Party], hub: HubUrl) -> None:
    low, high = pair
    high.inboxes.own = secrets.token_bytes(32)
    await high.signalling.renew()
    await low.say(hub, high, fresh_session(), KNOCK)
    befriend(low, high)
    attempt = fresh_session()
    await low.say(hub, high, attempt, KNOCK)
    assert (await high.until_heard("knock")).session == attempt


async def test_an_inbox_that_is_renewed_while_a_hub_is_slow_is_listened_to(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    for _ in range(5):
        high.inboxes.own = secrets.token_bytes(32)
        high.signalling.renew_soon()
    befriend(low, high)
    await high.signalling.renew()
    await low.say(hub, high, fresh_session(), KNOCK)
    await high.until_heard("knock")


# --- misuse -------------------------------------------------------------------------------------------------------


async def test_what_can_not_be_sent(pair: tuple[Party, Party], hub: HubUrl) -> None:
    low, high = pair
    with pytest.raises(MisuseError, match="32 hex"):
        await low.say(hub, high, "s1", KNOCK)
    with pytest.raises(TransportFault, match="too late"):
        await low.say(hub, high, fresh_session(), OFFER)
    with pytest.raises(TransportFault, match="no subscription"):
        await low.say(HubUrl("http://127.0.0.1:1"), high, fresh_session(), KNOCK)
    party = Party(keys_of(3), low.signalling._http, limits=SealedLimits(hubs_max=0))
    with pytest.raises(MisuseError, match="no more than"):
        await party.signalling.connect(hub)


async def test_a_lost_hub_is_reported_once(session: aiohttp.ClientSession) -> None:
    server = await serve("127.0.0.1", 0)
    party = Party(keys_of(1), session)
    hub = HubUrl(server.url)
    await party.signalling.connect(hub)
    await party.signalling.connect(hub)
    assert party.events == [HubUp(hub), HubUp(hub)]
    await server.close()
    await party.until(lambda: party.of(HubDown))
    await party.signalling.connect(hub)
    assert len(party.of(HubDown)) == 2
    assert party.signalling.hubs == frozenset()
    await party.signalling.close()


# --- whatever comes in --------------------------------------------------------------------------------------------

OTHER, HEARS = keys_of(9), keys_of(1)


@st.composite
def said(draw: st.DrawFn) -> str:
    """Junk, bodies that nearly are letters, and letters in good order that say anything."""
    size = draw(st.sampled_from((512, 2_048)))
    choice = draw(st.integers(0, 4))
    if choice == 0:
        return draw(st.text(max_size=200))
    if choice == 1:
        return f'"{base64.b64encode(draw(st.binary(min_size=size, max_size=size))).decode()}"'
    kind, payload = draw(st.sampled_from(list(Kind))), draw(st.binary(max_size=200))
    ours = letters.public_of(b"k" * 32)
    if draw(st.booleans()):
        payload = {
            Kind.KNOCK: letters.knock(ours, bytes(16)),
            Kind.OFFER: letters.offer(ours, bytes(16), "v=0", ours, b"x" * 32),
            Kind.ANSWER: letters.answer("v=0", ours, b"x" * 32),
            Kind.CANDIDATE: envelope.seal_to(ours, payload, b"x" * 32),
            Kind.CLOCK: letters.clock(draw(st.integers(0, 2**64 - 1))),
        }.get(kind, payload)
    letter = Letter(
        kind,
        PeerId(OTHER.id),
        draw(st.sampled_from([bytes(16), b"s" * 16])),
        draw(st.integers(0, 3)),
        int((NOON_S + draw(st.sampled_from([0, 2_000]))) * 1000),
        payload,
    )
    if kind.is_public:
        return envelope.seal_announcement(letter, OTHER, NETWORK, bytes(24))
    return envelope.seal(letter, OTHER, PeerId(HEARS.id), NETWORK, b"x" * 32)


async def test_whatever_is_heard_raises_nothing(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    party = Party(HEARS, session)
    party.inboxes.told = {PeerId(OTHER.id): bytes(32)}
    await party.signalling.connect(hub)
    held = party.signalling._hubs[hub]

    @given(st.lists(st.tuples(st.sampled_from(["own", "open"]), said()), max_size=8))
    def check(letters_in: list[tuple[str, str]]) -> None:
        party.now_s += 200
        ours = party.signalling._sessions.begin((PeerId(OTHER.id), (b"s" * 16).hex()), party.now_s, knocked=True)
        assert ours is not None
        ours.secret = b"k" * 32
        for name, text in letters_in:
            party.signalling._hear(hub, held, "own" if name == "own" else "open", text)

    check()
    await party.signalling.close()
