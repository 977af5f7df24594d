"""Who may call what, and what a caller hears that may not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from ssb_rtc.errors import MisuseError, RemoteCallError
from ssb_rtc.plugins.base import Context, Links, PermissionLists, Wanted
from ssb_rtc.plugins.registry import Registry
from ssb_rtc.transport.link import Caller, Link
from ssb_rtc.types import FeedId
from ssb_rtc.wire.rpc import Kind
from tests.plugins.machines import Machine, connect
from tests.storage.feedmaker import keys_of

CONTEXT = cast("Context", None)


@dataclass
class Calling:
    caller: Caller


REMOTE, LOCAL, GUEST = (cast("Link", Calling(each)) for each in (Caller.PEER, Caller.OWNER, Caller.GUEST))


class Plain:
    """A plugin from what a test gives it."""

    version = "1.0.0"

    def __init__(
        self, name: str, manifest: dict[str, str], permissions: PermissionLists | None = None, handlers: Any = None
    ) -> None:
        self.name = name
        self.manifest = manifest
        self.permissions: PermissionLists = permissions or {}
        self.handlers: dict[str, Any] = {method: object() for method in manifest} if handlers is None else handlers

    def init(self, _context: Context) -> dict[str, Any]:
        return self.handlers


def registry(*plugins: Any) -> Registry:
    return Registry(CONTEXT, plugins)


def test_a_guest_may_call_what_is_opened_to_guests_and_nothing_else() -> None:
    plain = Plain("plain", {"a": "async", "b": "async", "c": "async"}, {"remote": ["a"], "guest": ["b"]})
    r = registry(plain, Plain("other", {"x.y": "source"}, {"remote": ["x"]}))
    assert r.find(("b",), Kind.ASYNC, GUEST) is plain.handlers["b"]
    for name in (("a",), ("c",), ("x", "y")):
        with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
            r.find(name, Kind.ASYNC, GUEST)
    with pytest.raises(RemoteCallError, match="not in list of allowed methods"):
        r.find(("b",), Kind.ASYNC, REMOTE)
    with pytest.raises(MisuseError, match="methods of other plugins"):
        r.add(Plain("thief", {"z": "async"}, {"guest": ["c"]}))


def test_calls_find_their_handler_by_name_and_caller() -> None:
    plain = Plain("plain", {"a.b": "async", "a.c": "duplex", "d": "sync"}, {"remote": ["a.b", "d"]})
    r = registry(plain)
    assert r.find(("a", "b"), Kind.ASYNC, REMOTE) is plain.handlers["a.b"]
    assert r.find(("d",), Kind.ASYNC, REMOTE) is plain.handlers["d"]
    assert r.find(("a", "c"), Kind.DUPLEX, LOCAL) is plain.handlers["a.c"]
    with pytest.raises(RemoteCallError, match=r"^method:a,c is not in list of allowed methods$"):
        r.find(("a", "c"), Kind.DUPLEX, REMOTE)
    with pytest.raises(RemoteCallError, match=r"^method:x,y is not in list of allowed methods$"):
        r.find(("x", "y"), Kind.DUPLEX, REMOTE)
    with pytest.raises(RemoteCallError):
        r.find(("a", "b"), Kind.SOURCE, REMOTE)
    assert r.manifest_json() == {"a": {"b": "async", "c": "duplex"}, "d": "sync"}


def test_a_permitted_group_without_the_method_is_no_such_command() -> None:
    r = registry(Plain("blobs", {"blobs.createWants": "source"}, {"remote": ["blobs"]}))
    with pytest.raises(RemoteCallError, match=r"^muxrpc: no such command: blobs\.get$"):
        r.find(("blobs", "get"), Kind.SOURCE, REMOTE)


def test_local_lists_narrow_what_local_callers_may() -> None:
    r = registry(Plain("p", {"a": "sync", "b": "sync"}, {"remote": ["b"], "local": ["a"]}))
    r.find(("a",), Kind.SYNC, LOCAL)
    with pytest.raises(RemoteCallError, match="not in list"):
        r.find(("b",), Kind.SYNC, LOCAL)


@pytest.mark.parametrize(
    "plugin",
    [
        Plain("plain", {}),
        Plain("other", {"a": "sync"}),
        Plain("other", {"a.b": "sync"}),
        Plain("other", {"c": "nonsense"}),
        Plain("other", {"c..d": "sync"}),
        Plain("other", {"c": "sync"}, handlers={}),
        Plain("other", {}, handlers={"c": object()}),
    ],
)
def test_a_plugin_that_does_not_fit_is_misuse_and_changes_nothing(plugin: Plain) -> None:
    r = registry(Plain("plain", {"a": "sync"}))
    with pytest.raises(MisuseError):
        r.add(plugin)
    assert r.manifest_json() == {"a": "sync"}
    assert len(r.plugins) == 1


async def test_over_a_link_the_refusals_are_to_the_letter(tmp_path: Path) -> None:
    one, other = Machine(tmp_path / "1", 1, ebt=False), Machine(tmp_path / "2", 2, ebt=False)
    link, _ = await connect(one, other)
    for call, text in {
        "ebt.replicate": "method:ebt,replicate is not in list of allowed methods",
        "whoami": "method:whoami is not in list of allowed methods",
        "blobs.rm": "method:blobs,rm is not in list of allowed methods",
        "blobs.get.more": "muxrpc: no such command: blobs.get.more",
    }.items():
        with pytest.raises(RemoteCallError) as caught:
            await link.call(call)
        assert str(caught.value) == text
    wants = link.source("blobs.createWants")
    async with asyncio.timeout(5):
        assert await anext(wants) == {}
    reading = asyncio.ensure_future(anext(wants))
    with pytest.raises(RemoteCallError):
        await link.call("blobs.has")
    assert not reading.done()
    await one.close()
    await other.close()
    with pytest.raises(Exception, match="over"):
        await reading


async def test_closing_ends_the_plugins_that_have_something_to_end() -> None:
    class Ending(Plain):
        async def close(self) -> None:
            ended.append(self.name)

    ended: list[str] = []
    await registry(Ending("one", {}), Plain("two", {}), Ending("three", {})).close()
    assert ended == ["three", "one"]


def test_links_tell_who_comes_and_goes() -> None:
    links, heard = Links(), list[str]()
    links.on_link(lambda link: heard.append("on"))
    links.on_link_closed(lambda link: heard.append("off"))
    links.opened(REMOTE)
    assert links.live() == [REMOTE]
    links.closed(REMOTE)
    links.closed(REMOTE)
    assert (links.live(), heard) == ([], ["on", "off"])


def test_wanted_feeds_tell_their_changes() -> None:
    one, two, three = (keys_of(n).id for n in (1, 2, 3))
    wanted, heard = Wanted([one, two]), list[tuple[set[FeedId], set[FeedId]]]()
    wanted.subscribe(lambda added, removed: heard.append((set(added), set(removed))))
    wanted.replace([two, three])
    wanted.replace([three, two])
    assert heard == [({three}, {one})]
    assert three in wanted
    assert wanted.feeds == {two, three}
