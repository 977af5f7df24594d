"""Downloads: what the manager is told of them, from made-up progress and from peers that really fetch."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc import Peer
from ssb_rtc.manager import actions as a
from ssb_rtc.runtime.downloads import BULK_MESSAGES, DownloadWatch
from ssb_rtc.testing import Swarm
from ssb_rtc.types import PeerId, peer_of
from tests.manager.names import AMY, BOB
from tests.runtime.watching import Watched


@dataclass
class Progress:
    missing: int = 0
    received: int = 0
    given_up: bool = False


class Desk:
    """A watch over made-up progress."""

    def __init__(self) -> None:
        self.progress: dict[PeerId, Progress] = {}
        self.links: dict[PeerId, int] = {}
        self.told: list[a.Action] = []
        self.watch = DownloadWatch(self.progress, self.links.get, self._take)

    def _take(self, action: a.Action) -> bool:
        self.told.append(action)
        return True

    def link(self, peer: PeerId, number: int) -> Progress:
        self.links[peer] = number
        self.progress[peer] = Progress()
        return self.progress[peer]

    def look(self) -> list[a.Action]:
        """What one look tells."""
        self.told.clear()
        self.watch.look()
        return list(self.told)


def test_a_download_begins_goes_on_and_ends() -> None:
    desk = Desk()
    amy = desk.link(AMY, 7)
    assert desk.look() == []
    amy.missing = 100
    assert desk.look() == [a.DownloadStarted(AMY, 7, 100)]
    assert desk.look() == []
    amy.missing, amy.received = 60, 40
    assert desk.look() == [a.DownloadProgressed(AMY, 7, 40, 60)]
    amy.missing = 80
    assert desk.look() == [a.DownloadProgressed(AMY, 7, 0, 80)]
    amy.missing, amy.received = 0, 120
    assert desk.look() == [a.DownloadProgressed(AMY, 7, 80, 0)]
    assert desk.look() == [a.DownloadEnded(AMY, 7)]
    assert desk.look() == []


def test_a_few_messages_as_they_are_written_are_no_download() -> None:
    desk = Desk()
    amy = desk.link(AMY, 7)
    for _ in range(5):
        amy.received += 3
        assert desk.look() == []


def test_what_comes_in_bulk_is_one_though_nothing_is_known_to_be_missing() -> None:
    desk = Desk()
    amy = desk.link(AMY, 7)
    amy.received = BULK_MESSAGES
    assert desk.look() == [a.DownloadStarted(AMY, 7, 0), a.DownloadProgressed(AMY, 7, BULK_MESSAGES, 0)]
    assert desk.look() == [a.DownloadEnded(AMY, 7)]


def test_a_remote_that_is_too_slow_is_told_once_and_again_when_it_woke_up() -> None:
    desk = Desk()
    amy = desk.link(AMY, 7)
    amy.missing = 100
    desk.look()
    amy.missing, amy.given_up = 0, True
    stalled = a.DownloadStalled(AMY, 7, "it is too slow: others are asked for what it has")
    assert desk.look() == [a.DownloadProgressed(AMY, 7, 0, 0), stalled]
    assert desk.look() == []
    amy.received += 5
    assert desk.look() == [a.DownloadProgressed(AMY, 7, 5, 0), stalled]
    amy.given_up = False
    assert desk.look() == [a.DownloadEnded(AMY, 7)]


def test_a_link_that_ended_is_forgotten_and_another_begins_anew() -> None:
    desk = Desk()
    amy = desk.link(AMY, 7)
    amy.missing = 10
    desk.look()
    del desk.links[AMY]
    assert desk.look() == []
    desk.link(AMY, 8).missing = 9
    assert desk.look() == [a.DownloadStarted(AMY, 8, 9)]
    desk.links[AMY] = 9  # between two looks
    desk.progress[AMY] = Progress(missing=3)
    assert desk.look() == [a.DownloadStarted(AMY, 9, 3)]


def test_a_peer_without_a_link_in_use_is_nothing_to_look_at() -> None:
    desk = Desk()
    desk.progress[BOB] = Progress(missing=5)
    assert desk.look() == []


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.booleans(), st.integers(1, 2)), max_size=30))
def test_the_manager_hears_begin_and_end_in_turn_and_every_message_within(
    steps: list[tuple[int, int, bool, int]],
) -> None:
    desk = Desk()
    amy = desk.link(AMY, 1)
    downloading, counted = False, 0
    for missing, new, given_up, link in steps:
        if link != desk.links[AMY]:
            amy, downloading, counted = desk.link(AMY, link), False, 0
        amy.missing, amy.given_up, amy.received = missing, given_up, amy.received + new
        for action in desk.look():
            assert getattr(action, "link", None) == link
            assert downloading != isinstance(action, a.DownloadStarted)
            downloading = not isinstance(action, a.DownloadEnded)
            if isinstance(action, a.DownloadProgressed):
                counted += action.messages
        assert downloading or not missing
        assert counted <= amy.received


# --- real ones ---


async def fill(peer: Peer, count: int) -> None:
    for number in range(count):
        await peer.publish({"type": "post", "text": str(number)})


async def test_a_fresh_peer_says_when_its_first_sync_begins_and_ends(swarm: Swarm) -> None:
    (ann,) = await swarm.peers("ann")
    await fill(ann, 300)
    (ben,) = await swarm.peers("ben")
    assert Watched(ben).state.initial_sync, "nothing of anybody else is here"
    watched = Watched(ben)
    await ben.follow(ann.id)
    await swarm.connect((ben, ann))
    started = await watched.heard(a.DownloadStarted)
    assert (started.peer, started.link) == (peer_of(ann.id), watched.network._links.used(peer_of(ann.id)))
    await watched.heard(a.DownloadEnded)
    assert sum(progressed.messages for progressed in watched.all(a.DownloadProgressed)) == 300
    assert not watched.state.initial_sync
    again = await swarm.restart(ben)
    assert not Watched(again).state.initial_sync


async def test_a_short_first_sync_ends_too(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    await fill(ann, 2)
    watched = Watched(ben)
    await ben.follow(ann.id)
    await swarm.connect((ben, ann))
    await swarm.converged()
    await watched.until(lambda: not watched.state.initial_sync, "the end of the first sync")


async def test_the_serving_side_hears_that_the_other_downloads(swarm: Swarm) -> None:
    ann, ben = await swarm.peers("ann", "ben")
    watched = Watched(ann)
    await swarm.connect((ben, ann))
    theirs = Watched(ben).network._links
    number = theirs.used(peer_of(ann.id))
    assert number is not None
    await theirs.tell(number, only_link=False, downloading=True)
    told = watched.all(a.RemotePeerDidTell)[-1]
    assert (told.peer, told.only_link, told.downloading) == (peer_of(ben.id), False, True)
    assert watched.state.peers[told.peer].link is not None
