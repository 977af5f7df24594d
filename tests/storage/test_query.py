"""Queries: what they find is what a naive look through the whole log finds, whatever happened to the log before."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import validate
from ssb_rtc.feeds.links import links_of
from ssb_rtc.feeds.message import create
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.feeds.validate import Checked
from ssb_rtc.storage import index_links as index_links_module
from ssb_rtc.storage import indexes as indexes_module
from ssb_rtc.storage import log as log_module
from ssb_rtc.storage import query as query_module
from ssb_rtc.storage.database import open_database
from ssb_rtc.storage.index_links import LinkIndex
from ssb_rtc.storage.index_private import PrivateIndex
from ssb_rtc.storage.indexes import Indexes
from ssb_rtc.storage.log import Log, Stored
from ssb_rtc.storage.query import Queries, Query
from ssb_rtc.types import Json
from tests.storage.feedmaker import Store, keys_of, linking_feed

FEEDS = (1, 2, 3)
SEALER = 4
"""The author of private messages, in a cipher that a child opens."""


def sealed(content: Json) -> str:
    return base64.b64encode(json.dumps(content).encode()).decode() + ".box"


def open_sealed(stored: Stored) -> Json | None:
    """Opens every second one: the others are not for us."""
    content = stored.value()["content"]
    if not isinstance(content, str) or stored.sequence % 2:
        return None
    return json.loads(base64.b64decode(content.removesuffix(".box")))


def sealed_feed() -> list[Checked]:
    made: list[Checked] = []
    for public in linking_feed(1, 12):
        value = create(
            keys_of(SEALER),
            sealed(public.value["content"]),
            previous=made[-1].key if made else None,
            sequence=len(made) + 1,
            timestamp_ms=5,
        )
        made.append(validate.check(made[-1].head if made else None, value))
    return made


ALL = {**{number: list(linking_feed(number)) for number in FEEDS}, SEALER: sealed_feed()}
TARGETS = sorted({target for feed in ALL.values() for m in feed for _, target in links_of(m.value["content"])})[::5]


def naive(log: Log, query: Query) -> list[Stored]:
    """The answer, by looking at everything."""
    found = [stored for stored in log.iterate() if _fits(stored, query)]
    if query.newest_first:
        found.reverse()
    return found if query.limit is None else found[: query.limit]


def _fits(stored: Stored, query: Query) -> bool:
    content = stored.value()["content"]
    if query.private is True:
        content = open_sealed(stored)
        if content is None:
            return False
    elif query.private is False and isinstance(content, str):
        return False
    links = [
        link for link in links_of(content) if query.links_to in (None, link.target) and query.rel in (None, link.rel)
    ]
    return (
        stored.rowid > query.after_rowid
        and query.author in (None, stored.author)
        and (query.type is None or (isinstance(content, dict) and content["type"] == query.type))
        and (bool(links) or (query.links_to is None and query.rel is None))
        and (query.since_ms is None or stored.timestamp_ms >= query.since_ms)
        and (query.until_ms is None or stored.timestamp_ms <= query.until_ms)
        and (query.from_sequence is None or stored.sequence >= query.from_sequence)
        and (query.to_sequence is None or stored.sequence <= query.to_sequence)
    )


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


QUERIES = st.builds(
    Query,
    author=maybe(st.sampled_from([keys_of(number).id for number in (*FEEDS, SEALER, 9)])),
    type=maybe(st.sampled_from(["post", "vote", "contact", "absent", "\ud800"])),
    links_to=maybe(st.sampled_from([*TARGETS, blob_id(bytes(32)) + "?x", blob_id(b"z" * 32)])),
    rel=maybe(st.sampled_from(["root", "branch", "vote", "mentions", "image", "absent"])),
    private=maybe(st.booleans()),
    after_rowid=st.sampled_from([0, 0, 7, 50, 1000]),
    since_ms=maybe(st.sampled_from([0, 2, 3.5])),
    until_ms=maybe(st.sampled_from([0, 2, 3.5])),
    from_sequence=maybe(st.integers(-1, 70)),
    to_sequence=maybe(st.integers(-1, 70)),
    newest_first=st.booleans(),
    limit=maybe(st.integers(0, 30)),
)
"""Most of these find nothing; the simple ones that a shrunken or sparse draw gives find much."""
SPARSE = st.builds(
    lambda query, keep: replace(Query(), **{name: getattr(query, name) for name in keep}),
    QUERIES,
    st.sets(st.sampled_from(list(Query.__dataclass_fields__)), max_size=3),
)


class Rig:
    """A log with its indexes, and a commit hook for live queries."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listeners: list[Callable[[Any], None]] = []
        self.time_ms = 0
        self.open()

    def open(self) -> None:
        self.log = Log(open_database(self.path, create=True))
        self.indexes = Indexes(self.log, [LinkIndex(), PrivateIndex(open_sealed)])
        self.queries = Queries(self.log, self.indexes, self.subscribe)

    def subscribe(self, listener: Callable[[Any], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    def append(self, number: int, count: int) -> None:
        """The next messages of a feed, from its beginning when it was purged."""
        head = self.log.head(keys_of(number).id)
        start = head.sequence if head else 0
        self.time_ms += 1
        stored = self.log.append(ALL[number][start : start + count], self.time_ms)
        for listener in tuple(self.listeners):
            listener(stored)

    def fill(self) -> None:
        for _ in range(6):
            for number in ALL:
                self.append(number, 10)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A log that is only read, small steps, and so many walks of several steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(query_module, "PAGE_MESSAGES", 16)
        patch.setattr(query_module, "WINDOW_PLACES", 23)
        rig = Rig(tmp_path_factory.mktemp("query") / "db")
        rig.fill()
        yield rig
        rig.log.database.close()


@given(query=st.one_of(QUERIES, SPARSE, SPARSE), page=st.integers(1, 40))
@settings(max_examples=300)
def test_finds_what_is_there(full: Rig, query: Query, page: int) -> None:
    async def check() -> None:
        wanted = naive(full.log, query if "?" not in str(query.links_to) else _without_query(query))
        assert [stored async for stored in full.queries.old(query)] == wanted
        assert [stored async for stored in full.queries.follow(query)] == wanted
        paged: list[Stored] = []
        whole = replace(query, limit=None)
        while found := await full.queries.read(whole, paged[-1].rowid if paged else 0, page):
            assert len(found) <= page
            paged += found
        assert paged[: query.limit] == wanted

    asyncio.run(check())


def _without_query(query: Query) -> Query:
    return replace(query, links_to=str(query.links_to).partition("?")[0])


OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.sampled_from(list(ALL)), st.integers(1, 60)),
    st.tuples(st.just("purge"), st.sampled_from(list(ALL)), st.just(0)),
    st.tuples(st.just("reopen"), st.just(0), st.just(0)),
    st.tuples(st.just("catch up"), st.just(0), st.integers(1, 200)),
    st.tuples(st.just("rebuild"), st.just(0), st.just(0)),
)


