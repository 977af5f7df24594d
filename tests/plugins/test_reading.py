"""Messages and names as people see them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc import Peer, RemoteCallError
from ssb_rtc.feeds import canonical
from ssb_rtc.plugins import names
from ssb_rtc.plugins.names import NAME_CHARACTERS_MAX, Names, name_in
from ssb_rtc.plugins.reading import row_of
from ssb_rtc.storage.log import Stored
from ssb_rtc.testing import Swarm, keys_of
from ssb_rtc.types import FeedId, MsgId

AMY = keys_of("amy").id
MESSAGE = "%" + keys_of("m").id[1:45] + ".sha256"

any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
fields = st.sampled_from(["type", "text", "root", "branch", "recps", "about", "name", "link"])
any_content = any_json | st.dictionaries(fields, any_json | st.just(MESSAGE) | st.just(AMY), max_size=6)


def stored(content: Any) -> Stored:
    raw = canonical.compact({"author": AMY, "sequence": 1, "timestamp": 5, "content": content})
    return Stored(rowid=1, key=MsgId(MESSAGE), author=AMY, sequence=1, timestamp_ms=7, raw=raw)


@given(any_content, st.booleans())
def test_any_content_has_a_row(content: Any, opened: bool) -> None:
    row = row_of(stored("x.box"), content, None) if opened else row_of(stored(content), None, None)
    assert row["private"] is (opened and content is not None)
    assert row["content"] is None or isinstance(row["content"], dict)
    for name in ("type", "text", "root", "branch"):
        assert row[name] is None or isinstance(row[name], str)
    assert all(isinstance(one, str) for one in row["recps"])


def test_a_row() -> None:
    content = {"type": "post", "text": "<i>", "root": MESSAGE, "branch": [MESSAGE, "x"], "recps": [AMY, {"link": AMY}]}
    assert row_of(stored(content), None, "Amy") == {
        "key": MESSAGE, "author": AMY, "name": "Amy", "sequence": 1, "timestamp_ms": 5, "received_ms": 7,
        "type": "post", "text": "<i>", "root": MESSAGE, "branch": MESSAGE, "private": False, "recps": [AMY, AMY],
        "content": content,
    }  # fmt: skip
    sealed = row_of(stored("abc.box"), None, None)
    assert (sealed["content"], sealed["private"], sealed["type"]) == (None, False, None)


@given(any_content)
def test_any_content_has_a_name_or_none(content: Any) -> None:
    name = name_in(content, AMY)
    assert name is None or (name.isprintable() and 0 < len(name) <= NAME_CHARACTERS_MAX and name == name.strip())


def test_names_are_one_printable_line() -> None:
    def named(name: Any) -> str | None:
        return name_in({"type": "about", "about": AMY, "name": name}, AMY)

    assert named("Amy") == "Amy"
    assert named("  A\n\tm\u202ey\x1b[31m ") == "A m y [31m"
    assert named("\u200b\n") is None
    assert named(["Amy"]) is None
    assert len(named("x" * 1_000) or "") == NAME_CHARACTERS_MAX
    assert name_in({"type": "about", "about": keys_of("ben").id, "name": "Ben"}, AMY) is None


def names_of(peer: Peer) -> Names:
    return next(plugin for plugin in peer.registry.plugins if isinstance(plugin, Names))


async def test_the_latest_name_that_somebody_gave_themselves_counts(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "NAMES_MAX", 2)
    amy, ben = await swarm.peers("amy", "ben")
    await amy.publish({"type": "about", "about": amy.id, "name": "Old"})
    await amy.publish({"type": "about", "about": amy.id, "name": "Amy"})
    await amy.publish({"type": "about", "about": amy.id, "description": "no name"})
    await ben.publish({"type": "about", "about": amy.id, "name": "A fool"})
    await swarm.befriend()
    await swarm.connect("line")
    await swarm.converged()
    async with amy.local_link() as link:
        assert await link.call("rtc.names", [amy.id, ben.id]) == {amy.id: "Amy", ben.id: None}
        told: list[FeedId] = []
        stop = names_of(amy).subscribe(told.append)
        await amy.publish({"type": "about", "about": amy.id, "name": "New"})
        assert told == [amy.id]
        assert names_of(amy).known(amy.id) is None, "it is looked for"
        await swarm.until(lambda: names_of(amy).known(amy.id) == "New", "the new name")
        stop()
        await link.call("rtc.names", [keys_of(name).id for name in "cde"])
        assert len(names_of(amy)._known) == 2
        for bad in ("x", ["x"], [amy.id] * 1_001):
            with pytest.raises(RemoteCallError, match="list of up to"):
                await link.call("rtc.names", bad)


async def test_no_remote_peer_may_read_or_watch(swarm: Swarm) -> None:
    amy, ben = await swarm.peers("amy", "ben")
    await swarm.connect("line")
    link = ben.rpc(amy.id)
    for method in ("rtc.messages", "rtc.message", "rtc.names", "rtc.progress"):
        with pytest.raises(RemoteCallError, match="not in list of allowed"):
            await link.call(method)
    for method in ("rtc.watch", "rtc.arrivals"):
        with pytest.raises(RemoteCallError, match="not in list of allowed"):
            await link.source(method).read_batch()
