"""Throw-away peers, linked as a test wants them: see `Swarm`."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations, product
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ssb_rtc.config import MAIN_NETWORK_KEY, Settings
from ssb_rtc.errors import ConnectFailed, MisuseError, SsbRtcError
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.peer import Peer
from ssb_rtc.plugins.base import Plugin
from ssb_rtc.storage import folder as files
from ssb_rtc.storage.identity import create_identity
from ssb_rtc.storage.log import Stored
from ssb_rtc.testing import waiting
from ssb_rtc.testing.clock import Clock
from ssb_rtc.testing.topology import Topology, pairs
from ssb_rtc.testing.waiting import LIMIT_S, NotConverged
from ssb_rtc.testing.wires import Pair, Way, Wires
from ssb_rtc.types import peer_of

NETWORK_KEY: Final = sha256(b"ssb_rtc.testing: the network").digest()
"""The network of every swarm, so that no peer of a test speaks to one in earnest."""
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_LINKS_MAX: Final = 64


def keys_of(name: str | int) -> Keys:
    """The key pair that belongs to a name or a number: always the same, and known to everybody who has this library."""
    return keys_from_seed(sha256(f"ssb_rtc.testing: the keys of {name}".encode()).digest())


@dataclass(slots=True)
class _Member:
    """A peer of the swarm, with what makes it anew after a restart."""

    name: str
    settings: Settings
    plugins: tuple[Callable[[], Plugin], ...]
    folder: Path
    goes_online: bool
    peer: Peer = field(init=False)
    life: AsyncExitStack = field(default_factory=AsyncExitStack)
    is_open: bool = False


class Swarm:
    """Throw-away peers in one process: real ones, on a network and a clock that belong to the test.

        async with Swarm(tmp_path) as swarm:
            alice, bob = await swarm.peers("alice", "bob")
            await swarm.connect("line")
            await swarm.befriend()
            await alice.publish({"type": "post", "text": "hello"})
            await swarm.converged()

    folder: takes a folder for each peer. way: "memory" (streams inside this process; starts fastest) or "loopback" (TCP
    on 127.0.0.1). clock: the wall clock of all peers; see `Clock`. introductions: friends who are not linked find each
    other through those who are, over WebRTC; else the links are those that the test asks for.

    A peer's keys follow from its name, and times come from the clock, so messages that are written in the same order
    have the same ids in each run. Private ones don't: encryption takes fresh random bytes.
    """

    def __init__(
        self, folder: Path | str, *, way: Way = "memory", clock: Clock | None = None, introductions: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.clock = clock if clock is not None else Clock()
        self._introductions = introductions
        self._wires = Wires(way)
        self._members: dict[str, _Member] = {}
        self._linked: dict[Pair, tuple[str, str]] = {}
        """The links that the test asked for, as (who dials, who is dialled)."""

    # --- life ---

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes every peer. Their folders stay, for who wants to look into them."""
        # One after the other: a peer that closes waits for the goodbyes of those that it is linked to.
        for member in self._members.values():
            await self._close(member)

    async def peers(
        self,
        *names: str,
        settings: Settings | None = None,
        plugins: Iterable[Callable[[], Plugin]] = (),
        online: bool = True,
    ) -> list[Peer]:
        """Starts a peer for each name, not linked to anybody yet. Raises what `peer` raises."""
        plugins = tuple(plugins)
        return [await self.peer(name, settings=settings, plugins=plugins, online=online) for name in names]

    async def peer(
        self,
        name: str,
        *,
        settings: Settings | None = None,
        plugins: Iterable[Callable[[], Plugin]] = (),
        online: bool = True,
    ) -> Peer:
        """Starts a peer of this name (lower-case letters, digits and dashes).

        settings: as for `Peer`, but for where it listens; without a network key of their own they get the swarm's.
        plugins: what makes each of its plugins, like their classes: a peer, and each restart, needs fresh ones.
        online: else only its files are open; `peer.start()` goes online later.

        Raises MisuseError where the name is taken or none, and what entering a `Peer` raises.
        """
        if not _NAME.fullmatch(name):
            raise MisuseError(f"{name!r} is no name for a peer: take lower-case letters, digits and dashes")
        if name in self._members:
            raise MisuseError(f"there is a peer named {name!r} already: swarm[{name!r}]")
        settings = settings or Settings(peers_max=_LINKS_MAX)
        if settings.network_key == MAIN_NETWORK_KEY:
            settings = dataclasses.replace(settings, network_key=NETWORK_KEY)
        host, port = (name, 1) if self._wires.way == "memory" else ("127.0.0.1", 0)
        settings = dataclasses.replace(settings, host=host, net=port, ws=None, hub=(), with_hub=None)
        if not self._introductions:
            settings = dataclasses.replace(settings, introducers=0)
        member = _Member(name, settings, tuple(plugins), self.folder / name, online)
        if not files.has_identity(member.folder):
            member.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_identity(files.secret_path(member.folder), keys_of(name))
        await self._open(member)
        self._members[name] = member
        return member.peer

    def __getitem__(self, name: str) -> Peer:
        """The peer of this name, as it is since its last restart."""
        return self._members[name].peer

    def name_of(self, peer: Peer) -> str:
        """The name of a peer of this swarm. Raises MisuseError where it is none, or was restarted since."""
        for member in self._members.values():
            if member.peer is peer:
                return member.name
        raise MisuseError("this peer is none of the swarm's, or was restarted: take what swarm.restart() returned")

    @property
    def open(self) -> list[Peer]:
        """Every peer that is open, in the order in which they were made."""
        return [member.peer for member in self._members.values() if member.is_open]

    @property
    def online(self) -> list[Peer]:
        """Every peer that is open and online, in the order in which they were made."""
        return [peer for peer in self.open if peer.controls.network is not None]

    async def stop(self, peer: Peer) -> None:
        """Closes a peer, as if its program had ended; `restart` opens it again."""
        await self._close(self._members[self.name_of(peer)])

    async def restart(self, peer: Peer, *, online: bool = True) -> Peer:
        """Closes a peer if it is open, and opens its folder anew: the new peer, with the links that the old one had.

        online: else it is without a network, as long as nobody calls `peer.start()`, and `connect` brings its links.
        """
        name = self.name_of(peer)
        member = self._members[name]
        await self._close(member)
        member.goes_online = online
        await self._open(member)
        if online:
            await self._link(pair for pair in self._linked if name in pair)
        return member.peer

    async def _open(self, member: _Member) -> None:
        peer = Peer(
            member.folder,
            member.settings,
            create=False,
            online=member.goes_online,
            plugins=[make() for make in member.plugins],
            now_ms=self.clock,
            transports=[self._wires.wire_of(member.name)],
        )
        await member.life.enter_async_context(peer)
        peer.context.ingest.subscribe(lambda stored: self._tick(peer, stored))
        member.peer, member.is_open = peer, True

    async def _close(self, member: _Member) -> None:
        if member.is_open:
            member.is_open = False
            await member.life.aclose()

    def _tick(self, peer: Peer, stored: Sequence[Stored]) -> None:
        self.clock.advance(self.clock.tick_ms * sum(message.author == peer.id for message in stored))

    # --- links ---

    async def connect(self, *how: Topology | tuple[Peer, Peer]) -> None:
        """Links peers, and returns when both ends of each link are ready.

        how: "line", "ring", "star" or "full" over all peers that are online, in the order in which they were made; or
        pairs of peers, of which the first dials the second. Raises MisuseError, ConnectFailed.
        """
        wanted: list[tuple[str, str]] = []
        for each in how:
            if isinstance(each, str):
                wanted += pairs(each, [self.name_of(peer) for peer in self.online])
            else:
                wanted.append((self.name_of(each[0]), self.name_of(each[1])))
        fresh = {frozenset(pair): pair for pair in wanted if frozenset(pair) not in self._linked}
        self._linked.update(fresh)
        await self._link(frozenset(pair) for pair in wanted)

    async def cut(self, *between: tuple[Peer, Peer]) -> None:
        """Breaks the links of these pairs without a goodbye, and keeps them apart until `heal`."""
        await self._cut({frozenset((self.name_of(a), self.name_of(b))) for a, b in between})

    async def partition(self, *groups: Iterable[Peer]) -> None:
        """Cuts every wire between peers of different groups; who is in no group is left as it is."""
        named = [[self.name_of(peer) for peer in group] for group in groups]
        await self._cut({frozenset(pair) for a, b in combinations(named, 2) for pair in product(a, b)})

    async def heal(self, *between: tuple[Peer, Peer]) -> None:
        """Mends the wires of these pairs (without any: all), and links those again who were linked."""
        chosen = {frozenset((self.name_of(a), self.name_of(b))) for a, b in between} or set(self._wires.cuts)
        self._wires.mend(chosen)
        await self._link(pair for pair in self._linked if pair in chosen)

    async def _cut(self, chosen: set[Pair]) -> None:
        self._wires.cut(chosen)
        await self.until(
            lambda: not any(self._are_linked(*sorted(pair)) for pair in chosen), "the end of the links that were cut"
        )

    async def _link(self, chosen: Iterable[Pair]) -> None:
        """Brings about those of the chosen links that can be: both ends online, the wire whole."""
        ready = {self.name_of(peer) for peer in self.online}
        dials = [self._linked[pair] for pair in chosen if pair <= ready and pair not in self._wires.cuts]
        await asyncio.gather(*(self._dial(*dial) for dial in dials))

    async def _dial(self, caller: str, called: str) -> None:
        if self._are_linked(caller, called) != 2:
            try:
                await self[caller].connect(self[called].addresses[0])
            except SsbRtcError as fault:
                raise ConnectFailed(f"no link from {caller} to {called}: {fault}") from fault
        await self.until(lambda: self._are_linked(caller, called) == 2, f"a link between {caller} and {called}")

    def _are_linked(self, one: str, other: str) -> int:
        """How many of the two ends know of a link."""
        ends = ((self._members[one], peer_of(self[other].id)), (self._members[other], peer_of(self[one].id)))
        return sum(
            member.is_open and any(link.remote == remote for link in member.peer.context.links.live())
            for member, remote in ends
        )

    # --- what they do ---

    async def befriend(self, *peers: Peer) -> None:
        """Each of these peers (without any: all open ones) follows each other one."""
        everybody = peers or tuple(self.open)
        for peer in everybody:
            for other in everybody:
                if other is not peer:
                    await peer.follow(other.id)

    async def converged(self, *peers: Peer, limit_s: float = LIMIT_S) -> None:
        """Waits until each of these peers (without any: all online) holds what it wants of what the others hold.

        Raises NotConverged after `limit_s` seconds, with who lacks what, and who was linked to whom.
        """
        everybody = peers or tuple(self.online)
        if not await waiting.until(everybody, lambda: next(waiting.lacks(everybody), None) is None, limit_s):
            names: dict[str, str] = {member.peer.id: member.name for member in self._members.values()}
            missing = waiting.described(waiting.lacks(everybody), names)
            raise NotConverged(f"after {limit_s:g} s these peers still lack messages:\n{missing}")

    async def until(self, condition: Callable[[], object], what: str = "it", *, limit_s: float = LIMIT_S) -> None:
        """Waits until `condition()` is true, looking whenever a peer stores messages and often in between.

        Raises NotConverged after `limit_s` seconds; `what` names what was waited for.
        """
        if not await waiting.until(self.open, condition, limit_s):
            raise NotConverged(f"waited for {what}, which did not come within {limit_s:g} s")
