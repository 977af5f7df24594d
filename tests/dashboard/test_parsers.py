"""Whatever a browser, a stranger's message or a blob holds: an answer in good order, never a crash and never HTML."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.config import SETTINGS, load, told
from ssb_rtc.dashboard import guard, orders
from ssb_rtc.dashboard.answers import encode_json, status_of
from ssb_rtc.dashboard.blobs import PLAIN, headers_of, type_of
from ssb_rtc.dashboard.keyring import SESSION_IDLE_S, SESSIONS_MAX, TOKEN_LIFE_S, TOKENS_MAX, Keyring
from ssb_rtc.dashboard.outbox import event
from ssb_rtc.dashboard.settings_rows import settings_rows
from ssb_rtc.errors import AuthorFault, BlobMissing, LinkClosed, MisuseError, RemoteCallError, SsbRtcError
from ssb_rtc.testing import keys_of

KINDS = (
    orders.Exchange, orders.Publish, orders.Follow, orders.Block, orders.About, orders.Hubs, orders.Connect,
    orders.OfPeer, orders.OfBlob, orders.Sync, orders.Invite, orders.Join,
)  # fmt: skip
MESSAGE = "%" + keys_of("m").id[1:45] + ".sha256"

any_text = st.text(st.characters(codec=None, exclude_categories=[]))
any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=300), st.sampled_from(KINDS))
def test_any_bytes_are_an_order_or_refused(body: bytes, kind: type[orders.Publish]) -> None:
    try:
        found = orders.read(body, kind)
    except MisuseError:
        return
    assert isinstance(found, kind)


@given(st.dictionaries(st.sampled_from([*orders.Publish.__struct_fields__, "id", "x"]), any_json, max_size=5))
def test_a_post_holds_nothing_but_what_a_post_has(fields: dict[str, Any]) -> None:
    try:
        content = orders.read(encode_json(fields), orders.Publish).content()
    except MisuseError:
        return
    assert content["type"] == "post"
    assert content.keys() <= {"type", "text", "root", "branch", "mentions"}
    assert set(fields) <= set(orders.Publish.__struct_fields__)


def test_posts_and_their_links() -> None:
    def content(**more: Any) -> Any:
        return orders.read(encode_json({"text": "x", **more}), orders.Publish).content()

    assert content() == {"type": "post", "text": "x"}
    assert content(root=MESSAGE, branch=MESSAGE)["branch"] == MESSAGE
    assert content(branch=[MESSAGE])["branch"] == MESSAGE
    assert content(branch=[MESSAGE, MESSAGE], mentions=[{"link": MESSAGE}])["branch"] == [MESSAGE, MESSAGE]
    for bad in ({"root": "x"}, {"branch": ["x"]}, {"branch": [MESSAGE] * 17}, {"to": ["a"] * 7}, {"to": "a"}):
        with pytest.raises(MisuseError):
            content(**bad)


def test_an_order_that_makes_no_sense_is_never_quoted() -> None:
    for body in (b'{"token": 7, "x": "hunter2"}', b'{"code": ["hunter2"]}', b"hunter2", b'"hunter2"'):
        for kind in (orders.Exchange, orders.Join):
            with pytest.raises(MisuseError) as caught:
                orders.read(body, kind)
            assert "hunter2" not in str(caught.value)


@given(any_json)
def test_any_value_becomes_json_on_one_line(value: Any) -> None:
    encoded = encode_json(value)
    json.loads(encoded, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert b"\n" not in encoded
    assert b"\r" not in encoded
    assert event("x", value).count(b"\n") == 3


def test_what_json_has_no_word_for() -> None:
    assert encode_json({"a": [float("inf"), float("nan")], "b": "\ud800"}) == b'{"a":[null,null],"b":"\\ud800"}'
    assert encode_json(2**70) == str(2**70).encode()


header_text = st.one_of(any_text, st.sampled_from(["same-origin", "none", "127.0.0.1:80", "http://127.0.0.1:80"]))


@given(
    st.dictionaries(st.sampled_from(["Host", "Origin", "Sec-Fetch-Site", "Content-Type"]), header_text, max_size=4),
    st.sampled_from([guard.JSON_TYPE, guard.BYTES_TYPE]),
)
def test_the_guard_answers_any_headers(headers: dict[str, str], content_type: str) -> None:
    refusals = [
        guard.refuses_host(headers.get("Host"), 80), guard.refuses_reading(headers), guard.refuses_session(headers),
        guard.refuses_order(headers, content_type),
    ]  # fmt: skip
    assert all(refusal is None or refusal.status in {400, 401, 403, 421} for refusal in refusals)
    if refusals[0] is None:
        assert headers["Host"].lower() in {"127.0.0.1:80", "[::1]:80", "localhost:80"}
    if refusals[3] is None:
        assert headers.get("Origin", "").lower() in {"", f"http://{headers.get('Host', '').lower()}"}
        assert headers.get("Sec-Fetch-Site", "same-origin").lower() in {"same-origin", ""}


@given(st.binary(max_size=40), any_text)
def test_no_bytes_make_a_blob_active(beginning: bytes, blob: str) -> None:
    headers = headers_of(beginning, blob)
    assert headers["Content-Type"] in {PLAIN, "image/png", "image/jpeg", "image/gif", "image/webp"}
    assert (headers["Content-Disposition"] == "inline") == (headers["Content-Type"] != PLAIN)
    headers["Content-Disposition"].encode("latin-1")
    assert headers["X-Content-Type-Options"] == "nosniff"
    for word in (b"<svg", b"<html", b"<?xml", b"<!doctype", b"%PDF", b"PK\x03\x04"):
        assert type_of(word + beginning) == PLAIN


@given(st.lists(st.sampled_from(["token", "exchange", "session", "wait"]), max_size=60))
def test_a_keyring_stays_small_and_each_token_is_good_once(steps: list[str]) -> None:
    now_s, ring = 0.0, Keyring(0.0)
    tokens, cookies, used = list[str](), list[str](), set[str]()
    for step in steps:
        match step:
            case "token":
                tokens.append(ring.new_token(now_s))
            case "exchange" if tokens:
                token = tokens[len(used) % len(tokens)]
                opened = ring.exchange(token, now_s)
                assert opened is None or token not in used
                used.add(token)
                if opened is not None:
                    cookies.append(opened.cookie)
                    session = ring.session(opened.cookie, now_s)
                    assert session is not None
                    assert session.knows(opened.csrf)
                    assert not session.knows(opened.csrf + "x")
            case "session" if cookies:
                ring.session(cookies[0], now_s)
            case _:
                now_s += TOKEN_LIFE_S / 5
        assert len(ring._tokens) <= TOKENS_MAX
        assert len(ring._sessions) <= SESSIONS_MAX


@given(any_text)
def test_no_guess_opens_a_keyring(guess: str) -> None:
    ring = Keyring(0.0)
    ring.new_token(0.0)
    assert ring.exchange(guess, 0.0) is None
    assert ring.session(guess, 0.0) is None


def test_tokens_and_sessions_end() -> None:
    ring = Keyring(0.0)
    old = ring.new_token(0.0)
    assert ring.exchange(old, TOKEN_LIFE_S + 1) is None
    opened = ring.exchange(ring.new_token(0.0), 0.0)
    assert opened is not None
    assert ring.session(opened.cookie, SESSION_IDLE_S - 1) is not None
    assert ring.session(opened.cookie, 2 * SESSION_IDLE_S - 2) is not None, "it was used in between"
    assert ring.session(opened.cookie, 4 * SESSION_IDLE_S) is None
    first = ring.new_token(0.0)
    for _ in range(TOKENS_MAX):
        ring.new_token(0.0)
    assert ring.exchange(first, 0.0) is None


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (MisuseError("x"), 400),
        (RemoteCallError("x", name="MisuseError"), 400),
        (RemoteCallError("x"), 400),
        (RemoteCallError("internal error"), 503),
        (RemoteCallError("x", name="StorageFault"), 503),
        (RemoteCallError("x", name="NotFoundError"), 404),
        (RemoteCallError("x", name="annotations"), 400),
        (BlobMissing("x"), 404),
        (AuthorFault("x"), 409),
        (LinkClosed("x"), 503),
    ],
)
def test_errors_have_a_status(fault: SsbRtcError, status: int) -> None:
    assert status_of(fault) == status


def test_every_setting_is_shown_and_no_password() -> None:
    url = "https://user:hunter2@hub.example"
    settings = load({"hub": [url, "https://b.example"], "turn": ["turn:user:hunter2@a.example"]}, {})
    rows = settings_rows(told(settings))
    assert [row["name"] for row in rows] == [setting.name for setting in SETTINGS]
    assert b"hunter2" not in encode_json(rows)
    found = {row["name"]: row for row in rows}
    assert found["hub"]["value"] == ["https://***@hub.example", "https://b.example"]
    assert (found["hub"]["source"], found["hub"]["where"], found["hub"]["variable"]) == ("flag", "--hub", "SSB_RTC_HUB")
    assert (found["turn"]["value"], found["hmac_key"]["value"]) == ("set", None)
    others = settings_rows(told(load({"network_key": base64.b64encode(bytes(32)).decode()}, {})))
    assert {row["name"]: row["value"] for row in others}["network_key"] == "set"
