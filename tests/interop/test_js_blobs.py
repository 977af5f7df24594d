"""Blobs with the stock ssb-blobs over net: great ones both ways, going on after a cut, and what it may ask of us."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.config import MAIN_NETWORK_KEY
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.transport.link import Link, open_link
from ssb_rtc.transport.net import NetTransport
from ssb_rtc.types import BlobId, PeerId
from tests.interop.jspeer import JsPeer
from tests.interop.processes import RigFailure
from tests.plugins.machines import Machine

pytestmark = pytest.mark.js

LIMIT_S = 30.0
THEIRS = "".join(f"theirs {n}\n" for n in range(150_000))
OURS = "".join(f"ours {n}\n" for n in range(150_000))
assert min(len(THEIRS), len(OURS)) > 1 << 20


def id_of(text: str) -> BlobId:
    return blob_id(sha256(text.encode()).digest())


async def dial(machine: Machine, js: JsPeer) -> Link:
    stream = await NetTransport().connect(js.address.split("~")[0].removeprefix("net:"))
    link = await open_link(
        stream,
        keys=machine.keys,
        network_key=MAIN_NETWORK_KEY,
        remote=PeerId(js.id),
        dialled=True,
        router=machine.registry,
    )
    machine.take(link)
    return link


async def test_great_blobs_go_both_ways_and_go_on_where_they_stopped(node_packages: Path, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "ours", 1, ebt=False)
    api, store = machine.blobs.api, machine.blobs._store
    async with await JsPeer.start(tmp_path / "js") as js:
        assert await js.add_blob(THEIRS) == id_of(THEIRS)
        # What a link that broke left of it.
        writer = await store.begin(id_of(THEIRS), size_max=len(THEIRS), keep=True)
        await writer.write(THEIRS.encode()[:1_200_000])
        await writer.leave()
        link = await dial(machine, js)
        await api.want(id_of(THEIRS), timeout_s=LIMIT_S)
        assert b"".join([chunk async for chunk in api.get(id_of(THEIRS))]) == THEIRS.encode()
        assert link.bytes_in < len(THEIRS) - 1_100_000
        # They want what we have; what we get later is told to them; and they take what we push.
        assert await api.add(OURS.encode()) == id_of(OURS)
        assert await js.want_blob(id_of(OURS)) == OURS
        waiting = asyncio.create_task(js.want_blob(id_of("later")))
        await machine.until(lambda: id_of("later") in api.wants(), LIMIT_S)
        await api.add(b"later")
        assert await waiting == "later"
        await api.push(await api.add(b"pushed"))
        await js.gets_blob(id_of("pushed"))
        await machine.until(lambda: machine.blobs._exchange.wants.pushes == {id_of("pushed"): {PeerId(js.id)}}, LIMIT_S)
        assert not link.closed.done()
    await machine.close()


async def test_what_javascript_may_ask_of_us(node_packages: Path, tmp_path: Path) -> None:
    machine = Machine(tmp_path / "ours", 1, ebt=False)
    blob, own = await machine.blobs.api.add(OURS.encode()), machine.keys.id
    async with await JsPeer.start(tmp_path / "js") as js:
        link = await dial(machine, js)
        assert await js.call(own, "blobs.has", blob) is True
        assert await js.call(own, "blobs.has", [blob, id_of("no")]) == [True, False]
        for options in ({"hash": blob}, {"key": blob}, {"id": blob}):
            asked: dict[str, Any] = {**options, "start": 65_000, "end": 66_000, "size": len(OURS)}
            got = await js.call(own, "blobs.getSlice", asked, source=True)
            assert b"".join(bytes(chunk["data"]) for chunk in got) == OURS.encode()[65_000:66_000]
        with pytest.raises(RigFailure, match="incorrect file length"):
            await js.call(own, "blobs.get", {"key": blob, "max": 10}, source=True)
        for name in ("blobs.changes", "blobs.ls"):
            with pytest.raises(RigFailure, match="not in list of allowed methods"):
                await js.call(own, name, source=True)
        with pytest.raises(RigFailure, match="not in list of allowed methods"):
            await js.call(own, "blobs.rm", blob)
        assert not link.closed.done()
    await machine.close()
