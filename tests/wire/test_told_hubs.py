"""Lists of hubs that peers tell each other: what is read of them, and which addresses are none for us."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import FrameInvalid
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.address import has_credentials, hub_host
from ssb_rtc.wire.told_hubs import TOLD_MAX, format_told, is_public_host, parse_told

GOOD = HubUrl("https://hub.example.org")
LOOPBACK = HubUrl("http://127.0.0.1:8000")

jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["url", "x"]), inner, max_size=2),
    max_leaves=12,
)


def told(*urls: Any) -> list[Any]:
    return [{"url": url} for url in urls]


def test_a_list_reads_back_the_same() -> None:
    hubs = (GOOD, HubUrl("https://[2606:4700::1111]:8443/path"), HubUrl("https://9.9.9.9"))
    assert parse_told(format_told(hubs)) == hubs


def test_only_so_many_are_told_or_read() -> None:
    many = [HubUrl(f"https://h{number}.example") for number in range(TOLD_MAX + 1)]
    assert parse_told(format_told(many)) == tuple(many[:TOLD_MAX])
    with pytest.raises(FrameInvalid, match="at most 64"):
        parse_told(told(*many))


def test_what_is_local_is_not_told_to_others() -> None:
    assert parse_told(format_told([HubUrl("https://hub.corp.internal"), HubUrl("https://10.0.0.1"), GOOD])) == (GOOD,)
    assert format_told([HubUrl("https://hub.lan")]) == []


@pytest.mark.parametrize("value", [None, {}, "https://hub.example", 7, {"url": GOOD}])
def test_what_is_no_list_is_refused(value: Any) -> None:
    with pytest.raises(FrameInvalid):
        parse_told(value)


def test_each_hub_once_in_its_one_spelling_and_the_rest_left_out() -> None:
    said = [*told("HTTPS://Hub.Example.org:443/", GOOD, "no hub at all", None, 7, ["x"]), "https://b.example", {}, None]
    assert parse_told(said) == (GOOD,)


@pytest.mark.parametrize(
    "url",
    [
        "http://hub.example.org",
        "https://user:pass@hub.example.org",
        "https://user@hub.example.org",
        "https://localhost",
        "https://hub.localhost",
        "https://127.0.0.1",
        "https://[::1]:8000",
        "https://10.1.2.3",
        "https://172.16.0.1",
        "https://192.168.1.1",
        "https://100.64.0.1",
        "https://169.254.169.254",
        "https://metadata.google.internal",
        "https://[fd00:ec2::254]",
        "https://[fe80::1]",
        "https://[fec0::1]",
        "https://[::ffff:10.0.0.1]",
        "https://[::ffff:169.254.169.254]",
        "https://[::a00:1]",
        "https://[64:ff9b::a9fe:a9fe]",
        "https://[64:ff9b:1::1]",
        "https://[2002:a00:1::1]",
        "https://[2001:0:a00:1::1]",
        "https://0.0.0.0",
        "https://[::]",
        "https://224.0.0.1",
        "https://255.255.255.255",
        "https://router",
        "https://printer.local",
        "https://nas.home.arpa",
        "https://hub.lan",
        "https://kubernetes.default.svc",
        "https://hub.onion",
        "ftp://hub.example.org",
        "javascript:alert(1)",
        "https://hub.example.org?x=1",
        "https://hub.example.org/../admin",
        "https://" + "a" * 2000,
    ],
)
def test_addresses_that_are_not_for_us(url: str) -> None:
    assert parse_told(told(url)) == ()


def test_addresses_come_normalised_so_unicode_is_not_looked_at() -> None:
    assert parse_told(told("https://bücher.example", "https://xn--bcher-kva.example")) == (
        HubUrl("https://xn--bcher-kva.example"),
    )


def test_who_meets_on_this_machine_may_be_told_of_hubs_there_and_of_nothing_else_local() -> None:
    said = told(LOOPBACK, "https://localhost:8443", "https://10.0.0.1", "http://hub.example.org", GOOD)
    assert parse_told(said, allow_loopback=True) == (LOOPBACK, "https://localhost:8443", GOOD)


def test_public_hosts() -> None:
    for host in ("hub.example.org", "9.9.9.9", "2606:4700::1111", "xn--bcher-kva.example", "2002:909:909::1"):
        assert is_public_host(host)


@given(jsons)
def test_outside_values_only_ever_raise_frame_invalid(value: Any) -> None:
    with suppress(FrameInvalid):
        for hub in parse_told(value):
            assert hub.startswith("https://")
            assert is_public_host(hub_host(hub))
            assert not has_credentials(hub)


@given(st.lists(st.text(max_size=40), max_size=5), st.booleans())
def test_whatever_is_taken_is_taken_again_the_same(urls: list[str], loopback: bool) -> None:
    hubs = parse_told(told(*urls), allow_loopback=loopback)
    assert parse_told(told(*hubs), allow_loopback=loopback) == hubs
