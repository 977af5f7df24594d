"""Invite codes: both of npm's forms, there and back, and what is none."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import ConfigFault, MisuseError
from ssb_rtc.wire.address import net_address, ws_address
from ssb_rtc.wire.invite import Invite, format_invite, parse_invite

KEY, SEED = bytes(range(32)), bytes(range(32, 64))
KEY_TEXT, SEED_TEXT = base64.b64encode(KEY).decode(), base64.b64encode(SEED).decode()
NET = f"net:pub.example.com:8008~shs:{KEY_TEXT}"


@pytest.mark.parametrize(
    ("code", "address"),
    [
        (f"pub.example.com:8008:@{KEY_TEXT}.ed25519~{SEED_TEXT}", NET),
        (f' "pub.example.com:8008:@{KEY_TEXT}.ed25519~{SEED_TEXT}"\n', NET),
        (f"pub.example.com:8008:@{KEY_TEXT}.ed25519~{SEED_TEXT}#https://next.example", NET),
        (f"{NET}:{SEED_TEXT}", NET),
        (f"ws://pub.example.com:8989~shs:{KEY_TEXT}:{SEED_TEXT}", f"ws://pub.example.com:8989~shs:{KEY_TEXT}"),
        (f"wss://pub.example.com~shs:{KEY_TEXT}:{SEED_TEXT}", f"wss://pub.example.com~shs:{KEY_TEXT}"),
        (f"2001:db8::1:8008:@{KEY_TEXT}.ed25519~{SEED_TEXT}", f"net:2001!:db8!:!:1:8008~shs:{KEY_TEXT}"),
    ],
)
def test_the_forms_of_npm_are_read(code: str, address: str) -> None:
    assert parse_invite(code) == Invite(address, KEY, SEED)


@pytest.mark.parametrize(
    "code",
    [
        "",
        "nonsense",
        NET,
        f"{NET}:{SEED_TEXT[:-4]}",
        f"{NET}:{SEED_TEXT}:more",
        f"{NET}:{SEED_TEXT};{NET}",
        f"pub.example.com:0:@{KEY_TEXT}.ed25519~{SEED_TEXT}",
        f"pub.example.com:99999:@{KEY_TEXT}.ed25519~{SEED_TEXT}",
        f"pub.example.com:8008:@{KEY_TEXT}.ed25519~{SEED_TEXT[:-2]}B=",
        f"pub.example.com:8008:{KEY_TEXT}~{SEED_TEXT}",
        f"unix:/tmp/x~shs:{KEY_TEXT}:{SEED_TEXT}",
        f"rtc:hub.example.com~shs:{KEY_TEXT}:{SEED_TEXT}",
        "x" * 2000,
    ],
)
def test_what_is_no_code_is_refused_and_not_quoted(code: str) -> None:
    with pytest.raises(ConfigFault, match="invite code") as refused:
        parse_invite(code)
    assert SEED_TEXT[:20] not in str(refused.value)


HOSTS = st.from_regex(r"[a-z0-9]([a-z0-9\-.]{0,20}[a-z0-9])?|[0-9a-f]{1,4}::[0-9a-f]{1,4}", fullmatch=True)


@given(
    HOSTS, st.integers(1, 65_535), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32),
    st.sampled_from(["net", "ws", "wss"]), st.booleans(),
)  # fmt: skip
def test_a_code_reads_back_as_what_it_was_made_of(
    host: str, port: int, key: bytes, seed: bytes, scheme: str, modern: bool
) -> None:
    bracketed = f"[{host}]" if ":" in host else host
    address = net_address(host, port, key) if scheme == "net" else ws_address(f"{scheme}://{bracketed}:{port}", key)
    code = format_invite(address, seed, modern=modern)
    assert parse_invite(code) == Invite(address, key, seed)
    assert ("~shs:" in code) == (modern or scheme != "net")


@given(st.text(max_size=300) | st.from_regex(r"[a-z:@~!/.]{0,40}~shs:[A-Za-z0-9+/=:]{0,100}"))
def test_any_text_is_a_code_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigFault):
        parse_invite(text)


@pytest.mark.parametrize("address", [f"rtc:hub.example.com~shs:{KEY_TEXT}", "net:h:1", "unix:/x~noauth"])
def test_nobody_is_invited_to_other_addresses(address: str) -> None:
    with pytest.raises((MisuseError, ConfigFault)):
        format_invite(address, SEED)
    with pytest.raises(MisuseError):
        format_invite(NET, SEED[:-1])


def test_a_code_does_not_show_its_seed_in_logs() -> None:
    assert SEED_TEXT not in repr(Invite(NET, KEY, SEED))
    assert repr(SEED) not in repr(Invite(NET, KEY, SEED))
