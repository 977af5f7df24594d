"""A short run of what `make soak` does for half an hour."""

from __future__ import annotations

from tests.signalhub.client_fuzz import fuzz


async def test_two_friends_meet_beside_a_hub_that_says_anything() -> None:
    assert await fuzz(seconds=2.0, seed=1) > 100
