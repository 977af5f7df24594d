"""Private messages between us and JavaScript: recipients in the content, seven of them, envelopes, and ssb: URIs."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.feeds import bfe, box2, canonical, groups, private, uri
from ssb_rtc.feeds.box2 import Place
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.refs import feed_id, msg_id
from ssb_rtc.feeds.uri import FORMATS, IdUri
from tests.interop.jspeer import JsPeer, require_node
from tests.interop.ourpeer import our_peer

pytestmark = pytest.mark.js

OTHERS = [feed_id(keys_from_seed(bytes([at]) * 32).public) for at in range(5)]
PAIRS = 150
SCRIPT_LIMIT_S = 30.0


async def test_recipients_in_the_content_and_seven_of_them(node_packages: Path, tmp_path: Path) -> None:
    """What an application of either side does: publish with `recps`, read what the other wrote."""
    starting = asyncio.create_task(JsPeer.start(tmp_path / "js"))
    async with our_peer(tmp_path / "ours") as ours, await starting as theirs:
        await asyncio.gather(ours.follow(theirs.id), theirs.follow(ours.id))
        everyone = [*OTHERS, ours.id, theirs.id]
        contents: list[Any] = [
            {"type": "post", "text": f"for {len(recps)}", "recps": recps}
            for recps in ([ours.id, theirs.id], everyone, OTHERS)
        ]
        mine = [await ours.call("publish", content) for content in contents]
        yours = [await theirs.publish(content) for content in contents]
        for made in (*mine, *yours):
            assert made["value"]["content"].endswith(".box")
        await ours.connect(theirs.address)
        await asyncio.gather(ours.reached({theirs.id: 4}), theirs.reached({ours.id: 4}))

        read = [(await theirs.read(made["key"]))["content"] for made in mine]
        assert read == [*contents[:2], mine[2]["value"]["content"]]
        assert [await ours.unbox(made["key"]) for made in yours] == [*contents[:2], None]


async def test_envelopes_and_uris_as_npm_makes_them(node_packages: Path) -> None:
    """Many pairs, because npm sorts the two parties in a way of its own (see groups.shared_key)."""
    seeds = [sha256(b"author %d" % at).digest() for at in range(PAIRS)]
    reader = keys_from_seed(sha256(b"reader").digest())
    author = keys_from_seed(seeds[0])
    previous = msg_id(bytes(range(32)))
    plain = canonical.compact({"type": "post", "text": "hush \u2603"})
    place = Place(bfe.encode(author.id), bfe.encode(None))
    slots = [groups.direct_key(author, feed) for feed in (*OTHERS, reader.id)]
    ids = [IdUri(name, form, sha256(form.encode()).digest()) for name in FORMATS for form in sorted(FORMATS[name])]
    given = {
        "reader": b64encode(reader.seed).decode(),
        "authors": [b64encode(seed).decode() for seed in seeds],
        "previous": previous,
        "plain": plain.decode(),
        "boxed": {
            "author": author.id,
            "previous": None,
            "text": b64encode(box2.box(plain, place, b"\x07" * 32, slots)).decode(),
        },
        "uris": [uri.format_uri(one) for one in ids],
    }
    found = await run_script(node_packages, given)

    assert found["opened"] == plain.decode()
    for seed, text in zip(seeds, found["envelopes"], strict=True):
        writer = keys_from_seed(seed).id
        at = Place(bfe.encode(writer), bfe.encode(previous))
        assert box2.unbox(private.decode_boxed(text), at, [groups.direct_key(reader, writer)]) == plain
    assert [written for _, written in found["uris"]] == given["uris"]
    sigils = [None if one.format == "cloaked" else uri.sigil_of(one) for one in ids]  # ssb-uri2 has none for groups
    assert [sigil for sigil, _ in found["uris"]] == sigils


async def run_script(packages: Path, given: Any) -> Any:
    """One run of envelopes.cjs."""
    process = await asyncio.create_subprocess_exec(
        require_node(),
        str(Path(__file__).with_name("envelopes.cjs")),
        str(packages),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SCRIPT_LIMIT_S):
            out, err = await process.communicate(json.dumps(given).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)
