"""Multiserver addresses and hub URLs: the field's grammar, our own spelling, and nonsense."""

from __future__ import annotations

import base64
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.types import HubUrl
from ssb_rtc.wire.address import (
    Address,
    NetTarget,
    Protocol,
    RtcTarget,
    UnixTarget,
    WsTarget,
    format_addresses,
    has_credentials,
    hub_host,
    is_loopback,
    net_address,
    normalise_hub,
    parse,
    rtc_address,
    target,
    unix_address,
    ws_address,
)

KEY = bytes(range(32))
KEY_TEXT = base64.b64encode(KEY).decode()

names = st.from_regex(r"[a-z][a-z0-9\-]{1,8}", fullmatch=True)
fields = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12)
protocols = st.builds(Protocol, names, st.lists(fields, max_size=4).map(tuple))
addresses = st.builds(Address, st.lists(protocols, min_size=1, max_size=3).map(tuple))


def load_cases(vectors: Path) -> list[dict[str, Any]]:
    return list(json.loads((vectors / "multiserver-address" / "cases.json").read_text()))


def shape(parsed: list[Address]) -> list[list[dict[str, Any]]]:
    return [[{"name": p.name, "data": list(p.data)} for p in address.protocols] for address in parsed]


def test_all_random_addresses_of_the_field(vectors: Path) -> None:
    lines = (vectors / "multiserver-address" / "random-valid.txt").read_text().splitlines()
    assert len(lines) == 100
    for line in lines:
        parsed = parse(line)
        assert format_addresses(parsed) == line
        assert parse(format_addresses(parsed)) == parsed


def test_all_cases_of_the_field(vectors: Path) -> None:
    cases = load_cases(vectors)
    assert {case["check"] for case in cases} == {True, False}
    for case in cases:
        if not case["check"]:
            with pytest.raises(ConfigFault, match="no multiserver address"):
                parse(case["in"])
            continue
        parsed = parse(case["in"])
        assert shape(parsed) == case["decode"], case["in"]
        # JavaScript's encode forgets to escape; ours gives what was read.
        assert format_addresses(parsed) == case["in"]
        if "!" not in case["in"]:
            assert format_addresses(parsed) == case["encode"]


@pytest.mark.parametrize("text", ["net:a\n", "\nnet:a", "net:a~", "net:a;", ";net:a", "net:a!", "net:!a", "né:a", "a"])
def test_more_that_is_no_address(text: str) -> None:
    with pytest.raises(ConfigFault):
        parse(text)


def test_overlong_addresses_are_refused() -> None:
    with pytest.raises(ConfigFault, match="at most 8192"):
        parse("net:" + "a" * 9000)


@given(st.lists(addresses, min_size=1, max_size=3))
def test_what_is_formatted_reads_back_the_same(given_addresses: list[Address]) -> None:
    assert parse(format_addresses(given_addresses)) == given_addresses


@given(st.one_of(st.text(max_size=60), st.text(st.sampled_from("ab1-!:;~/[]@ "), max_size=40)))
def test_outside_text_only_ever_raises_config_fault(text: str) -> None:
    try:
        parsed = parse(text)
    except ConfigFault:
        return
    assert format_addresses(parsed) == text
    for address in parsed:
        with suppress(ConfigFault):
            target(address)


def test_the_grammar_agrees_with_javascripts_check() -> None:
    name, data = r"[a-z][a-z\-0-9]+", r'(?:["-9]|[<-}]|![!~:;])*'
    protocol = f"{name}(?::{data})*"
    address = f"{protocol}(?:~{protocol})*"
    check = re.compile(f"{address}(?:;{address})*")

    @given(st.text(st.sampled_from("ab1-!:;~ \n\x7f\u00e9"), max_size=12))
    def agree(text: str) -> None:
        try:
            parse(text)
        except ConfigFault:
            assert not check.fullmatch(text)
        else:
            assert check.fullmatch(text)

    agree()


def test_what_cannot_be_formatted() -> None:
    with pytest.raises(MisuseError, match="printable ASCII"):
        format_addresses([Address((Protocol("net", ("a b",)),))])
    with pytest.raises(MisuseError, match="at least one protocol"):
        format_addresses([])
    with pytest.raises(MisuseError):
        format_addresses([Address((Protocol("n"),))])


