"""Whole peers that are friends already, for tests of what hubs and strangers can do to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from ssb_rtc import Peer, Settings
from ssb_rtc.types import FeedId, HubUrl, PeerId, peer_of
from tests.runtime.watching import Watched
from tests.signalhub.sealed_party import NETWORK

NAMES = ("ann", "ben")


async def prepare_friends(folder: Path, *, settings: Settings | None = None) -> dict[str, FeedId]:
    """Two folders of peers that follow each other and know each other's inbox, as if they had met before."""
    settings = settings or Settings(network_key=NETWORK)
    made: dict[str, tuple[FeedId, bytes]] = {}
    for name in NAMES:
        async with Peer(folder / name, settings, online=False) as peer:
            made[name] = (peer.id, peer._inboxes.inboxes.own)
    for name, other in (NAMES, NAMES[::-1]):
        async with Peer(folder / name, settings, online=False) as peer:
            await peer.follow(made[other][0])
            assert peer._inboxes.inboxes.keep(peer_of(made[other][0]), made[other][1], 1)
    return {name: feed for name, (feed, _) in made.items()}


@asynccontextmanager
async def friends_on(
    folder: Path, hubs: Iterable[HubUrl], *, strangers_max: int = 0, names: Iterable[str] = NAMES
) -> AsyncIterator[list[Watched]]:
    """The friends, running; they know no other way to each other than these hubs."""
    await prepare_friends(folder)
    settings = Settings(network_key=NETWORK, hub=tuple(hubs), strangers_max=strangers_max)
    async with AsyncExitStack() as stack:
        yield [Watched(await stack.enter_async_context(Peer(folder / name, settings))) for name in names]


async def linked(watched: Watched, peer: FeedId | PeerId) -> None:
    """Waits until there is a link to this peer."""
    await watched.until(lambda: peer_of(FeedId(peer)) in watched.state.linked, f"a link to {peer}")
