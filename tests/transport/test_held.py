"""Offers that wait, and candidates that came early: bounded and expiring."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.transport.held import (
    EARLY_SESSIONS_MAX,
    HELD_OFFERS_MAX,
    HELD_OFFERS_OF_A_PEER_MAX,
    HOLD_LIMIT_S,
    HeldOffers,
)
from ssb_rtc.transport.ice import REMOTE_CANDIDATES_MAX
from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.swarm import Signal

HUB = HubUrl("https://hub.example")
OFFER = Signal("offer", sdp="v=0")


def candidate(number: int) -> Signal:
    return Signal("candidate", candidate=f"candidate:{number}")


def peer(number: int) -> PeerId:
    return PeerId(f"@{number}")


def test_an_offer_is_taken_once_with_all_its_candidates_in_order() -> None:
    held = HeldOffers()
    key = (peer(1), "s")
    held.add_candidate(key, candidate(1), 0)
    assert held.hold(key, HUB, OFFER, 1)
    held.add_candidate(key, candidate(2), 2)
    assert not held.hold(key, HUB, OFFER, 2), "a copy"
    taken = held.take(key, 3)
    assert taken is not None
    assert (taken.hub, taken.offer, taken.candidates) == (HUB, OFFER, [candidate(1), candidate(2)])
    assert held.take(key, 3) is None


def test_offers_and_candidates_expire() -> None:
    held = HeldOffers()
    held.hold((peer(1), "s"), HUB, OFFER, 0)
    held.add_candidate((peer(2), "s"), candidate(1), 0)
    held.hold((peer(2), "s"), HUB, OFFER, HOLD_LIMIT_S)
    assert held.take((peer(1), "s"), HOLD_LIMIT_S) is None
    taken = held.take((peer(2), "s"), HOLD_LIMIT_S)
    assert taken is not None
    assert taken.candidates == []


def test_one_peer_can_not_fill_the_table_and_all_together_neither() -> None:
    held = HeldOffers()
    taken = [held.hold((peer(1), f"s{n}"), HUB, OFFER, 0) for n in range(10)]
    assert sum(taken) == HELD_OFFERS_OF_A_PEER_MAX
    taken = [held.hold((peer(n), "s"), HUB, OFFER, 0) for n in range(100, 300)]
    assert len(held) == HELD_OFFERS_MAX
    assert taken[0], "who was there first stays"
    for number in range(1000):
        held.add_candidate((peer(5), f"s{number}"), candidate(1), 0)
        held.add_candidate((peer(100), "s"), candidate(number), 0)
    assert len(held._early) == EARLY_SESSIONS_MAX
    found = held.take((peer(100), "s"), 0)
    assert found is not None
    assert len(found.candidates) == REMOTE_CANDIDATES_MAX


def test_what_came_over_a_hub_is_forgotten_with_it() -> None:
    held = HeldOffers()
    held.hold((peer(1), "s"), HUB, OFFER, 0)
    held.hold((peer(2), "s"), HubUrl("https://other.example"), OFFER, 0)
    held.drop_hub(HUB)
    assert held.take((peer(1), "s"), 0) is None
    assert held.take((peer(2), "s"), 0) is not None


def test_the_newest_offer_of_a_kind() -> None:
    held = HeldOffers()
    assert held.newest(peer(1), "u ") is None
    held.hold((peer(1), "u 1"), HUB, OFFER, 0)
    held.hold((peer(1), "named"), HUB, OFFER, 0)
    held.hold((peer(2), "u 2"), HUB, OFFER, 0)
    assert held.newest(peer(1), "u ") == (peer(1), "u 1")


@given(
    st.lists(st.tuples(st.sampled_from("hcted"), st.integers(0, 3), st.integers(0, 3), st.floats(0, 20)), max_size=60)
)
def test_the_table_stays_bounded_whatever_comes(steps: list[tuple[str, int, int, float]]) -> None:
    held, now_s = HeldOffers(), 0.0
    for what, who, session, passed_s in steps:
        key = (peer(who), f"s{session}")
        now_s += passed_s
        match what:
            case "h":
                held.hold(key, HUB, OFFER, now_s)
            case "c":
                held.add_candidate(key, candidate(session), now_s)
            case "t":
                taken = held.take(key, now_s)
                assert taken is None or taken.expires_s > now_s
            case "e":
                held.take_early(key)
            case _:
                held.drop_hub(HUB)
        assert all(sum(p == peer(n) for p, _ in held._offers) <= HELD_OFFERS_OF_A_PEER_MAX for n in range(4))
        assert not held._offers.keys() & held._early.keys()