# --- where addresses lead to ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"net:example.com:8008~shs:{KEY_TEXT}", NetTarget("example.com", 8008, KEY)),
        (f"net:example.com~shs:{KEY_TEXT}", NetTarget("example.com", 8008, KEY)),
        (f"net:!:!:1:8009~shs:{KEY_TEXT}", NetTarget("::1", 8009, KEY)),
        (f"net:[::1]:8008~shs:{KEY_TEXT}", NetTarget("::1", 8008, KEY)),
        (f"net:[!:!:1]:8008~shs:{KEY_TEXT}", NetTarget("::1", 8008, KEY)),
        (f"net:example.com:8008~shs:{KEY_TEXT}:seed", NetTarget("example.com", 8008, KEY)),
        (f"net:example.com:8008~shs:@{KEY_TEXT}.ed25519", NetTarget("example.com", 8008, KEY)),
        ("net:example.com:8008", NetTarget("example.com", 8008, None)),
        ("net:example.com:8008~shs:AAAA", NetTarget("example.com", 8008, None)),
        (f"ws://example.com:8989~shs:{KEY_TEXT}", WsTarget("ws://example.com:8989", KEY)),
        (f"wss://example.com~shs:{KEY_TEXT}", WsTarget("wss://example.com", KEY)),
        (f"ws:example.com:8989~shs:{KEY_TEXT}", WsTarget("ws://example.com:8989", KEY)),
        (f"ws:!:!:1:8989~shs:{KEY_TEXT}", WsTarget("ws://[::1]:8989", KEY)),
        ("unix:/run/peer/socket~noauth", UnixTarget("/run/peer/socket", None)),
        (f"rtc:hub.example.com~shs:{KEY_TEXT}", RtcTarget(HubUrl("https://hub.example.com"), KEY)),
        (f"rtc:hub.example.com:8443~shs:{KEY_TEXT}", RtcTarget(HubUrl("https://hub.example.com:8443"), KEY)),
        (f"rtc:!:!:1:8443~shs:{KEY_TEXT}", RtcTarget(HubUrl("https://[::1]:8443"), KEY)),
        (f"rtc:https!://example.com/hub~shs:{KEY_TEXT}", RtcTarget(HubUrl("https://example.com/hub"), KEY)),
        (f"rtc:https://example.com/hub~shs:{KEY_TEXT}", RtcTarget(HubUrl("https://example.com/hub"), KEY)),
        (f"rtc:http!://127.0.0.1!:9000~shs:{KEY_TEXT}", RtcTarget(HubUrl("http://127.0.0.1:9000"), KEY)),
    ],
)
def test_targets(text: str, expected: Any) -> None:
    assert target(parse(text)[0]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "net",
        "net:",
        "net::8008",
        "net:example.com:0",
        "net:example.com:65536",
        "net:example.com:http",
        "net:a:1:2",
        "ws:example.com",
        "unix:",
        "tunnel:a:b",
        "rtc:hub.example.com",
        "rtc:hub.example.com~shs:AAAA",
        f"rtc:~shs:{KEY_TEXT}",
        f"rtc:hub.example.com/path~shs:{KEY_TEXT}",
        f"rtc:hub.example.com:1:2~shs:{KEY_TEXT}",
        f"rtc:http!://hub.example.com~shs:{KEY_TEXT}",
        f"rtc:user@hub.example.com~shs:{KEY_TEXT}",
    ],
)
def test_addresses_that_lead_nowhere(text: str) -> None:
    with pytest.raises(ConfigFault):
        target(parse(text)[0])


@pytest.mark.parametrize(
    ("hub", "text"),
    [
        ("https://hub.example.com", "rtc:hub.example.com"),
        ("https://hub.example.com:8443", "rtc:hub.example.com:8443"),
        ("https://[2001:db8::1]", "rtc:2001!:db8!:!:1"),
        ("https://[2001:db8::1]:8443", "rtc:2001!:db8!:!:1:8443"),
        ("https://example.com/hub", "rtc:https!://example.com/hub"),
        ("https://me:secret@example.com", "rtc:https!://me!:secret@example.com"),
        ("http://127.0.0.1:9000", "rtc:http!://127.0.0.1!:9000"),
        ("http://[::1]:9000", "rtc:http!://[!:!:1]!:9000"),
    ],
)
def test_rtc_addresses_there_and_back(hub: str, text: str) -> None:
    made = rtc_address(HubUrl(hub), KEY)
    assert made == f"{text}~shs:{KEY_TEXT}"
    (address,) = parse(made)
    assert target(address) == RtcTarget(HubUrl(hub), KEY)
    assert str(address) == made


def test_an_allowed_http_hub_there_and_back() -> None:
    hub = normalise_hub("http://hub.lan:9000", allow_http=["hub.lan"])
    (address,) = parse(rtc_address(hub, KEY))
    assert target(address, allow_http=["hub.lan"]) == RtcTarget(hub, KEY)


