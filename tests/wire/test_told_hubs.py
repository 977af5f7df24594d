"""Addresses of hubs that peers tell each other: which are none for us, by their form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.types import HubUrl
from ssb_rtc.wire.address import has_credentials, hub_host, normalise_hub
from ssb_rtc.wire.told_hubs import is_fit, is_public_host

GOOD = "https://hub.example.org"


def test_addresses_that_are() -> None:
    for url in (GOOD, "https://[2606:4700::1111]:8443/path", "https://9.9.9.9", "https://xn--bcher-kva.example"):
        assert is_fit(url)


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
        "https://192.0.0.192",
        "https://168.63.129.16",
        "https://192.88.99.1",
        "https://[2603::5efe:a00:1]",
        "https://[2603::200:5efe:7f00:1]",
        "https://hub.example.org/" + "a/" * 400 + "%4",
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
        "HTTPS://Hub.Example.org",
        "https://hub.example.org/",
        "https://hub.example.org:443",
        "https://bücher.example",
        "hub.example.org",
        "no hub at all",
        "",
    ],
)
def test_addresses_that_are_not_for_us(url: str) -> None:
    assert not is_fit(url)


def test_who_meets_on_this_machine_may_be_told_of_hubs_there_and_of_nothing_else_local() -> None:
    for url in ("http://127.0.0.1:8000", "https://localhost:8443", GOOD):
        assert is_fit(url, allow_loopback=True)
    for url in ("https://10.0.0.1", "http://hub.example.org", "https://169.254.169.254"):
        assert not is_fit(url, allow_loopback=True)


def test_public_hosts() -> None:
    for host in ("hub.example.org", "9.9.9.9", "2606:4700::1111", "xn--bcher-kva.example", "2002:909:909::1"):
        assert is_public_host(host)


@given(st.text(max_size=40) | st.text(max_size=30).map("https://".__add__), st.booleans())
def test_whatever_is_fit_is_an_address_in_its_one_spelling(url: str, loopback: bool) -> None:
    if is_fit(url, allow_loopback=loopback):
        hub = normalise_hub(url)
        assert hub == url
        assert not has_credentials(HubUrl(url))
        assert loopback or is_public_host(hub_host(hub))
