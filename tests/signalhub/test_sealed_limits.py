"""The sealed dialect under floods: who can use up what, and who can not."""

from __future__ import annotations

import asyncio
import base64
import secrets

import aiohttp

from ssb_rtc.hub.server import serve
from ssb_rtc.signalhub.carriers import SealedLimits
from ssb_rtc.signalhub.client import HubClient
from ssb_rtc.types import HubUrl
from ssb_rtc.wire import channels, envelope, letters
from ssb_rtc.wire.swarm import app_name
from tests.signalhub.sealed_party import (
    KNOCK,
    NETWORK,
    OFFER,
    Party,
    befriend,
    envelope_of,
    fresh_session,
    ordered,
    post,
)
from tests.storage.feedmaker import keys_of


async def test_a_flood_of_what_is_open_leaves_the_friend_inbox_alone(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    junk = f'"{base64.b64encode(secrets.token_bytes(512)).decode()}"'
    await post(session, hub, low.public_inbox, *[junk] * 120)
    await low.until_dropped("flood", 20)
    assert low.dropped["invalid"] == 100
    await high.say(hub, low, fresh_session(), KNOCK)
    await low.until_heard("knock")


async def test_a_stranger_that_we_answered_can_not_crowd_out_friends(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    """It knows where we hear answers; that is not where friends write."""
    low, high = pair
    stranger, mine = keys_of(9), secrets.token_bytes(32)
    reply, attempt = channels.reply_channel(bytes(16)), fresh_session()
    told: list[str] = []
    spy = HubClient(hub, app_name(NETWORK), session)
    await spy.subscribe([reply], told.append, lambda _fault: None)
    knock = letters.knock(letters.public_of(mine), bytes(16))
    await post(session, hub, low.public_inbox, envelope_of(stranger, low.id, payload=knock, session=attempt))
    heard = await low.until_heard("knock")
    await low.signalling.send(hub, heard.peer, attempt, OFFER)
    async with asyncio.timeout(10):
        while not told:
            await asyncio.sleep(0.01)
    offer = letters.parse_offer(envelope.open_envelope(told[0], stranger, NETWORK).payload, mine)
    junk = f'"{base64.b64encode(secrets.token_bytes(512)).decode()}"'
    await post(session, hub, channels.reply_channel(offer.reply), *[junk] * 120)
    await low.until_dropped("flood", 20)
    await high.say(hub, low, fresh_session(), KNOCK)
    await low.until_heard("knock", 2)
    await spy.close()


async def test_one_sender_gets_its_share(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    party = Party(keys_of(1), session, limits=SealedLimits(sender_burst=3.0, sender_rate_s=1.0))
    await party.signalling.connect(hub)
    await post(session, hub, party.public_inbox, *(envelope_of(keys_of(9), party.id) for _ in range(5)))
    await post(session, hub, party.public_inbox, envelope_of(keys_of(8), party.id))
    await party.until(lambda: len(party.heard("knock")) == 4)
    assert party.dropped == {"flood": 2}
    await party.signalling.close()


async def test_strangers_who_fill_the_memory_keep_no_friend_out(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    party, friend = Party(keys_of(1), session, limits=SealedLimits(seen_max=5)), Party(keys_of(2), session)
    befriend(party, friend)
    for one in (party, friend):
        await one.signalling.connect(hub)
    await post(session, hub, party.public_inbox, *(envelope_of(keys_of(n), party.id) for n in range(10, 17)))
    await party.until_dropped("copy", 2)
    await friend.say(hub, party, fresh_session(), KNOCK)
    heard = await party.until_heard("knock", 6)
    assert heard.peer == friend.id
    for one in (party, friend):
        await one.signalling.close()


async def test_copies_of_a_friend_s_letters_use_up_nothing_of_what_it_may_say_elsewhere(
    session: aiohttp.ClientSession, pair: tuple[Party, Party], hub: HubUrl
) -> None:
    low, high = pair
    other = await serve("127.0.0.1", 0)
    await low.signalling.connect(HubUrl(other.url))
    old = envelope_of(high.keys, low.id)
    await post(session, HubUrl(other.url), low.friend_inbox, *[old] * 90)
    await low.until_dropped("flood", 30)
    await high.say(hub, low, fresh_session(), KNOCK)
    await low.until_heard("knock", 2)
    await low.signalling.close()
    await other.close()


async def test_a_sender_fills_its_own_quota_of_knocks_only(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    limits = SealedLimits(seen_of_a_sender_max=3)
    party = Party(keys_of(1), session, limits=limits)
    await party.signalling.connect(hub)
    bodies = [envelope_of(keys_of(9), party.id) for _ in range(5)]
    await post(session, hub, party.public_inbox, *bodies, envelope_of(keys_of(8), party.id), *bodies)
    await party.until_dropped("copy", 2 + 5)
    assert len(party.heard("knock")) == 4
    await party.signalling.close()


async def test_more_sessions_than_a_peer_may_have_are_refused(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    party = Party(keys_of(1), session)
    await party.signalling.connect(hub)
    await post(session, hub, party.public_inbox, *(envelope_of(keys_of(9), party.id) for _ in range(34)))
    await party.until_dropped("full", 2)
    assert len(party.heard("knock")) == 32
    await party.signalling.close()


async def test_our_own_knocks_keep_their_pace(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    low, high = ordered(session)
    low = Party(low.keys, session, limits=SealedLimits(knock_rate_s=100.0, knock_burst=2.0))
    for party in (low, high):
        await party.signalling.connect(hub)
    for _ in range(2):
        await low.say(hub, high, fresh_session(), KNOCK)
    third = asyncio.create_task(low.say(hub, high, fresh_session(), KNOCK))
    await asyncio.sleep(0.1)
    assert not third.done()
    low.now_s += 1
    await third
    await high.until_heard("knock", 3)
    for party in (low, high):
        await party.signalling.close()