def test_other_addresses_there_and_back() -> None:
    assert net_address("::1", 8008, KEY) == f"net:!:!:1:8008~shs:{KEY_TEXT}"
    assert target(parse(net_address("::1", 8008, KEY))[0]) == NetTarget("::1", 8008, KEY)
    assert ws_address("ws://example.com:80/x", KEY) == f"ws://example.com:80/x~shs:{KEY_TEXT}"
    assert target(parse(ws_address("wss://h:1", KEY))[0]) == WsTarget("wss://h:1", KEY)
    assert unix_address("/tmp/a:b!c;d~e") == "unix:/tmp/a!:b!!c!;d!~e~noauth"
    assert target(parse(unix_address("/tmp/a:b!c;d~e"))[0]) == UnixTarget("/tmp/a:b!c;d~e", None)
    assert target(parse(unix_address("/s", KEY))[0]) == UnixTarget("/s", KEY)
    with pytest.raises(MisuseError, match="32 bytes"):
        net_address("h", 1, b"short")
    with pytest.raises(MisuseError, match="no ws"):
        ws_address("http://h", KEY)


# --- hub URLs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hub.example.com", "https://hub.example.com"),
        (" HUB.Example.COM/ ", "https://hub.example.com"),
        ("HTTPS://hub.example.com:443/", "https://hub.example.com"),
        ("https://hub.example.com:8443//", "https://hub.example.com:8443"),
        ("hub.example.com:8443", "https://hub.example.com:8443"),
        ("https://hub.example.com.", "https://hub.example.com"),
        ("https://example.com/a/b/", "https://example.com/a/b"),
        ("https://example.com/A%20b", "https://example.com/A%20b"),
        ("https://me:s%40t@Example.com/", "https://me:s%40t@example.com"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://192.0.2.7", "https://192.0.2.7"),
        ("https://[2001:DB8:0::1]:443", "https://[2001:db8::1]"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("localhost:9000", "https://localhost:9000"),
        ("http://localhost:80", "http://localhost"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://hub.localhost", "http://hub.localhost"),
    ],
)
def test_hubs_are_normalised(text: str, expected: str) -> None:
    assert normalise_hub(text) == expected
    assert normalise_hub(expected) == expected


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "write it like https://"),
        ("https://", "no name"),
        ("x" * 2000, "at most 1024"),
        ("http://hub.example.com", "write https://, or allow it for this host with --allow-http hub.example.com"),
        ("http://192.168.0.7", "write https://"),
        ("http://localhost.example.com", "write https://"),
        ("ftp://hub.example.com", "write https://"),
        ("wss://hub.example.com", "write https://"),
        ("https://hub.example.com?x=1", "no query"),
        ("https://hub.example.com/#x", "no fragment"),
        ("https://hub example.com", "space"),
        ("https://hub\t.example.com", "control character"),
        ("https://hub\\.example.com", "backslash"),
        ("https://hub.example.com:0", "port 0"),
        ("https://hub.example.com:70000", "no number from"),
        ("https://hub.example.com:x", "no number from"),
        ("https://[::1", "can't be read"),
        ("https://[fe80::1%25eth0]", "without a zone"),
        ("https://::1", "in brackets"),
        ("https://[192.0.2.7]", "no address of a hub"),
        ("https://1.2.3", "IPv4"),
        ("https://0x7f.1", "IPv4"),
        ("https://a..b", "no name"),
        ("https://-a.b", "no name"),
        ("https://" + "a" * 64 + ".b", "no name"),
        ("https://a_b!.c", "no name"),
        ("https://user:p w@h", "space"),
        ("https://us[er@h", "can't be read"),
        ("https://h/a//b", "empty part"),
        ("https://h/../x", "where it leads to"),
        ("https://h/é", "percent-encoded"),
        ("https://h/%zz", "percent-encoded"),
    ],
)
def test_nonsense_hubs_are_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ConfigFault, match=re.escape(advice)):
        normalise_hub(text)


def test_http_by_name() -> None:
    assert normalise_hub("http://Hub.LAN:9000", allow_http=["hub.lan"]) == "http://hub.lan:9000"
    assert normalise_hub("http://hub.lan", allow_http=[" HUB.lan "]) == "http://hub.lan"
    with pytest.raises(ConfigFault):
        normalise_hub("http://other.lan", allow_http=["hub.lan"])


@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"https?://[a-z0-9.\[\]:@%_-]{0,20}(/[ -~]{0,10})?", fullmatch=True),
    )
)
def test_any_text_is_a_hub_or_a_config_fault_and_normalising_is_stable(text: str) -> None:
    try:
        hub = normalise_hub(text)
    except ConfigFault:
        return
    assert normalise_hub(hub) == hub
    assert hub.startswith("https://") or is_loopback(hub_host(hub))
    assert target(parse(rtc_address(hub, KEY))[0]) == RtcTarget(hub, KEY)


def test_what_a_hub_says_of_itself() -> None:
    assert has_credentials(HubUrl("https://me:x@h"))
    assert not has_credentials(HubUrl("https://h/a"))
    assert hub_host(HubUrl("https://[::1]:9")) == "::1"
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("127.0.0.1.example.com")
