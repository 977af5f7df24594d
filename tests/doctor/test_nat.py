"""What kind of NAT it is, from what servers saw: against NATs made up by RFC 4787's own words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.doctor.findings import State
from ssb_rtc.doctor.nat import (
    SYMMETRIC,
    Filtering,
    Mapping,
    Place,
    Relays,
    Seen,
    filtering_of,
    mapping_of,
    verdict,
)

LOCAL = ("10.0.1.2", 5_000)
OUTER = "203.0.113.11"
NO_RELAY, RELAY = Relays(configured=False, working=False), Relays(configured=True, working=True)
PRIMARY, OTHER_PORT = ("192.0.2.1", 3_478), ("192.0.2.1", 3_479)
OTHER_HOST, OTHER_BOTH = ("192.0.2.2", 3_478), ("192.0.2.2", 3_479)

KEYS: dict[Mapping, Callable[[Place], object]] = {
    Mapping.ENDPOINT_INDEPENDENT: lambda _server: None,
    Mapping.ADDRESS_DEPENDENT: lambda server: server[0],
    Mapping.ADDRESS_AND_PORT_DEPENDENT: lambda server: server,
}
"""On what of the other side a NAT's outer port hangs."""

places = st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2", "192.0.2.3"]), st.integers(1, 4))


def seen_through(kind: Mapping, servers: Sequence[Place]) -> list[Seen]:
    """What these servers see of one socket behind a NAT of that kind; each new mapping gets the next port."""
    ports: dict[object, int] = {}
    return [Seen(at, (OUTER, ports.setdefault(KEYS[kind](at), 40_000 + len(ports)))) for at in servers]


@given(st.sampled_from(list(KEYS)), st.lists(places, unique=True, max_size=6))
def test_what_is_said_is_true_and_as_much_as_the_servers_can_tell(kind: Mapping, servers: list[Place]) -> None:
    found = mapping_of(LOCAL, seen_through(kind, servers))
    hosts = {host for host, _ in servers}
    two_ports = len(servers) > len(hosts)
    if found is Mapping.DEPENDENT:
        assert kind in SYMMETRIC
        assert not two_ports
    elif found is not Mapping.UNKNOWN:
        assert found is kind
    if len(hosts) > 1:
        assert found is not Mapping.UNKNOWN


@given(st.sampled_from(list(KEYS)), st.lists(places, unique=True, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(kind: Mapping, servers: list[Place], chance: Random) -> None:
    seen = seen_through(kind, servers)
    shuffled = list(seen)
    chance.shuffle(shuffled)
    assert mapping_of(LOCAL, shuffled) is mapping_of(LOCAL, seen)


@given(st.lists(places, unique=True, min_size=1, max_size=6))
def test_who_is_seen_at_its_own_address_has_no_nat(servers: list[Place]) -> None:
    assert mapping_of(LOCAL, [Seen(at, LOCAL) for at in servers]) is Mapping.NONE


@pytest.mark.parametrize(
    ("kind", "servers", "found"),
    [
        (Mapping.ENDPOINT_INDEPENDENT, [], Mapping.UNKNOWN),
        (Mapping.ENDPOINT_INDEPENDENT, [PRIMARY], Mapping.UNKNOWN),
        (Mapping.ENDPOINT_INDEPENDENT, [PRIMARY, OTHER_PORT], Mapping.UNKNOWN),
        (Mapping.ENDPOINT_INDEPENDENT, [PRIMARY, OTHER_HOST], Mapping.ENDPOINT_INDEPENDENT),
        (Mapping.ADDRESS_DEPENDENT, [PRIMARY, OTHER_HOST], Mapping.DEPENDENT),
        (Mapping.ADDRESS_DEPENDENT, [PRIMARY, OTHER_HOST, OTHER_BOTH], Mapping.ADDRESS_DEPENDENT),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, [PRIMARY, OTHER_HOST], Mapping.DEPENDENT),
        (Mapping.ADDRESS_AND_PORT_DEPENDENT, [PRIMARY, OTHER_HOST, OTHER_BOTH], Mapping.ADDRESS_AND_PORT_DEPENDENT),
    ],
)
def test_the_mapping_that_rfc_5780_finds(kind: Mapping, servers: list[Place], found: Mapping) -> None:
    assert mapping_of(LOCAL, seen_through(kind, servers)) is found


@pytest.mark.parametrize(
    ("from_other_address", "from_other_port", "found"),
    [
        (True, True, Filtering.ENDPOINT_INDEPENDENT),
        (True, None, Filtering.ENDPOINT_INDEPENDENT),
        (False, True, Filtering.ADDRESS_DEPENDENT),
        (False, False, Filtering.ADDRESS_AND_PORT_DEPENDENT),
        (False, None, Filtering.UNKNOWN),
        (None, False, Filtering.UNKNOWN),
        (None, None, Filtering.UNKNOWN),
    ],
)
def test_the_filtering(from_other_address: bool | None, from_other_port: bool | None, found: Filtering) -> None:
    assert filtering_of(from_other_address, from_other_port) is found


@given(st.sampled_from(Mapping), st.sampled_from(Filtering), st.sampled_from([NO_RELAY, RELAY, Relays(True, False)]))
def test_only_a_symmetric_nat_without_a_relay_is_a_fault(
    mapping: Mapping, filtering: Filtering, relays: Relays
) -> None:
    found = verdict(mapping, filtering, (OUTER, 1), relays)
    assert found.facts == {"mapping": str(mapping), "filtering": str(filtering), "public": OUTER}
    assert (found.state is State.WARNING) == (mapping in SYMMETRIC and not relays.working)
    assert ("symmetric NAT" in found.seen.split(";")[0]) == (mapping in SYMMETRIC)
    assert ("--turn" in found.remedy) == (found.state is State.WARNING)
    assert found.seen.endswith(".")


@pytest.mark.parametrize(
    ("mapping", "filtering", "name"),
    [
        (Mapping.NONE, Filtering.ENDPOINT_INDEPENDENT, "No NAT, and no firewall"),
        (Mapping.NONE, Filtering.ADDRESS_AND_PORT_DEPENDENT, "No NAT, and a firewall"),
        (Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT, "A full-cone NAT"),
        (Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT, "An address-restricted cone NAT"),
        (Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT, "A port-restricted cone NAT"),
        (Mapping.ENDPOINT_INDEPENDENT, Filtering.UNKNOWN, "A cone NAT"),
        (Mapping.DEPENDENT, Filtering.UNKNOWN, "A symmetric NAT"),
        (Mapping.UNKNOWN, Filtering.UNKNOWN, "A NAT of a kind that one server can't tell"),
    ],
)
def test_each_kind_has_the_name_that_people_use(mapping: Mapping, filtering: Filtering, name: str) -> None:
    assert verdict(mapping, filtering, (OUTER, 1), NO_RELAY).seen.startswith(name)
