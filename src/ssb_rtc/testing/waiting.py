"""Waiting for what peers do, with a limit, and saying what is missing when it does not come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ssb_rtc.peer import Peer
from ssb_rtc.types import FeedId, peer_of

LIMIT_S: Final = 30.0
"""How long a test waits before it fails. Far more than a healthy swarm takes on a slow machine."""
LOOK_INTERVAL_S: Final = 0.02
"""Each commit of a message is looked at when it happens; what changes without one is looked for this often."""


class NotConverged(AssertionError):
    """What was waited for did not come within the limit; the text says who lacks what."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A peer holds less of a feed that it wants than another peer does."""

    peer: Peer
    feed: FeedId
    held: int
    """Up to this sequence; 0 for nothing."""
    holder: Peer
    holds: int


def lacks(peers: Sequence[Peer]) -> Iterator[Lack]:
    """What each of these peers wants, and another one of them holds and may give to it.

    A feed that is forked is left out, and so is one whose author blocks the peer: neither is replicated any further.
    """
    most: dict[FeedId, tuple[int, Peer]] = {}
    for peer in peers:
        for feed, head in peer.context.log.heads().items():
            if feed not in most or head.sequence > most[feed][0]:
                most[feed] = head.sequence, peer
    for peer in peers:
        for feed in sorted(peer.context.wanted.feeds & most.keys()):
            (holds, holder), head_here = most[feed], peer.context.log.head(feed)
            held = head_here.sequence if head_here is not None else 0
            if holds > held and not _is_kept_from(peer, feed, holder):
                yield Lack(peer, feed, held, holder, holds)


def _is_kept_from(peer: Peer, feed: FeedId, holder: Peer) -> bool:
    return (
        feed in peer.context.forks or feed in holder.context.forks or holder.context.is_blocked(feed, peer_of(peer.id))
    )


async def until(peers: Sequence[Peer], condition: Callable[[], object], limit_s: float) -> bool:
    """Waits until the condition is true, looking after each commit of these peers; False after the limit."""
    changed = asyncio.Event()
    ends = [peer.context.ingest.subscribe(lambda _stored: changed.set()) for peer in peers]
    try:
        async with asyncio.timeout(limit_s):
            while not condition():
                changed.clear()
                try:
                    async with asyncio.timeout(LOOK_INTERVAL_S):
                        await changed.wait()
                except TimeoutError:
                    continue
    except TimeoutError:
        return bool(condition())
    finally:
        for end in ends:
            end()
    return True


def described(found: Iterable[Lack], names: Mapping[str, str]) -> str:
    """A line for each lack: who, of what, how much, who has it, and whom it is linked to. `names` by id."""
    return "\n".join(_line(lack, names) for lack in found)


def _line(lack: Lack, names: Mapping[str, str]) -> str:
    name = names.get(lack.peer.id, lack.peer.id)
    feed = names.get(lack.feed, lack.feed)
    links = sorted({names.get(link.remote, link.remote) for link in lack.peer.context.links.live()})
    return (
        f"  {name} holds {lack.held} of the {lack.holds} messages of {feed} that"
        f" {names.get(lack.holder.id, lack.holder.id)} holds; {name} is linked to {', '.join(links) or 'nobody'}"
    )
