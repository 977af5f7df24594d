"""Packets of local networks: what we send, what we believe, and the limits of what is heard."""

from __future__ import annotations

import base64

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ssb_rtc.wire.lan import FORGET_S, NAMES_MAX, PACKET_BYTES_MAX, SENDERS_MAX, TELL_AGAIN_S, Hearing, packet, read

OWN, AMY = bytes(32), bytes([7]) * 32
AMY_TEXT = base64.b64encode(AMY).decode()
HERE = "192.168.1.5"
AMYS = f"net:{HERE}:8008~shs:{AMY_TEXT}"

keys = st.binary(min_size=32, max_size=32)
hosts = st.ip_addresses(v=4).map(str)


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


@given(hosts, st.integers(1, 65_535), keys)
def test_what_is_sent_is_heard_from_its_sender_alone(host: str, port: int, public: bytes) -> None:
    sent = packet(host, port, public)
    assert len(sent) <= 128, "go-ssb reads no more"
    heard = read(sent, host)
    assert heard is not None
    assert (heard.key, heard.address) == (public, sent.decode())
    assert read(sent, "10.0.0.1" if host != "10.0.0.1" else "10.0.0.2") is None


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | st.lists(st.sampled_from(
    ["net:", HERE, ":8008", "~shs:", AMY_TEXT, ";", "ws://", "!", "~noauth", ":", "@"]), max_size=12
).map(lambda parts: "".join(parts).encode()))  # fmt: skip
def test_anything_may_come(data: bytes) -> None:
    heard = read(data, HERE)
    if heard is not None:
        assert heard.address.startswith(f"net:{HERE}:")
        assert len(heard.key) == 32


@pytest.mark.parametrize(
    "text",
    [
        AMYS,
        f"ws://{HERE}:8989~shs:{AMY_TEXT};{AMYS}",
        f"net:fe80::1:8008~shs:{AMY_TEXT};{AMYS}",
        f"onion:abc.onion:8008~shs:{AMY_TEXT};{AMYS}",
        f"net:{HERE}:8008~shs:@{AMY_TEXT}.ed25519",
        f"net:{HERE}~shs:{AMY_TEXT}",
    ],
)
def test_as_javascript_says_it(text: str) -> None:
    heard = read(text.encode(), HERE)
    assert heard is not None
    assert (heard.key, heard.address) == (AMY, AMYS)


@pytest.mark.parametrize(
    "text",
    [
        f"net:192.168.1.6:8008~shs:{AMY_TEXT}",
        f"net:example.com:8008~shs:{AMY_TEXT}",
        f"net:0.0.0.0:8008~shs:{AMY_TEXT}",
        f"net:{HERE}:0~shs:{AMY_TEXT}",
        f"net:{HERE}:8008~shs:AAAA",
        f"net:{HERE}:8008",
        f"unix:/run/peer~shs:{AMY_TEXT}",
        f"{AMYS};" * 20 + "\n",
        AMYS + " " * PACKET_BYTES_MAX,
        ";".join([f"ws://{HERE}:1~shs:{AMY_TEXT}"] * 9 + [AMYS]),
        "",
    ],
)
def test_what_is_not_believed(text: str) -> None:
    assert read(text.encode(), HERE) is None


def test_a_peer_is_told_of_once_and_again_after_a_while() -> None:
    hearing = Hearing(OWN, 0.0)
    told = [now_s for now_s in range(0, 61, 2) if hearing.hear(AMYS.encode(), HERE, float(now_s))]
    assert told == [0, 20, 40, 60]
    assert TELL_AGAIN_S == 20


def test_our_own_packets_are_not_told_of() -> None:
    assert Hearing(OWN, 0.0).hear(packet(HERE, 8008, OWN), HERE, 0.0) is None


def test_one_sender_makes_up_few_peers_and_others_are_heard() -> None:
    hearing = Hearing(OWN, 0.0)
    told = sum(hearing.hear(packet(HERE, 8008, key(n)), HERE, n / 4) is not None for n in range(1, 200))
    assert told == NAMES_MAX
    assert hearing.hear(packet("192.168.1.6", 8008, AMY), "192.168.1.6", 50.0)
    assert hearing.hear(AMYS.encode(), HERE, 50.0 + FORGET_S), "its first names have fallen silent"


def test_a_sender_that_floods_is_cut_and_others_are_heard() -> None:
    hearing = Hearing(OWN, 0.0)
    for _ in range(100):
        hearing.hear(b"x", HERE, 1.0)
    assert hearing.dropped == 90
    assert hearing.hear(AMYS.encode(), HERE, 1.1) is None
    assert hearing.hear(packet("192.168.1.6", 8008, AMY), "192.168.1.6", 1.1)
    assert hearing.hear(AMYS.encode(), HERE, 2.0)


def test_many_made_up_senders_are_bounded_in_number_and_rate() -> None:
    hearing = Hearing(OWN, 0.0)
    senders = [f"10.1.{n // 250}.{n % 250}" for n in range(5_000)]
    told = [hearing.hear(packet(host, 1, AMY), host, 0.0) for host in senders]
    assert sum(heard is not None for heard in told) == 400
    assert len(hearing) == SENDERS_MAX


def test_one_who_sends_without_end_keeps_no_other_from_being_heard() -> None:
    hearing, told = Hearing(OWN, 0.0), 0
    for number in range(25_000):  # 250 a second, for 100 s
        now_s = number / 250
        hearing.hear(b"rubbish", "192.168.1.9", now_s)
        if number % 500 == 0:
            told += hearing.hear(AMYS.encode(), HERE, now_s) is not None
    assert told == 5
