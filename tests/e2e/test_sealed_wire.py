"""What a hub sees of two friends who announce nothing: no identity, no SDP, no candidate, in no form."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from ssb_rtc.feeds.refs import public_key
from ssb_rtc.types import peer_of
from ssb_rtc.wire import channels
from tests.e2e.rogue_hub import ordering, rogue_process
from tests.e2e.sealed_peers import friends_on, linked
from tests.signalhub.sealed_party import NETWORK

TELLTALES = (
    b"m=application", b"a=ice", b"a=setup", b"candidate", b"fingerprint", b"sha-256", b"typ host", b'"sdpmid"',
    b"ed25519", b'"offer"', b'"answer"',
)  # fmt: skip


def forms(raw: bytes) -> set[bytes]:
    """How these bytes may be written, in lower case; parts of base64 that hold wherever it began, too."""
    found = {raw.lower(), raw.hex().encode(), quote(raw, safe="").lower().encode()}
    for shift in range(3):
        text = base64.b64encode(bytes(shift) + raw)[4 if shift else 0 :]
        core = text[: len(text) // 4 * 4 - 4]
        found |= {core.lower(), core.replace(b"+", b"-").replace(b"/", b"_").lower()}
        found |= {quote(core, safe="").lower().encode()}
    return found


def layers(part: bytes) -> list[bytes]:
    """What crossed, and what it is with percent signs and base64 taken off, once and twice."""
    found = [part, unquote_to_bytes(part)]
    for layer in list(found):
        for text in re.findall(rb"[A-Za-z0-9+/_-]{16,}", layer):
            usual = text.replace(b"-", b"+").replace(b"_", b"/")
            found.append(base64.b64decode(usual[: len(usual) // 4 * 4]))
    return found


def betrayed(parts: list[bytes], hidden: list[bytes]) -> set[bytes]:
    """What these parts say of what is to be hidden."""
    known = {form for raw in hidden for form in forms(raw)} | set(TELLTALES)
    return {form for part in parts for layer in layers(part) for form in known if form in layer.lower()}


def test_what_would_betray_somebody_is_found() -> None:
    raw = bytes(range(240, 256)) + bytes(range(16))
    for before in (b"", b"x", b"xy"):
        text = base64.b64encode(before + raw + b"tail")
        for shown in (text, base64.urlsafe_b64encode(before + raw), quote(text, safe="").encode(), raw.hex().encode()):
            assert betrayed([b"GET /v1/" + shown], [raw])
    assert betrayed([base64.b64encode(raw + b"v=0 a=ice-pwd")], []) == {b"a=ice"}
    assert betrayed([quote(raw, safe="").encode()], [raw])
    assert not betrayed([b"GET /v1/" + base64.b64encode(raw[::-1])], [raw])


async def test_a_hub_sees_nothing_of_friends_that_announce_nothing(tmp_path: Path) -> None:
    with rogue_process() as url:
        async with ordering(url) as hub:
            async with friends_on(tmp_path, [hub.url], strangers_max=0) as (ann, ben):
                await linked(ann, ben.peer.id)
                await linked(ben, ann.peer.id)
                for one, other in ((ann.peer, ben.peer), (ben.peer, ann.peer)):
                    last = await one.publish({"type": "post", "text": "hello"})
                    async with asyncio.timeout(20):
                        while other.get(last.key) is None:
                            await asyncio.sleep(0.02)
                hidden = [public_key(watched.peer.id) for watched in (ann, ben)]
                hidden += [watched.peer._inboxes.inboxes.own for watched in (ann, ben)] + [NETWORK]
                today = channels.day_of(ann.state.now.wall_s)
                computable = [
                    channels.public_inbox(NETWORK, peer_of(watched.peer.id), today + by)
                    for watched in (ann, ben)
                    for by in (-1, 0, 1)
                ]
            parts = [base64.b64decode(part) for part in (await hub.order(raw=True))["raw"]]
    heads = [part for part in parts if part.startswith((b"GET", b"POST"))]
    bodies = [part for part in parts if part and not part.startswith((b"GET", b"POST"))]
    assert len(bodies) >= 4, "a knock, an offer, an answer and candidates"
    assert not betrayed(heads + bodies, hidden)
    assert not [name for name in computable if any(name.encode() in head for head in heads)]
    channel = rb"[A-Za-z0-9_-]{22}"
    where = re.compile(rb"(GET|POST) /v1/ssb-rtc-1-[0-9a-f]{8}/" + channel + rb"(," + channel + rb")* HTTP/1.1\r\n")
    assert all(where.match(head) for head in heads)
    assert {len(body) for body in bodies} <= {686, 2_734, 10_926}
