"""Who a client is: what a socket says, and what a proxy says that is trusted."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.clients import FORWARDED_HEADERS, Client, Proxies, client_of


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("127.0.0.1", Client("127.0.0.1", True)),
        ("127.9.9.9", Client("127.9.9.9", True)),
        ("::1", Client("::1", True)),
        ("::ffff:127.0.0.1", Client("127.0.0.1", True)),
        ("::ffff:192.0.2.7", Client("192.0.2.7", False)),
        ("192.0.2.7", Client("192.0.2.7", False)),
        ("2001:db8:1:2:3:4:5:6", Client("2001:db8:1:2::/64", False)),
        ("fe80::1%eth0", Client("fe80::/64", False)),
        ("nonsense", Client("nonsense", False)),
    ],
)
def test_a_socket_s_address(host: str, client: Client) -> None:
    assert client_of(host) == client


@pytest.mark.parametrize(
    ("said", "key"),
    [
        (b"192.0.2.1", "192.0.2.1"),
        (b"203.0.113.9, 192.0.2.1", "192.0.2.1"),
        (b"127.0.0.1, 192.0.2.1", "192.0.2.1"),
        (b"192.0.2.1, 10.0.0.7", "192.0.2.1"),
        (b"192.0.2.1, 10.0.0.7, 10.0.0.8", "192.0.2.1"),
        (b"192.0.2.1:4711", "192.0.2.1"),
        (b"2001:db8::1", "2001:db8::/64"),
        (b"[2001:db8::1]:4711", "2001:db8::/64"),
        (b"192.0.2.1, unknown", "10.0.0.1"),
        (b"192.0.2.1, unknown, 10.0.0.7", "10.0.0.7"),
        (b"", "10.0.0.1"),
        (b"10.0.0.7", "10.0.0.7"),
        (b"\xff\xfe, ,", "10.0.0.1"),
        (b"192.0.2.1," + b"10.0.0.7," * 15 + b"10.0.0.8", "10.0.0.7"),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_client(said: bytes, key: str) -> None:
    proxies = Proxies(["10.0.0.0/8"])
    assert proxies.trusts("10.0.0.1")
    assert not proxies.trusts("192.0.2.1")
    assert proxies.behind("10.0.0.1", said) == Client(key, False)


@pytest.mark.parametrize(
    ("said", "key"),
    [
        (b"for=192.0.2.1", "192.0.2.1"),
        (b"For=203.0.113.9;proto=http, for=192.0.2.1;by=10.0.0.1", "192.0.2.1"),
        (b'for="[2001:db8::1]:4711"', "2001:db8::/64"),
        (b'for="203.0.113.9, for=198.51.100.1", for = "192.0.2.1:80"', "192.0.2.1"),
        (b"for=_hidden", "10.0.0.1"),
        (b"proto=https", "10.0.0.1"),
        (b'by="x;for=203.0.113.9"; for=192.0.2.1', "192.0.2.1"),
        (b'for="x, for="192.0.2.1:80"', "192.0.2.1"),
        (b'for=203.0.113.9;x=", for="[2001:db8::1]"', "2001:db8::/64"),
        (b'for=10.0.0.1;x="\\", for="[2001:db8::1]:4711"', "2001:db8::/64"),
    ],
)
def test_forwarded_is_read_as_rfc_7239_writes_it(said: bytes, key: str) -> None:
    assert Proxies(["10.0.0.1"], b"forwarded").behind("10.0.0.1", said) == Client(key, False)


@given(st.binary(max_size=200), st.sampled_from(FORWARDED_HEADERS))
def test_whatever_a_header_says_there_is_a_client(said: bytes, header: bytes) -> None:
    client = Proxies(["10.0.0.0/8", "::1"], header).behind("10.0.0.1", said)
    ipaddress.ip_network(client.key)


def test_a_spoofed_header_in_front_changes_nothing() -> None:
    proxies = Proxies(["127.0.0.1", "::1"])
    for lie in (b"127.0.0.1", b"1.1.1.1", b"unknown", b'"'):
        assert proxies.behind("127.0.0.1", lie + b", 192.0.2.1").key == "192.0.2.1"


def test_a_quote_that_the_client_opens_does_not_swallow_what_the_proxy_says() -> None:
    proxies = Proxies(["127.0.0.1", "::1"], b"forwarded")
    for lie in (b'for=127.0.0.1;x="', b'for=203.0.113.9;x="', b'"', b'for="\\"', b'for="\\'):
        for said in (
            b'for="[2001:db8::1]"',
            b'for="[2001:db8::1]:4711";proto=https',
            b'proto="https";for="[2001:db8::1]"',
        ):
            assert proxies.behind("127.0.0.1", lie + b", " + said) == Client("2001:db8::/64", False)


def test_who_hides_behind_a_proxy_on_this_machine_is_not_this_machine() -> None:
    for header, said in (
        (b"x-forwarded-for", b"unknown"),
        (b"forwarded", b"proto=https"),
        (b"forwarded", b"for=127.0.0.1;for=127.0.0.1"),
    ):
        assert Proxies(["127.0.0.1"], header).behind("127.0.0.1", said) == Client("127.0.0.1", False)


def test_networks_that_are_none_are_a_clear_sentence() -> None:
    with pytest.raises(ConfigFault, match="--trusted-proxy takes an address or a network"):
        Proxies(["example.org"])
