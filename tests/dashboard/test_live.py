"""What the page shows of a real peer, and what it does with it."""

from __future__ import annotations

from ssb_rtc.testing import Swarm
from tests.dashboard.visitor import visited


async def test_a_post_of_a_friend_arrives_on_the_stream(swarm: Swarm) -> None:
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
        (row,) = snapshot["peers"]
        assert (row["id"], row["state"], row["hops"]) == (ben.id, "CONNECTED", 1)
        await ben.publish({"type": "post", "text": "<b>hello</b>"})
        message = await events.until("message", lambda data: data["type"] == "post")
        assert (message["author"], message["text"], message["private"]) == (ben.id, "<b>hello</b>", False)
        status, written = await page.post("/api/publish", {"text": "an answer", "root": message["key"]})
        assert status == 200, written
        assert (await events.until("message"))["key"] == written["key"]
        status, read = await page.get("/api/messages?limit=1&type=post")
        assert (status, read["messages"][0]["key"]) == (200, written["key"])
        await events.until("peers", lambda data: any(one["name"] == "Ben" for one in data["changed"]))
