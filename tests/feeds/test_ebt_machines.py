"""Several replication state machines over a wire that a test delivers in any order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.feeds.ebt import Replicator
from ssb_rtc.types import FeedId
from tests.feeds.replicators import FEEDS, PEERS


@dataclass
class Node:
    """A peer with a log that is only sequences; a message is its feed and sequence."""

    log: dict[FeedId, int]
    wanted: list[FeedId]
    machine: Replicator = field(init=False)

    def __post_init__(self) -> None:
        self.machine = Replicator(self.log, self.wanted)


class Net:
    """Links between nodes; each direction is a queue that a schedule empties a frame at a time."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.wires: dict[tuple[int, int], deque[object]] = {}
        self.now_s = 0.0

    def connect(self, dialler: int, acceptor: int) -> None:
        if (dialler, acceptor) in self.wires:
            return
        for one, other, dialled in ((dialler, acceptor, True), (acceptor, dialler, False)):
            self.wires[one, other] = deque()
            self.nodes[one].machine.connect(other, PEERS[other], dialled=dialled, now_s=self.now_s)
            if not dialled:
                self.wires[one, other].append(self.nodes[one].machine.take_notes(other) or {})

    def disconnect(self, one: int, other: int) -> None:
        if (one, other) in self.wires:
            for a, b in ((one, other), (other, one)):
                del self.wires[a, b]
                self.nodes[a].machine.disconnect(b, self.now_s)

    def append(self, node: int, feed: FeedId) -> None:
        log = self.nodes[node].log
        log[feed] = log.get(feed, 0) + 1
        self.nodes[node].machine.advanced(feed, log[feed], self.now_s)

    def toggle(self, one: int, feed: FeedId) -> None:
        node = self.nodes[one]
        if feed in node.wanted:
            node.wanted.remove(feed)
            node.machine.unwant([feed])
        else:
            node.wanted.append(feed)
            node.machine.want([feed], self.now_s)

    def speak(self, one: int, other: int) -> bool:
        """Puts what `one` has for `other` on the wire, a frame of notes or up to three messages."""
        machine, wire = self.nodes[one].machine, self.wires[one, other]
        notes = machine.take_notes(other)
        if notes:
            wire.append(notes)
            return True
        following = machine.next_send(other)
        if following is None:
            return False
        feed, after = following
        upto = min(after + 3, self.nodes[one].log.get(feed, 0))
        machine.sent(other, feed, after, upto)
        wire.extend((feed, sequence) for sequence in range(after + 1, upto + 1))
        return True

    def deliver(self, one: int, other: int) -> bool:
        wire = self.wires[one, other]
        if not wire:
            return False
        frame, node = wire.popleft(), self.nodes[other]
        if isinstance(frame, dict):
            node.machine.receive_notes(one, frame, self.now_s)
            return True
        assert isinstance(frame, tuple)
        feed, sequence = frame
        if feed not in node.wanted:
            return True
        node.machine.received(one, feed, sequence, self.now_s)
        if sequence == node.log.get(feed, 0) + 1:
            node.log[feed] = sequence
            node.machine.advanced(feed, sequence, self.now_s)
        return True

    def settle(self) -> int:
        """Runs until nothing moves, with time passing; returns the frames that it took."""
        frames = 0
        for _ in range(60):
            moved = True
            while moved:
                moved = False
                for one, other in list(self.wires):
                    while self.speak(one, other):
                        moved = True
                    while self.deliver(one, other):
                        moved = True
                        frames += 1
                        assert frames < 20_000, "they never stop talking"
            self.now_s += 1
            for node in self.nodes:
                node.machine.tick(self.now_s)
        return frames


pairs = st.sampled_from([(a, b) for a in range(3) for b in range(3) if a != b])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("speak"), pairs),
        st.tuples(st.just("deliver"), pairs),
        st.tuples(st.just("deliver"), pairs),
        st.tuples(st.just("connect"), pairs),
        st.tuples(st.just("disconnect"), pairs),
        st.tuples(st.just("append"), pairs),
        st.tuples(st.just("tick"), pairs),
        st.tuples(st.just("toggle"), pairs),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(script=steps, links=st.sampled_from([[(0, 1)], [(0, 1), (1, 2)], [(0, 1), (2, 1), (0, 2)], [(1, 0), (2, 0)]]))
def test_any_schedule_ends_with_everybody_whole(
    script: list[tuple[str, tuple[int, int]]], links: list[tuple[int, int]]
) -> None:
    """Three nodes write their own feeds while links come and go; at the end those that are linked hold the same."""
    net = Net([Node({FEEDS[n]: 4 + n}, list(FEEDS[:3])) for n in range(3)])
    for one, other in links:
        net.connect(one, other)
    for what, (one, other) in script:
        if what == "connect" and (one, other) not in net.wires:
            net.connect(one, other)
        elif what == "disconnect":
            net.disconnect(one, other)
        elif what == "append":
            net.append(one, FEEDS[one])
        elif what == "toggle":
            net.toggle(one, FEEDS[other])
        elif what == "tick":
            net.now_s += 1
            for node in net.nodes:
                node.machine.tick(net.now_s)
        elif what in ("speak", "deliver") and (one, other) in net.wires:
            (net.speak if what == "speak" else net.deliver)(one, other)
    for one, other in links:
        if (one, other) not in net.wires:
            net.connect(one, other)
    for number, node in enumerate(net.nodes):
        for feed in set(FEEDS[:3]) - set(node.wanted):
            net.toggle(number, feed)
    net.settle()
    linked = sorted({n for link in [*links, *net.wires] for n in link})
    for feed in FEEDS[: len(linked)]:
        held = {net.nodes[n].log.get(feed, 0) for n in linked}
        assert held == {max(net.nodes[n].log.get(feed, 0) for n in range(3))}, (feed, [n.log for n in net.nodes])


@settings(max_examples=100)
@given(wants=st.lists(st.lists(st.sampled_from(FEEDS), unique=True, max_size=4), min_size=3, max_size=3))
def test_nobody_gets_what_it_does_not_want(wants: list[list[FeedId]]) -> None:
    net = Net([Node({FEEDS[n]: 5}, [*{FEEDS[n], *wants[n]}]) for n in range(3)])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        net.connect(one, other)
    net.settle()
    for n, node in enumerate(net.nodes):
        assert set(node.log) <= {FEEDS[n], *wants[n]}
        for feed in wants[n]:
            if feed in FEEDS[:3]:
                assert node.log.get(feed) == 5


def test_live_messages_travel_once_over_a_triangle() -> None:
    net = Net([Node({}, FEEDS[:3]) for _ in range(3)])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        net.connect(one, other)
    net.settle()
    for _ in range(100):
        net.append(0, FEEDS[0])
    frames = net.settle()
    assert all(node.log[FEEDS[0]] == 100 for node in net.nodes)
    assert frames < 320
