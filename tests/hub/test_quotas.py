"""What each client and each channel may take."""

from __future__ import annotations

from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.quotas import SITE_FACTOR, Quotas
from ssb_rtc.hub.rates import Rate

SLOW = Rate(0.1, 2, 1e6, 1e6)
QUICK = Rate(100, 100, 1e6, 1e6)


def test_connections_are_counted_for_each_client() -> None:
    quotas = Quotas(HubLimits(connections_per_address_max=2))
    assert [quotas.opened(client) for client in "aabaa"] == [True, True, True, False, False]
    for _ in range(3):
        quotas.closed("a")
    assert quotas.opened("a")
    assert not quotas.opened("a")


def test_subscriptions_and_requests_are_counted_for_each_client() -> None:
    quotas = Quotas(HubLimits(subscriptions_per_address_max=5, address_requests_s=0.1, address_requests_burst=2))
    assert [quotas.subscribed(client, 3, 0.0) for client in "cce"] == [True, False, True]
    assert quotas.subscribed("c", 2, 0.0)
    quotas.unsubscribed("c", 3)
    assert quotas.subscribed("c", 3, 0.0)
    assert quotas.asked("c", 0.0) == 40, "two, less the two, one and two channels that were more than one"
    assert [quotas.asked(client, 0.0) for client in "aaab"] == [0, 0, 10, 0]
    assert quotas.asked("a", 10.0) == 0


def test_a_post_is_charged_to_its_client_and_its_channel_or_to_neither() -> None:
    quotas = Quotas(HubLimits(address_rate=SLOW, channel_rate=QUICK))
    assert [quotas.charge("a", b"x", 1, 0.0) for _ in range(3)] == [0, 0, 10]
    assert quotas.charge("b", b"x", 1, 0.0) == 0
    quotas = Quotas(HubLimits(address_rate=QUICK, channel_rate=SLOW))
    assert [quotas.charge(client, b"x", 1, 0.0) for client in "abc"] == [0, 0, 10]
    assert quotas.charge("c", b"y", 1, 0.0) == 0


def test_long_channel_names_have_rates_of_their_own() -> None:
    quotas = Quotas(HubLimits(address_rate=QUICK, channel_rate=SLOW))
    long = b"x" * 10_000
    assert [quotas.charge("a", long, 1, 0.0) for _ in range(3)] == [0, 0, 10]
    assert quotas.charge("a", long + b"y", 1, 0.0) == 0


def test_all_the_64s_of_a_48_have_limits_together() -> None:
    of_48 = [f"2001:db8:1:{number:x}::/64" for number in range(4 * SITE_FACTOR)]
    elsewhere = "2001:db8:2::/64"
    quotas = Quotas(HubLimits(address_rate=SLOW, connections_per_address_max=2, subscriptions_per_address_max=2))
    assert sum(quotas.charge(client, b"x", 1, 0.0) == 0 for client in of_48) == 2 * SITE_FACTOR
    assert sum(quotas.opened(client) for client in of_48) == 2 * SITE_FACTOR
    assert sum(quotas.subscribed(client, 1, 0.0) for client in of_48) == 2 * SITE_FACTOR
    assert (quotas.charge(elsewhere, b"x", 1, 0.0), quotas.opened(elsewhere)) == (0, True)
    assert quotas.subscribed(elsewhere, 1, 0.0)
    for client in of_48:
        quotas.closed(client)
    assert quotas.opened(of_48[-1])
    quotas = Quotas(HubLimits(address_requests_s=0.1, address_requests_burst=2))
    assert sum(quotas.asked(client, 0.0) == 0 for client in of_48) == 2 * SITE_FACTOR
    assert quotas.asked(elsewhere, 0.0) == 0
