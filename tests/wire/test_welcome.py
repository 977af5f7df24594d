"""Codes of invitations: there and back, what is none, and that no error quotes one."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.types import PeerId
from ssb_rtc.wire import welcome as codes
from ssb_rtc.wire.welcome import Welcome, format_welcome, is_welcome, parse_welcome

ONE = Welcome(b"NETW", bytes(range(32)), bytes(range(16)), 20_000, ("https://hub.example.org",), "")
CODE = format_welcome(ONE)
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"

texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=25)
hubs = st.builds(lambda scheme, rest: scheme + rest, st.sampled_from(["https://", "http://"]), texts).filter(
    lambda hub: "://" not in hub.partition("://")[2]
)
welcomes = st.builds(
    Welcome,
    st.binary(min_size=4, max_size=4),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
    st.integers(0, codes.LAST_DAY_MAX),
    st.lists(hubs, max_size=3).map(tuple),
    st.just(""),
)
addresses = texts.filter(lambda text: "~shs:" not in text)


def test_the_layout_stands() -> None:
    """A code that was sent yesterday is read tomorrow."""
    assert CODE == (
        "ssbjoin1afhekvcxaaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
        "aaicamcakbqhbaequcymbuha6traaehwq5lcfzsxqylnobwgkltpojtqb5bshgwa"
    )
    assert parse_welcome(CODE) == ONE
    assert ONE.host == "@AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=.ed25519"
    assert ONE.id == "0c8915c4"
    assert ONE.inbox.hex().startswith("a6caff83cc5b3bb1")
    assert ONE.token.hex().startswith("5bcc3b0a2f01abde")
    assert ONE.guest_seed.hex().startswith("b1d5a078b129cb40")
    assert ONE.secret.hex() not in repr(ONE)
    assert str(ONE.secret) not in repr(ONE)


@given(welcomes, addresses | st.just(""))
def test_there_and_back(welcome: Welcome, address: str) -> None:
    if address:
        welcome = replace(welcome, address=f"{address}~shs:{base64.b64encode(welcome.key).decode()}")
    code = format_welcome(welcome)
    assert len(code) <= codes.CODE_LIMIT_CHARS
    assert code.isascii()
    assert code.isalnum()
    spread = "  " + "-\r\n ".join(code.upper()[at : at + 7] for at in range(0, len(code), 7)) + "\n"
    assert parse_welcome(code) == parse_welcome(spread) == welcome
    assert is_welcome(code)


@given(st.data())
def test_one_wrong_character_is_named_and_not_quoted(data: st.DataObject) -> None:
    at = data.draw(st.integers(len(codes.PREFIX), len(CODE) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "0189").filter(lambda character: character != CODE[at]))
    wrong = CODE[:at] + other + CODE[at + 1 :]
    with pytest.raises(ConfigFault, match="copy it again") as refused:
        parse_welcome(wrong)
    assert not any(wrong[i : i + 6] in str(refused.value) for i in range(len(codes.PREFIX), len(wrong) - 6))


@given(st.data())
def test_a_part_that_is_missing_is_named(data: st.DataObject) -> None:
    start = data.draw(st.integers(len(codes.PREFIX), len(CODE) - 1))
    end = data.draw(st.integers(start + 1, len(CODE)))
    with pytest.raises(ConfigFault, match="copy it again"):
        parse_welcome(CODE[:start] + CODE[end:])


@given(st.text(max_size=300) | st.text(ALPHABET, max_size=300).map(codes.PREFIX.__add__))
def test_whatever_else_is_refused_in_good_order(text: str) -> None:
    with pytest.raises(ConfigFault) as refused:
        parse_welcome(text)
    assert not (len(text) > 20 and text in str(refused.value))
    is_welcome(text)


@given(st.binary(max_size=120))
def test_bytes_with_a_check_that_holds_are_read_or_refused(body: bytes) -> None:
    """Whoever makes codes can make them say anything."""
    text = codes.PREFIX + base64.b32encode(body + codes._check(body)).decode().rstrip("=").lower()
    try:
        found = parse_welcome(text)
    except ConfigFault:
        return
    assert len(found.hubs) <= codes.HUBS_MAX


def test_other_versions_and_other_texts() -> None:
    with pytest.raises(ConfigFault, match="another version"):
        parse_welcome("ssbjoin2" + CODE[8:])
    with pytest.raises(ConfigFault, match="this is no invitation"):
        parse_welcome("example.com:8008:@abc")
    assert not is_welcome("example.com:8008:@abc")
    with pytest.raises(ConfigFault, match="at most 1000 characters"):
        parse_welcome(CODE + "a" * 1_000)


@pytest.mark.parametrize(
    "welcome",
    [
        Welcome(b"NETW", bytes(32), bytes(16), 1, ("https://a",) * 4),
        Welcome(b"NETW", bytes(32), bytes(16), -1),
        Welcome(b"NETW", bytes(32), bytes(15), 1),
        Welcome(b"NETW", bytes(32), bytes(16), 1, ("hub.example",)),
        Welcome(b"NETW", bytes(32), bytes(16), 1, ("https://" + "a" * 121,)),
        Welcome(b"NETW", bytes(32), bytes(16), 1, (), "net:hub.example:1"),
        Welcome(b"NETW", bytes(32), bytes(16), 1, (), f"net:a\nb~shs:{'A' * 43}="),
        Welcome(b"NETW", bytes(32), bytes(16), 1, (), f"\ud800~shs:{'A' * 43}="),
    ],
)
def test_what_can_t_be_written_down(welcome: Welcome) -> None:
    with pytest.raises(MisuseError):
        format_welcome(welcome)


def test_a_code_is_good_until_the_end_of_its_last_day() -> None:
    assert not ONE.is_over(20_001 * 86_400 - 1)
    assert ONE.is_over(20_001 * 86_400)


def test_a_proof_is_of_use_in_one_knock_alone() -> None:
    def made(inbox: bytes, sender: PeerId, session: bytes, ephemeral: bytes) -> bytes:
        return codes.proof(inbox, sender, session, ephemeral)

    other = Welcome(b"NETW", bytes(32), bytes(16), 1).host
    args = (ONE.inbox, ONE.host, bytes(16), bytes(32))
    variants = [
        (ONE.token, ONE.host, bytes(16), bytes(32)),
        (ONE.inbox, other, bytes(16), bytes(32)),
        (ONE.inbox, ONE.host, b"x" * 16, bytes(32)),
        (ONE.inbox, ONE.host, bytes(16), b"x" * 32),
    ]
    assert len({made(*args), *(made(*variant) for variant in variants)}) == 5


def test_what_no_maker_writes_is_not_used() -> None:
    """Such a code had its joiner ask any server for any path, knock at unix sockets, and try until the year 2149."""
    key = f"~shs:{base64.b64encode(ONE.key).decode()}"
    today_s = 20_000 * 86_400.0
    for address in ("", f"net:192.0.2.7:8008{key}", f"net:2001!:db8!:!:7:8008{key}", f"wss://example.com:8989{key}"):
        codes.require_as_made(replace(ONE, address=address), today_s)
    other = f"~shs:{base64.b64encode(bytes(32)).decode()}"
    for address in (
        f"ws://127.0.0.1:631/admin?x=1{key}",
        f"ws://me@127.0.0.1{key}",
        f"unix:/run/somebody.sock{key}",
        "unix:/run/somebody.sock~noauth",
        f"unix:/run/somebody.sock~noauth{key}",
        f"rtc:hub.example{key}",
        f"net:192.0.2.7:8008{other}",
        f"net:192.0.2.7:8008{other};net:192.0.2.7:8008{key}",
    ):
        with pytest.raises(ConfigFault, match="not made well"):
            codes.require_as_made(replace(ONE, address=address), today_s)
    for hub in (
        "swarm+https://hub.example",
        "Swarm+https://hub.example",
        "https://name:word@hub.example",
        "http://127.0.0.1:631/admin",
        "http://[",
    ):
        with pytest.raises(ConfigFault, match="not made well"):
            codes.require_as_made(replace(ONE, hubs=("https://hub.example", hub)), today_s)
    for hub in ("http://127.0.0.1:8080", "http://localhost:8080/", "https://hub.example/@here"):
        codes.require_as_made(replace(ONE, hubs=(hub,)), today_s)
    codes.require_as_made(replace(ONE, last_day=20_000 + codes.DAYS_MAX + 1), today_s)
    with pytest.raises(ConfigFault, match="more than 365 days"):
        codes.require_as_made(replace(ONE, last_day=20_000 + codes.DAYS_MAX + 2), today_s)
