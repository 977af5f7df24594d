"""What changes among the peers, from look to look; and how hubs fared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ssb_rtc.manager import actions as a
from ssb_rtc.plugins.base import Progress
from ssb_rtc.runtime import hub_history
from ssb_rtc.runtime.hub_history import HubHistory
from ssb_rtc.runtime.peer_watch import ROWS_MAX, TURN_LOOKS, PeerWatch
from ssb_rtc.runtime.rows import PeerRows, hub_rows
from ssb_rtc.testing import keys_of
from ssb_rtc.types import JsonObject, PeerId, peer_of
from tests.manager.names import AMY, BOB, CAROL, DAVE, ONE, TWO
from tests.manager.story import Story


@dataclass
class _Link:
    """What of a link a row shows."""

    transport: str = "rtc"
    bytes_in: int = 0
    bytes_out: int = 0


class _Links:
    """Every number is a link."""

    def __init__(self) -> None:
        self.link = _Link()

    def get(self, number: int) -> Any:
        return self.link


class _Page:
    """A page that follows a story."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.links = _Links()
        self.progress: dict[PeerId, Progress] = {}
        self.watch = PeerWatch(lambda: msgspec.structs.replace(story.state, now=story.now), self.links, self.progress)
        self.rows: dict[PeerId, JsonObject] = {}

    def look(self, *renamed: PeerId) -> set[PeerId]:
        """Whose rows came; those who are gone are taken away."""
        changed, gone = self.watch.look(renamed)
        self.rows.update((row["id"], row) for row in changed)
        for peer in gone:
            del self.rows[peer]
        return {row["id"] for row in changed}


def test_only_what_changed_is_told() -> None:
    story = Story()
    page = _Page(story)
    story.announce(AMY)
    story.announce(BOB)
    assert page.look() == {AMY, BOB}
    assert page.look() == set()
    story.succeed(AMY)
    page.look()
    assert (page.rows[AMY]["state"], page.rows[AMY]["transport"]) == ("CONNECTED", "rtc")
    story.pass_time(5)
    page.look()
    assert page.look() == set(), "that it is linked for longer is no news"
    page.progress[AMY] = Progress(received=3, missing=4)
    assert page.look() == {AMY}
    assert (page.rows[AMY]["received"], page.rows[AMY]["missing"]) == (3, 4)
    assert page.look(BOB) == {BOB}


def test_rates_are_what_came_between_two_looks() -> None:
    story = Story()
    page = _Page(story)
    story.meet(AMY)
    page.look()
    page.links.link.bytes_in, page.links.link.bytes_out = 3_000, 500
    story.pass_time(2)
    page.look()
    assert (page.rows[AMY]["rate_in"], page.rows[AMY]["rate_out"], page.rows[AMY]["bytes_in"]) == (1_500, 250, 3_000)
    story.pass_time(1)
    page.look()
    assert page.rows[AMY]["rate_in"] == 0
    page.links.link.bytes_in = 10
    story.pass_time(1)
    page.look()
    assert page.rows[AMY]["rate_in"] == 0, "another link"


def test_friends_pinned_and_blocked_peers_are_shown_though_nobody_has_met_them() -> None:
    story = Story()
    page = _Page(story)
    story.do(a.HopsDidChange(((AMY, 1), (BOB, 2))))
    story.do(a.PeerPinned(CAROL))
    story.announce(DAVE)
    page.look()
    assert {peer: (row["hops"], row["pinned"]) for peer, row in page.rows.items()} == {
        AMY: (1, False), CAROL: (None, True), DAVE: (None, False)
    }  # fmt: skip
    assert "not announced itself" in page.rows[AMY]["reason"]
    story.do(a.PeerBlocked(DAVE))
    page.look()
    assert (page.rows[DAVE]["blocked"], page.rows[DAVE]["reason"]) == (True, "the peer is blocked")
    story.do(a.HopsDidChange(((AMY, None),)))
    story.do(a.PeerUnblocked(DAVE))
    page.look()
    assert set(page.rows) == {CAROL}


def test_a_look_at_a_crowd_is_bounded() -> None:
    story = Story()
    page = _Page(story)
    page.look()
    everybody = [peer_of(keys_of(number).id) for number in range(400)]
    story.announce(AMY)
    page.look()
    story.do(a.HopsDidChange(tuple((peer, 1) for peer in everybody)))
    assert len(page.look()) <= ROWS_MAX + 1
    page.look()
    assert page.rows.keys() >= set(everybody)


verbs = st.sampled_from(["announce", "fail", "succeed", "end", "block", "unblock", "hop", "unhop", "time", "look"])


@settings(max_examples=40)
@given(st.lists(st.tuples(verbs, st.sampled_from([AMY, BOB, CAROL, DAVE])), max_size=30))
def test_after_enough_looks_a_page_shows_what_a_new_one_would(steps: list[tuple[str, PeerId]]) -> None:
    story = Story()
    page = _Page(story)
    page.look()
    for verb, peer in steps:
        row = story.state.peers.get(peer)
        match verb:
            case "announce":
                story.announce(peer)
            case "fail" if row is not None and row.attempt is not None:
                story.fail(peer)
            case "succeed" if row is not None and row.attempt is not None:
                story.succeed(peer)
            case "end" if row is not None and row.link is not None:
                story.end(peer)
            case "block":
                story.do(a.PeerBlocked(peer))
            case "unblock":
                story.do(a.PeerUnblocked(peer))
            case "hop" | "unhop":
                story.do(a.HopsDidChange(((peer, 1 if verb == "hop" else None),)))
            case "time":
                story.pass_time(7)
            case "look":
                page.look()
    for _ in range(2 * TURN_LOOKS):
        page.look()
    fresh = _Page(story)
    fresh.look()
    assert page.rows.keys() == fresh.rows.keys()
    for peer, shown in fresh.rows.items():
        passing = {"linked_s": None, "reason": None} if shown["linked_s"] is not None else {}
        assert {**page.rows[peer], **passing} == {**shown, **passing}


def test_rows_of_unknown_peers_have_the_same_fields() -> None:
    story = Story()
    story.announce(AMY)
    rows = PeerRows(story.state, _Links(), {})
    assert list(rows.row(AMY)) == list(rows.row(BOB))


def test_the_history_of_a_hub_is_short_and_ends_with_it() -> None:
    story, history = Story(hubs=()), HubHistory()

    def do(action: a.Action) -> None:
        history.observe(story.state, action, story.do(action))
        history.observe(story.state, action, ())

    def retry() -> None:
        while story.hub().connection is None:
            story.pass_time(60)
            history.observe(story.state, a.ShutdownRequested(), ())

    do(a.HubAddressAdded(ONE, stored=True))
    do(a.HubConnectionSucceeded(ONE, story.connection()))
    assert [state for _, state in history.of(ONE)] == ["CONNECTING", "CONNECTED"]
    for _ in range(hub_history.CHANGES_MAX):
        do(a.HubConnectionLost(ONE, story.connection(), "silent"))
        retry()
        do(a.HubConnectionSucceeded(ONE, story.connection()))
    changes = history.of(ONE)
    assert len(changes) == hub_history.CHANGES_MAX
    assert changes == sorted(changes, key=lambda change: change[0])
    (row,) = hub_rows(story.state, history)
    assert row["history"] == [list(change) for change in changes]
    do(a.HubAddressRemoved(ONE))
    assert history.of(ONE) == []
    assert history.of(TWO) == []
