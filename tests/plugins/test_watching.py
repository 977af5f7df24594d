"""What a peer tells of itself while it changes: the progress of its feeds above all."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from ssb_rtc.plugins import watching
from ssb_rtc.plugins.watching import _FeedWatch
from ssb_rtc.testing import Swarm, keys_of
from ssb_rtc.types import FeedId
from tests.feeds.replicators import PEERS, F, G, replicator


def test_what_linked_peers_have_beyond_ours_is_missing() -> None:
    r = replicator({F: 3}, [F, G])
    for key in ("a", "b"):
        r.connect(key, PEERS[1 if key == "a" else 2], dialled=False)
        r.take_notes(key)
    assert r.missing_by_feed() == {}
    r.receive_notes("a", {F: 2 * 10, G: 2 * 4}, 0)
    r.receive_notes("b", {F: 2 * 7}, 0)
    assert r.missing_by_feed() == {F: 7, G: 4}
    r.advanced(F, 8, 0)
    assert r.missing_by_feed() == {F: 2, G: 4}
    r.advanced(F, 10, 0)
    r.advanced(G, 4, 0)
    assert r.missing_by_feed() == {}
    r.receive_notes("a", {F: 2 * 12}, 0)
    r.disconnect("a", 0)
    assert r.missing_by_feed() == {}


async def test_the_progress_of_feeds(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.02)
    amy, ben = await swarm.peers("amy", "ben")
    carol = keys_of("carol").id
    await ben.publish({"type": "post", "text": "x"})
    async with amy.local_link() as link:
        assert await link.call("rtc.progress") == {
            "feeds": [{"id": amy.id, "have": 0, "missing": 0}],
            "total": {"feeds": 0, "messages": 0, "missing": 0},
        }
        async with aclosing(link.source("rtc.watch")) as items:
            first = await anext(items)
            assert list(first) == ["peers", "feeds", "hubs", "status"]
            assert first["feeds"]["changed"] == [{"id": amy.id, "have": 0, "missing": 0, "name": None}]
            assert (first["status"]["messages"], first["status"]["missing"]) == (0, 0)
            await amy.follow(carol)
            await swarm.befriend()
            await swarm.connect("line")
            rows: dict[str, dict[str, object]] = {}
            async for item in items:
                rows.update((row["id"], row) for row in item.get("feeds", {"changed": []})["changed"])
                if rows.get(ben.id, {}).get("have") == 2 and carol in rows:
                    break
            assert rows[carol] == {"id": carol, "have": 0, "missing": 0, "name": None}
            await amy.unfollow(carol)
            async for item in items:
                if carol in item.get("feeds", {"removed": []})["removed"]:
                    break
        await swarm.converged()
        found = await link.call("rtc.progress")
        assert [(row["id"], row["have"]) for row in found["feeds"]] == sorted([(amy.id, 3), (ben.id, 2)])
        assert found["total"] == {"feeds": 2, "messages": 5, "missing": 0}


async def test_of_many_feeds_those_are_shown_that_lack_something(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "FEEDS_MAX", 5)
    monkeypatch.setattr(watching, "FEED_ROWS_MAX", 3)
    amy = await swarm.peer("amy")
    feeds = [keys_of(number).id for number in range(20)]
    amy.context.wanted.change(feeds, [])
    missing: dict[FeedId, int] = {feeds[-1]: 9}
    watch = _FeedWatch(amy.context, lambda: missing)
    rows, _ = watch.look()
    assert (len(rows), rows[0]) == (5, {"id": feeds[-1], "have": 0, "missing": 9})
    missing = dict.fromkeys(feeds, 1)
    rows, _ = watch.look()
    assert len(rows) <= 3
    assert watch.total()["missing"] == 20