@given(operations=st.lists(OPERATIONS, min_size=1, max_size=12), queries=st.lists(SPARSE, min_size=1, max_size=6))
@settings(max_examples=40)
def test_whatever_happened_before(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, int, int]], queries: list[Query]
) -> None:
    async def check() -> None:
        rig = Rig(tmp_path_factory.mktemp("query") / "db")
        for name, number, count in operations:
            if name == "append":
                rig.append(number, count)
            elif name == "purge":
                rig.log.purge(keys_of(number).id)
            elif name == "reopen":  # as a process that died does: nothing is said to anybody
                rig.log.database.close()
                rig.open()
            elif name == "catch up":
                await rig.indexes.caught_up(upto=min(count, rig.log.last_rowid))
            else:
                await rig.indexes.rebuild()
        for query in queries:
            plain = _without_query(query) if query.links_to else query
            assert [stored async for stored in rig.queries.old(query)] == naive(rig.log, plain)
        rig.log.database.close()

    asyncio.run(check())


@given(
    query=SPARSE.map(lambda query: replace(query, newest_first=False, since_ms=None, until_ms=None, limit=None)),
    first=st.integers(0, 60),
    batches=st.lists(st.tuples(st.sampled_from(list(ALL)), st.integers(1, 40)), max_size=6),
    take=st.lists(st.integers(0, 50), max_size=6),
)
@settings(max_examples=25)
def test_live_has_no_gap_and_no_double(
    tmp_path_factory: pytest.TempPathFactory, query: Query, first: int, batches: list[tuple[int, int]], take: list[int]
) -> None:
    """However reading and arriving alternate."""

    async def check() -> None:
        rig = Rig(tmp_path_factory.mktemp("query") / "db")
        rig.append(1, first)
        plain = _without_query(query) if query.links_to else query
        got: list[Stored] = []
        async with aclosing(rig.queries.follow(query, live=True)) as following:
            for (number, count), some in zip(batches, [*take, *[0] * len(batches)], strict=False):
                there = len(naive(rig.log, plain)) - len(got)
                got += [await anext(following) for _ in range(min(some, there))]
                rig.append(number, count)
            wanted = naive(rig.log, plain)
            async with asyncio.timeout(20):
                got += [await anext(following) for _ in wanted[len(got) :]]
        assert got == wanted
        assert rig.listeners == []
        rig.log.database.close()

    asyncio.run(check())


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Rig]:
    """A rig that is closed in the end."""
    rig = Rig(tmp_path / "db")
    yield rig
    rig.log.database.close()


