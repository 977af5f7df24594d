"""Sessions of the sealed dialect: bounded, for each peer too, and forgotten in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.signalhub import sessions
from ssb_rtc.signalhub.sessions import CROSSING_S, LETTERS_OF_A_SESSION_MAX, SESSION_LIFE_S, Session, Sessions
from ssb_rtc.types import PeerId

ANN, BEN = PeerId("ann"), PeerId("ben")


def test_a_session_lives_for_its_time_and_begins_once() -> None:
    table = Sessions()
    made = table.begin((ANN, "s"), 100.0, knocked=True)
    assert made is table.get((ANN, "s"), 100.0 + SESSION_LIFE_S - 1)
    assert table.begin((ANN, "s"), 101.0, knocked=False) is None
    assert table.begin((BEN, "s"), 101.0, knocked=False) is not None, "the same name, of another peer"
    assert table.get((ANN, "s"), 100.0 + SESSION_LIFE_S) is None
    assert table.begin((ANN, "s"), 100.0 + SESSION_LIFE_S, knocked=False) is not None


def test_one_peer_has_only_so_many() -> None:
    table = Sessions()
    made = [table.begin((ANN, str(n)), 0.0, knocked=False) for n in range(sessions.SESSIONS_OF_A_PEER_MAX + 1)]
    assert made[-1] is None
    assert None not in made[:-1]
    assert table.begin((BEN, "s"), 0.0, knocked=False) is not None


def test_strangers_fill_half_of_the_table_at_most() -> None:
    table, most = Sessions(), sessions.OPEN_SESSIONS_MAX
    for number in range(most):
        assert table.begin((PeerId(str(number)), "s"), 0.0, knocked=False, open_=True) is not None
    assert table.begin((ANN, "s"), 0.0, knocked=False, open_=True) is None
    for number in range(sessions.SESSIONS_MAX - most):
        assert table.begin((PeerId(str(number)), "t"), 0.0, knocked=True) is not None
    assert table.begin((ANN, "s"), 0.0, knocked=True) is None
    assert table.begin((ANN, "s"), SESSION_LIFE_S, knocked=False, open_=True) is not None
    assert len(table) == 1


def test_only_a_knock_of_ours_that_nobody_answered_crosses_the_newest_first() -> None:
    table = Sessions()
    assert table.crossing(ANN, 0.0) is None
    for at_s, name in ((0.0, "first"), (2.0, "second"), (3.0, "answered")):
        made = table.begin((ANN, name), at_s, knocked=True)
        assert made is not None
        made.theirs = b"key" if name == "answered" else None
    table.begin((ANN, "theirs"), 4.0, knocked=False)
    table.begin((BEN, "other"), 4.0, knocked=True)
    assert table.crossing(ANN, 4.0) == "second"
    assert table.crossing(ANN, 2.0 + CROSSING_S) is None


def test_a_knock_that_was_kept_back_is_overtaken_by_the_later_one() -> None:
    table = Sessions()
    assert not table.outdated(ANN, 5)
    table.begin((ANN, "new"), 0.0, knocked=False, time_ms=1_000)
    assert table.outdated(ANN, 999)
    assert not table.outdated(ANN, 1_000)
    assert not table.outdated(BEN, 1)
    table.get((ANN, "new"), SESSION_LIFE_S)
    assert not table.outdated(ANN, 999), "that session is over"


def test_a_letter_of_a_session_counts_once_and_they_are_so_many_at_most() -> None:
    session = Session(1.0, True, 0.0)
    assert [session.first(n) for n in (7, 7, 0)] == [True, False, True]
    assert all(session.first(n) for n in range(8, 8 + LETTERS_OF_A_SESSION_MAX - 2))
    assert not session.first(1_000_000)


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 3), st.integers(0, 50), st.booleans()), max_size=200))
def test_the_books_agree_whatever_happens(begun: list[tuple[float, int, int, bool]]) -> None:
    table, now_s = Sessions(), 0.0
    for pause_s, peer, name, is_open in begun:
        now_s += pause_s
        table.begin((PeerId(str(peer)), str(name)), now_s, knocked=False, open_=is_open)
        table.crossing(PeerId(str(peer)), now_s)
        assert sum(table._of_peer.values()) == len(table._sessions)
        assert set(table._newest_ms) == set(table._of_peer)
        assert table._open == sum(session.open for session in table._sessions.values())
        assert all(session.expires_s > now_s for session in table._sessions.values())
