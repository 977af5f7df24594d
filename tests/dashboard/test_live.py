"""What the page shows of a real peer as it changes, and what it does with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from ssb_rtc import Peer, Settings
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.manager import actions as a
from ssb_rtc.testing import Swarm, keys_of
from tests.dashboard.crowd import HUBS, gather
from tests.dashboard.visitor import LIMIT_S, visited
from tests.runtime.watching import Watched


@pytest.fixture
async def hub() -> AsyncIterator[HubServer]:
    server = await serve("127.0.0.1", 0)
    yield server
    await server.close()


async def test_a_post_of_a_friend_arrives_and_is_answered(swarm: Swarm) -> None:
    amy, ben = await swarm.peers("amy", "ben")
    await swarm.connect("line")
    await swarm.befriend()
    await ben.publish({"type": "about", "about": ben.id, "name": "Ben"})
    await swarm.converged()
    async with visited(amy) as page, page.events() as events:
        name, snapshot = await events.next()
        assert name == "snapshot"
        assert snapshot["me"]["id"] == amy.id
        assert {row["id"] for row in snapshot["feeds"]} == {amy.id, ben.id}
        assert snapshot["sync"]["question"] is None
        (row,) = snapshot["peers"]
        assert (row["id"], row["state"], row["transport"], row["hops"]) == (ben.id, "CONNECTED", "memory", 1)
        assert min(row["bytes_in"], row["bytes_out"], row["received"]) > 0
        await ben.publish({"type": "post", "text": "<b>hello</b>"})
        message = await events.until("message", lambda data: data["type"] == "post")
        assert (message["author"], message["text"], message["private"]) == (ben.id, "<b>hello</b>", False)
        status, written = await page.post("/api/publish", {"text": "an answer", "root": message["key"]})
        assert (status, written["root"]) == (200, message["key"])
        assert (await events.until("message"))["key"] == written["key"]
        _, thread = await page.get(f"/api/messages?links_to={quote(message['key'], safe='')}")
        assert [row["text"] for row in thread["messages"]] == ["an answer"]
        key = quote(message["key"], safe="")
        assert await page.get(f"/api/message?id={key}") == (200, message)
        for absent in ("x", key.replace("sha256", "sha1"), ""):
            assert (await page.get(f"/api/message?id={absent}"))[0] in {400, 404}
        change = await events.until("peers", lambda data: any(one["rate_in"] for one in data["changed"]))
        assert change["changed"][0]["name"] == "Ben"
        progress = await events.until("feeds", lambda data: any(one["id"] == ben.id for one in data["changed"]))
        assert next(one for one in progress["changed"] if one["id"] == ben.id)["missing"] == 0


async def test_a_hub_that_dies_changes_on_the_stream(tmp_path: Path, hub: HubServer) -> None:
    async with Peer(tmp_path, Settings(lan=False, hub=(hub.url,))) as peer, visited(peer) as page:
        async with page.events() as events:
            _, snapshot = await events.next()
            if snapshot["hubs"][0]["state"] != "CONNECTED":
                await events.until("hubs", lambda hubs: hubs[0]["state"] == "CONNECTED")
            await hub.close()
            (row,) = await events.until("hubs", lambda hubs: hubs[0]["state"] != "CONNECTED")
            assert [state for _, state in row["history"]][:3] == ["CONNECTING", "CONNECTED", row["state"]]
            assert row["url"] == hub.url
        _, why = await page.get(f"/api/why/hub?url={hub.url}")
        assert why["state"] != "CONNECTED"
        assert why["because"]


async def test_a_thousand_known_peers_are_one_snapshot_and_small_changes(tmp_path: Path) -> None:
    async with Peer(tmp_path, Settings(lan=False)) as peer:
        known = await gather(peer)
        async with visited(peer) as page, page.events() as events:
            _, snapshot = await events.next()
            assert {row["id"] for row in snapshot["peers"]} == set(known)
            Watched(peer).network._dispatch(a.RemotePeerDidAnnounce(HUBS[2], known[0]))
            change = await events.until("peers", lambda data: any(row["id"] == known[0] for row in data["changed"]))
            assert len(change["changed"]) < 100
            Watched(peer).network.block([known[1]])
            change = await events.until("peers", lambda data: any(row["blocked"] for row in data["changed"]))
            assert [row["id"] for row in change["changed"] if row["blocked"]] == [known[1]]


async def test_steps_come_to_who_asks_for_them(swarm: Swarm) -> None:
    amy = await swarm.peer("amy")
    async with visited(amy) as page, page.events("?trace=1") as traced, page.events() as plain:
        await traced.next()
        await plain.next()
        amy.controls.add_hub("https://a.invalid")
        step = await traced.until("step", lambda data: data["action"]["kind"] == "HUB_ADDRESS_ADDED")
        assert {"wall_s", "effects"} <= step.keys()
        await plain.until("hubs", lambda hubs: any(hub["url"] == "https://a.invalid" for hub in hubs))


async def test_feeds_in_bulk_are_counted_and_not_told_one_by_one(swarm: Swarm) -> None:
    amy, ben = await swarm.peers("amy", "ben")
    async with visited(amy) as page, page.events() as events:
        await events.next()
        for number in range(300):
            await ben.publish({"type": "post", "text": str(number)})
        await swarm.befriend()
        await swarm.connect("line")
        told = missed = 0
        async with asyncio.timeout(LIMIT_S):
            while told + missed < 302:
                name, data = await events.next()
                told += name == "message"
                missed += data["messages"] if name == "missed" else 0
        assert missed > 0


async def test_follow_block_about_hubs_and_links(swarm: Swarm) -> None:
    amy, ben = await swarm.peers("amy", "ben")
    async with visited(amy) as page:
        status, row = await page.post("/api/follow", {"id": ben.id, "state": True})
        assert (status, row["content"]["following"]) == (200, True)
        assert (await page.post("/api/block", {"id": ben.id, "reason": "spam"}))[1]["content"]["reason"] == "spam"
        assert (await page.post("/api/block", {"id": ben.id, "state": False}))[0] == 200
        assert (await page.post("/api/about", {"name": "Amy"}))[1]["content"]["name"] == "Amy"
        status, linked = await page.post("/api/connect", {"address": ben.addresses[0]})
        assert (status, linked["state"], linked["id"]) == (200, "CONNECTED", ben.id)
        assert (await page.get(f"/api/why/peer?id={ben.id.replace('+', '%2B')}"))[1]["state"] == "CONNECTED"
        assert (await page.post("/api/disconnect", {"id": ben.id})) == (200, {"ok": True})
        nobody = f"net:127.0.0.1:1~shs:{keys_of('nobody').id[1:-8]}"
        status, told = await page.post("/api/connect", {"address": nobody})
        assert (status, "listens" in told["error"]) == (409, True), told
        url = "https://a.invalid"
        assert (await page.post("/api/hubs", {"action": "add", "url": url, "private": True}))[0] == 200
        assert [hub["url"] for hub in amy.controls.hubs()] == [url]
        status, told = await page.post("/api/hubs", {"action": "publish", "url": url})
        assert (status, "private" in told["error"]) == (400, True)
        assert (await page.post("/api/hubs", {"action": "remove", "url": url}))[0] == 200
        assert (await page.post("/api/sync", {"answer": "accept"}))[1]["answer"] == "accept"
        for path, body in (
            ("follow", {"id": "ben"}),
            ("connect", {"address": "somewhere"}),
            ("hubs", {"action": "add", "url": "ftp://x"}),
            ("sync", {"answer": "maybe"}),
            ("publish", {"text": ""}),
            ("publish", {"text": "x", "root": "y"}),
            ("publish", {"text": "x", "secret": True}),
        ):
            status, told = await page.post(f"/api/{path}", body)
            assert (status, len(told["error"]) > 10) == (400, True), path


async def test_a_code_of_one_page_is_used_in_another(tmp_path: Path, hub: HubServer) -> None:
    async with (
        Peer(tmp_path / "amy", Settings(lan=False, hub=(hub.url,))) as amy,
        Peer(tmp_path / "ben", Settings(lan=False)) as ben,
        visited(amy) as amys,
        visited(ben) as bens,
        amys.events() as events,
    ):
        status, made = await amys.post("/api/invite", {"uses": 1, "note": "Ben"})
        assert (status, made["qr_svg"][:4]) == (200, "<svg")
        assert "<script" not in made["qr_svg"]
        status, joining = await bens.post("/api/join", {"code": f" {made['code']}\n"})
        assert (status, joining["id"], joining["state"]) == (200, amy.id, "joined")
        assert "follow each other" in joining["text"]
        status, waiting = await bens.get("/api/joins")
        assert (status, [one["id"] for one in waiting]) in [(200, [amy.id]), (200, [])]
        async with Peer(tmp_path / "carol", Settings(lan=False)) as carol, visited(carol) as carols:
            status, told = await carols.post("/api/join", {"code": made["code"]})
            assert (status, "used already" in told["error"]) == (400, True), told
        followed = await events.until("message", lambda data: data["type"] == "contact")
        assert (followed["author"], followed["content"]["contact"]) == (amy.id, ben.id)
        await events.until("peers", lambda data: any(one["state"] == "CONNECTED" for one in data["changed"]))
        for body in ({"code": "ssbjoin1nonsense"}, {"code": ""}, {}):
            status, told = await bens.post("/api/join", body)
            assert (status, "nonsense" in str(told)) == (400, False), told
        assert (await amys.post("/api/invite", {"uses": 0}))[0] == 400


async def test_private_messages_are_read_and_stay_private(swarm: Swarm) -> None:
    amy, ben = await swarm.peers("amy", "ben")
    await swarm.befriend()
    await swarm.connect("line")
    async with visited(amy) as page:
        status, sent = await page.post("/api/publish", {"text": "psst", "to": [ben.id]})
        assert (status, sent["private"], sent["text"], set(sent["recps"])) == (200, True, "psst", {amy.id, ben.id})
        for link in ({"root": sent["key"]}, {"branch": [sent["key"]]}):
            status, told = await page.post("/api/publish", {"text": "oh", **link})
            assert (status, "would be public" in told["error"]) == (400, True)
        await swarm.converged()
        stranger = await ben.publish({"type": "post", "text": "not for amy"}, to=[keys_of("carol").id])
        await swarm.converged()
        _, page_of_all = await page.get("/api/messages")
        assert page_of_all["messages"][0]["key"] == stranger.key
        assert page_of_all["messages"][0]["content"] is None
        _, found = await page.get("/api/messages?private=true")
        assert [row["text"] for row in found["messages"]] == ["psst"]
        assert found["next"] is None


async def test_pages_of_messages_go_on_where_the_last_one_ended(swarm: Swarm) -> None:
    amy = await swarm.peer("amy")
    for number in range(7):
        await amy.publish({"type": "post", "text": str(number)})
    async with visited(amy) as page:
        texts, cursor = [], ""
        for _ in range(4):
            _, found = await page.get(f"/api/messages?limit=3&type=post{cursor}")
            texts += [row["text"] for row in found["messages"]]
            if found["next"] is None:
                break
            cursor = f"&before={found['next']}"
        assert texts == ["6", "5", "4", "3", "2", "1", "0"]
        for odd in ("limit=0", "limit=999", "before=-1", "before=x", "private=maybe", "author=amy"):
            assert (await page.get(f"/api/messages?{odd}"))[0] == 400, odd


async def test_settings_are_shown_without_secrets(tmp_path: Path) -> None:
    settings = Settings(lan=False, turn=("turn:user:hunter2@127.0.0.1:1",), hmac_key=bytes(32), hops=3)
    async with Peer(tmp_path, settings) as peer, visited(peer) as page:
        status, rows = await page.get("/api/settings")
        assert status == 200
        assert "hunter2" not in str(rows)
        found = {row["name"]: row for row in rows}
        assert (found["turn"]["value"], found["hmac_key"]["value"]) == ("set", "set")
        assert (found["hops"]["value"], found["hops"]["default"], found["hops"]["source"]) == (3, 2, "program")
        assert found["network_key"]["value"] == "the main network"
