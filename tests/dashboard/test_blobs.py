"""Blobs on the page: pictures are shown, everything else is saved, and nothing runs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from ssb_rtc import Peer, Settings
from ssb_rtc.dashboard.answers import CSP
from ssb_rtc.feeds.blob_wants import EMPTY_BLOB
from ssb_rtc.testing import Swarm, keys_of
from tests.dashboard.visitor import Visitor, visited

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
BYTES = {"Content-Type": "application/octet-stream"}


@pytest.fixture
async def peer(swarm: Swarm) -> Peer:
    return await swarm.peer("amy", settings=Settings(blob_max=300_000))


async def upload(visitor: Visitor, body: Any) -> tuple[int, Any]:
    async with visitor.request("POST", "/api/blobs", data=body, headers=BYTES) as answer:
        return answer.status, await answer.json()


PICTURES = {
    PNG: "image/png",
    b"\xff\xd8\xff\xe0" + bytes(50): "image/jpeg",
    b"GIF89a" + bytes(50): "image/gif",
    b"RIFF\x10\x00\x00\x00WEBPVP8 " + bytes(50): "image/webp",
}
ACTIVE = (
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"<!doctype html><script>alert(1)</script>",
    b"alert(1)",
    b"%PDF-1.7",
    b"RIFF\x10\x00\x00\x00WAVEfmt ",
    b"\xef\xbb\xbf<html><script>alert(1)</script>",
)


async def fetched(owner: Visitor, body: bytes, content_type: str) -> Any:
    """The headers under which a file comes back that was uploaded."""
    status, stored = await upload(owner, body)
    assert (status, stored["size"], stored["type"]) == (200, len(body), content_type)
    async with owner.request("GET", f"/api/blobs/{quote(stored['id'], safe='')}") as answer:
        assert await answer.read() == body
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert answer.headers["Content-Security-Policy"] != CSP
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["Content-Type"] == content_type
        return answer.headers


async def test_a_blob_of_an_active_type_is_saved_and_never_shown(peer: Peer) -> None:
    async with visited(peer) as owner:
        for body in ACTIVE:
            headers = await fetched(owner, body, "application/octet-stream")
            assert headers["Content-Disposition"].startswith("attachment; filename="), body


async def test_a_picture_is_shown(peer: Peer) -> None:
    async with visited(peer) as owner:
        for body, content_type in PICTURES.items():
            assert (await fetched(owner, body, content_type))["Content-Disposition"] == "inline"


async def test_what_is_no_blob_is_not_found_and_asks_no_peer(peer: Peer) -> None:
    async with visited(peer) as owner:
        absent = "&" + keys_of("a file").id[1:45] + ".sha256"
        assert (await owner.get(f"/api/blobs/{quote(absent, safe='')}"))[0] == 404
        for odd in ("%26", "x", keys_of("x").id, absent + "?x"):
            assert (await owner.get(f"/api/blobs/{quote(odd, safe='')}"))[0] == 400
        assert peer.blobs.wants() == {}


async def test_a_blob_that_is_too_large_or_cut_off_is_not_kept(peer: Peer) -> None:
    async def chunks(count: int) -> Any:
        for _ in range(count):
            yield bytes(50_000)

    async with visited(peer) as owner:
        assert (await upload(owner, bytes(300_000)))[0] == 413
        assert (await upload(owner, chunks(7)))[0] == 413
        assert (await upload(owner, b""))[0] == 400
        assert peer.blobs.ls() == []
        assert (await upload(owner, chunks(5)))[0] == 200
        assert [record.size for record in peer.blobs.ls()] == [250_000]


async def test_a_blob_comes_from_a_peer_when_it_is_asked_for(swarm: Swarm, peer: Peer) -> None:
    ben = await swarm.peer("ben")
    await swarm.connect("line")
    blob = await ben.blobs.add(PNG)
    async with visited(peer) as owner:
        assert (await owner.get(f"/api/blobs/{quote(blob, safe='')}"))[0] == 404
        assert await owner.post("/api/want", {"id": blob}) == (200, {"id": blob, "size": len(PNG)})
        assert await owner.get(f"/api/blobs/{quote(blob, safe='')}") == (200, PNG)
        assert (await owner.get(f"/api/blobs/{quote(EMPTY_BLOB, safe='')}"))[0] == 200
