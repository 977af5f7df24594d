"""A real peer that knows 1,000 others, whose state changes all the time, and its dashboard: for tests and the bench.

    python -m tests.browser.crowded FOLDER [COUNT]

Prints {"urls": [...]} as one line, addresses that open the dashboard once each, and serves it until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from itertools import count
from pathlib import Path
from typing import Final

from ssb_rtc import Peer, Settings
from ssb_rtc.manager import actions as a
from ssb_rtc.types import PeerId
from tests.dashboard.crowd import HUBS, gather
from tests.dashboard.visitor import served
from tests.runtime.watching import Watched

URLS: Final = 6
PAUSE_S: Final = 0.02
"""Between two changes: 50 peers a second are heard on one more hub, or on one less."""


async def change(peer: Peer, known: list[PeerId]) -> None:
    """Has peers come and go on hubs, for ever."""
    network = Watched(peer).network
    for number in count():
        other, hub = known[number % len(known)], HUBS[(number + 1) % len(HUBS)]
        gone = number // len(known) % 2
        network._dispatch(a.RemotePeerDidDisconnect(hub, other) if gone else a.RemotePeerDidAnnounce(hub, other))
        await asyncio.sleep(PAUSE_S)


async def main(folder: Path, known: int) -> None:
    """Serves until it is ended."""
    async with Peer(folder, Settings(lan=False)) as peer, served(peer) as dashboard:
        others = await gather(peer, known)
        for number in range(60):
            await peer.publish({"type": "post", "text": f"Post {number} of somebody who knows many"})
        print(json.dumps({"urls": [dashboard.new_url() for _ in range(URLS)]}), flush=True)
        await change(peer, others)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000))