async def test_live_only_and_limits(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        rig.append(1, 10)

        async def collect(**options: Any) -> list[int]:
            query = Query(limit=3, newest_first=options.pop("newest_first", False))
            return [stored.rowid async for stored in rig.queries.follow(query, **options)]

        waiting = asyncio.create_task(collect(old=False, live=True))
        await asyncio.sleep(0)
        for _ in range(5):
            rig.append(2, 1)
            await asyncio.sleep(0)
        assert await waiting == [11, 12, 13]
        assert await collect(live=True, newest_first=True) == [15, 14, 13]
        assert [s.rowid async for s in rig.queries.follow(Query(limit=0), live=True)] == []


async def test_a_slow_reader_holds_nothing_up(tmp_path: Path) -> None:
    """What it has not read yet waits in the log, not in memory."""
    async with opened(tmp_path) as rig:
        following = rig.queries.follow(Query(), live=True)
        rig.append(1, 1)
        assert (await anext(following)).rowid == 1
        rig.fill()
        assert len([await anext(following) for _ in range(rig.log.count() - 1)]) == rig.log.count() - 1
        await following.aclose()
        assert rig.listeners == []


@pytest.mark.parametrize("query", [Query(links_to=keys_of(3).id), Query(private=True, newest_first=True)])
async def test_an_index_that_is_made_anew_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, query: Query
) -> None:
    monkeypatch.setattr(indexes_module, "SLICE_S", 0.0)
    monkeypatch.setattr(query_module, "TESTED_MESSAGES", 4)
    async with opened(tmp_path) as rig:
        rig.fill()
        wanted = naive(rig.log, query)
        reading = rig.queries.old(replace(query, limit=len(wanted)))
        got = [await anext(reading)]
        rebuilding = asyncio.create_task(rig.indexes.rebuild())
        await asyncio.sleep(0)
        assert rig.indexes.cursor("links") < rig.log.last_rowid
        got += [stored async for stored in reading]
        assert got == wanted
        await rebuilding


async def test_types_beyond_the_table_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "TYPES_MAX", 2)
    async with opened(tmp_path) as rig:
        rig.append(1, 60)
        for name in ("post", "vote", "contact", "about", "absent"):
            query = Query(type=name)
            assert [stored async for stored in rig.queries.old(query)] == naive(rig.log, query), name


async def test_a_message_that_links_to_a_target_twice_is_found_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as rig:
        rig.append(1, 12)
        root = ALL[1][4].key  # message 6 names it as its root and as a branch
        for newest_first in (False, True):
            query = Query(links_to=root, newest_first=newest_first)
            found = [stored async for stored in rig.queries.old(query)]
            assert [link.rel for link in links_of(found[-newest_first].value()["content"])].count("root") == 1
            assert found == naive(rig.log, query)


async def test_rels_beyond_the_table_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_links_module, "RELS_MAX", 1)
    async with opened(tmp_path) as rig:
        rig.append(1, 60)
        await rig.indexes.caught_up()
        for rel in ("root", "branch", "vote", "mentions", "absent"):
            wanted = [(target, rel) for target in TARGETS]
            answers = [[stored async for stored in rig.queries.old(Query(links_to=t, rel=r))] for t, r in wanted]
            assert answers == [naive(rig.log, Query(links_to=t, rel=r)) for t, r in wanted], rel
            assert any(answers) == (rel != "absent"), rel


@pytest.mark.parametrize(
    "query",
    [Query(links_to="nonsense"), Query(limit=-1), Query(since_ms=1e300), Query(from_sequence=2**60)],
)
async def test_nonsense_is_refused(tmp_path: Path, query: Query) -> None:
    async with opened(tmp_path) as rig:
        rig.append(1, 1)
        with pytest.raises(MisuseError):
            await rig.queries.read(query)


async def test_each_kind_of_query_has_its_index(full: Rig) -> None:
    """No query by author, type or link reads the whole table, or sorts."""
    seen: list[str] = []

    def explain(sql: str) -> None:
        if sql.startswith("SELECT m.rowid"):
            seen.append(sql)

    full.log.database.connection.set_trace_callback(explain)
    author = keys_of(1).id
    kinds = {
        "messages_by_feed": [Query(author=author), Query(author=author, type="post")],
        "messages_by_type": [Query(type="post")],
        "SEARCH l USING PRIMARY KEY": [Query(links_to=author), Query(links_to=author, rel="contact")],
        "SEARCH p USING INTEGER PRIMARY KEY": [Query(private=True)],
        "SEARCH m USING INTEGER PRIMARY KEY": [Query(), Query(rel="root")],
    }
    try:
        for index, queries in kinds.items():
            for query in [*queries, *(replace(query, newest_first=True) for query in queries)]:
                seen.clear()
                await full.queries.read(query, limit=5)
                plan = [str(row[3]) for row in full.log.database.query(f"EXPLAIN QUERY PLAN {seen[0]}")]
                assert any(index in step for step in plan), plan
                assert not any("TEMP B-TREE" in step or step.startswith("SCAN") for step in plan), plan
    finally:
        full.log.database.connection.set_trace_callback(None)


async def test_a_store_with_its_ingest(tmp_path: Path) -> None:
    """Live over the real ingest, own messages included."""
    store = Store(tmp_path / "db")
    queries = Queries(store.log, Indexes(store.log, [LinkIndex()]), store.ingest.subscribe)
    following = queries.follow(Query(author=store.author.feed), live=True)
    coming = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    stored = await store.author.publish({"type": "post", "text": "x"})
    assert await asyncio.wait_for(coming, 20) == stored
    await following.aclose()
    with pytest.raises(MisuseError, match="needs the index 'private'"):
        await queries.read(Query(private=True))
    await store.close()
