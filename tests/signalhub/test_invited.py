"""Knocks of those who hold an invitation: told as such where they prove it, and as any stranger's where they don't."""

from __future__ import annotations

import secrets

import aiohttp

from ssb_rtc.signalhub.signalling import Announced, Invited, SignalReceived
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire import channels, letters, welcome
from ssb_rtc.wire.envelope import Kind
from tests.signalhub.sealed_party import (
    KNOCK,
    NOON_S,
    OFFER,
    Party,
    announcement_of,
    envelope_of,
    fresh_session,
    ordered,
    post,
)
from tests.storage.feedmaker import keys_of

INBOX = bytes(range(100, 132))
EVE = keys_of(9)


async def hidden_pair(session: aiohttp.ClientSession, hub: HubUrl) -> tuple[Party, Party]:
    """Who holds an invitation, and whose it is; neither shows anything to strangers."""
    guest, host = ordered(session, strangers=False)
    host.inboxes.given_out = {"other": bytes(32), "code": INBOX}
    guest.inboxes.told = {host.id: INBOX}
    guest.inboxes.invited_by = {host.id}
    for party in (guest, host):
        await party.signalling.connect(hub)
    return guest, host


async def test_a_proof_is_told_before_its_knock_and_can_be_answered(
    session: aiohttp.ClientSession, hub: HubUrl
) -> None:
    guest, host = await hidden_pair(session, hub)
    attempt = fresh_session()
    await guest.say(hub, host, attempt, KNOCK)
    await host.until_heard("knock")
    assert host.events[-2:] == [Invited(hub, guest.id, "code"), SignalReceived(hub, guest.id, attempt, KNOCK)]
    await host.say(hub, guest, attempt, OFFER)
    await guest.until_heard("offer")
    for party in (guest, host):
        await party.signalling.close()


async def test_who_knows_the_inbox_alone_is_nobody(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    """As the hub's operator does. Nor does a proof count that somebody else has made, for another session or key."""
    guest, host = await hidden_pair(session, hub)
    inbox = channels.friend_inbox(INBOX, host.day)
    ephemeral, reply, attempt = letters.public_of(secrets.token_bytes(32)), bytes(16), secrets.token_bytes(16)
    proofs = [
        b"",
        bytes(16),
        welcome.proof(INBOX, guest.id, attempt, ephemeral),
        welcome.proof(INBOX, PeerId(EVE.id), bytes(16), ephemeral),
        welcome.proof(INBOX, PeerId(EVE.id), attempt, bytes(32)),
        welcome.proof(bytes(31) + b"x", PeerId(EVE.id), attempt, ephemeral),
    ]
    for count, proof in enumerate(proofs, 1):
        session_name = attempt.hex() if count == len(proofs) else secrets.token_hex(16)
        payload = letters.knock(ephemeral, reply, proof=proof)
        await post(session, hub, inbox, envelope_of(EVE, host.id, payload=payload, session=session_name))
        await host.until(lambda count=count: len(host.heard("knock")) >= count)  # type: ignore[misc]
    assert host.of(Invited) == []
    for party in (guest, host):
        await party.signalling.close()


async def test_a_copy_and_a_stale_one_count_nothing(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    guest, host = await hidden_pair(session, hub)
    inbox = channels.friend_inbox(INBOX, host.day)

    def knock(wall_s: float) -> str:
        ephemeral, attempt = letters.public_of(secrets.token_bytes(32)), secrets.token_bytes(16)
        payload = letters.knock(ephemeral, bytes(16), proof=welcome.proof(INBOX, guest.id, attempt, ephemeral))
        return envelope_of(guest.keys, host.id, Kind.KNOCK, payload, session=attempt.hex(), wall_s=wall_s)

    good, old = knock(NOON_S), knock(NOON_S - 3_600)
    await post(session, hub, inbox, good, good, old)
    await host.until_dropped("copy")
    await host.until_dropped("stale")
    assert host.of(Invited) == [Invited(hub, guest.id, "code")]
    for party in (guest, host):
        await party.signalling.close()


async def test_an_announcement_in_that_inbox_is_none(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    """Who hides from strangers is not to look for one because somebody with a code, or the hub, names it there."""
    guest, host = await hidden_pair(session, hub)
    await post(session, hub, channels.friend_inbox(INBOX, host.day), announcement_of(EVE))
    await host.until_dropped("invalid")
    assert host.of(Announced) == []
    for party in (guest, host):
        await party.signalling.close()


async def test_an_inbox_is_given_up_with_its_invitation(session: aiohttp.ClientSession, hub: HubUrl) -> None:
    guest, host = await hidden_pair(session, hub)
    listened = host.signalling._desk.channels(host.signalling._hubs[hub])["open"]
    assert listened == [channels.friend_inbox(inbox, host.day) for inbox in (bytes(32), INBOX)]
    host.inboxes.given_out = {}
    await host.signalling.renew()
    assert host.signalling._desk.channels(host.signalling._hubs[hub])["open"] == []
    for party in (guest, host):
        await party.signalling.close()
