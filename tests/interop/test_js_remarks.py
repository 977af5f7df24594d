"""What our manager tells a remote does not disturb a JavaScript peer, which knows none of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ssb_rtc import Peer, Settings
from ssb_rtc.manager import actions as a
from ssb_rtc.manager.state import KnownHub
from ssb_rtc.types import FeedId, HubUrl, peer_of
from tests.interop.jspeer import KINDS, JsPeer, Kind, require_node
from tests.runtime.watching import Watched

pytestmark = pytest.mark.js

HUB = KnownHub(HubUrl("https://hub.example.org"), "user", False, time.time())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dials", ["ours", "theirs"])
async def test_a_javascript_peer_is_not_disturbed(node_packages: Path, tmp_path: Path, kind: Kind, dials: str) -> None:
    require_node(kind)
    network_key = os.urandom(32)
    js = await JsPeer.start(tmp_path / "js", kind=kind, network_key=network_key)
    async with js, Peer(tmp_path / "ours", Settings(net=0, network_key=network_key)) as ours:
        watched, theirs = Watched(ours), peer_of(FeedId(js.id))
        await ours.follow(FeedId(js.id))
        await js.follow(ours.id)
        await (ours.connect(js.address) if dials == "ours" else js.connect(ours.addresses[0]))
        await watched.until(lambda: watched.state.linked == (theirs,), "the link")
        links = watched.network._links
        number = links.used(theirs)
        assert number is not None
        for downloading in (True, False, True):
            await links.tell(number, only_link=True, downloading=downloading)
            await links.tell_hubs([theirs], [HUB])
        await links.check(number)
        await watched.heard(a.LinkDidAnswer)
        written = await ours.publish({"type": "post", "text": "after all that"})
        await js.reached({ours.id: written.sequence})
        assert links.used(theirs) == number
        began_s = time.monotonic()
        ours.controls.disconnect(theirs)
        await js.parted(ours.id)
        ended = await watched.heard(a.RemotePeerLinkEnded)
        assert time.monotonic() - began_s < 2.5
        assert ended.reason == "asked for"
        await ours.connect(js.address)
        again = await ours.publish({"type": "post", "text": "and again"})
        await js.reached({ours.id: again.sequence})
        assert not any(word in js.last_words() for word in ("Error", "peers.", "hubs."))
