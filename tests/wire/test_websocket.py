"""WebSockets without I/O: the handshake to the letter, frames cut anywhere, and what is no WebSocket."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import ConfigFault, FrameInvalid
from ssb_rtc.wire import websocket
from ssb_rtc.wire.websocket import Endpoint, Frames, RequestRefused, answer, check_answer, endpoint, request

# RFC 6455, sections 1.3 and 4.2.2.
NONCE = b"the sample nonce"
REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13"
)
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def client() -> Frames:
    turn = itertools.count(1)
    return Frames(lambda: (next(turn) * 0x9E3779B1 % 2**32).to_bytes(4, "big"))


def server() -> Frames:
    return Frames(None)


# --- handshake ----------------------------------------------------------------------------------------------------


def test_the_rfcs_own_request_is_answered_as_it_says() -> None:
    lines = answer(REQUEST).split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
    assert b"Sec-WebSocket-Accept: " + ACCEPT in lines
    assert not any(line.lower().startswith((b"sec-websocket-protocol", b"sec-websocket-ext")) for line in lines)
    assert lines[-2:] == [b"", b""]


def test_both_sides_understand_each_other() -> None:
    asked = request(Endpoint(False, "::1", 8989, "/x?y"), NONCE)
    assert asked.startswith(b"GET /x?y HTTP/1.1\r\nHost: [::1]:8989\r\n")
    check_answer(answer(asked.removesuffix(b"\r\n\r\n")).removesuffix(b"\r\n\r\n"), NONCE)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"GET /chat HTTP/1.1", b"POST /chat HTTP/1.1"), b"400"),
        ((b"GET /chat HTTP/1.1", b"GET /chat HTTP/1.0"), b"400"),
        ((b"GET /chat HTTP/1.1", b"GET http://x/ HTTP/1.1"), b"400"),
        ((b"Upgrade: websocket", b"Upgrade: h2c"), b"426"),
        ((b"Connection: Upgrade", b"Connection: close"), b"426"),
        ((b"Version: 13", b"Version: 8"), b"426"),
        ((b"bXBsZSBub25jZQ==", b"bXBsZQ=="), b"400"),
        ((b"bXBsZSBub25jZQ==", b"!!!!"), b"400"),
        ((b"Origin: ", b"Origin : "), b"400"),
        ((b"Origin: ", b" folded: "), b"400"),
        ((b"Origin: ", b"O\nrigin: "), b"400"),
    ],
)
def test_what_is_no_request_for_a_websocket_hears_why(change: tuple[bytes, bytes], status: bytes) -> None:
    assert REQUEST.count(change[0]) == 1
    with pytest.raises(RequestRefused) as refused:
        answer(REQUEST.replace(*change))
    head, _, body = refused.value.answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert b"Connection: close" in head


def test_header_names_and_lists_are_read_as_http_has_them() -> None:
    odd = REQUEST.replace(b"Upgrade: websocket", b"UPGRADE:WebSocket").replace(
        b"Connection: Upgrade", b"connection: keep-alive, upgrade \r\nX-Forwarded-For: 192.0.2.1"
    )
    assert ACCEPT in answer(odd)


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nUpgrade: websocket", "answered 404"),
        (b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/", "answered 301"),
        (b"SSH-2.0-OpenSSH_9.6", "no web server"),
        (b"HTTP/1.1 101 Yes\r\nnonsense", "no web server"),
        (b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA", "breaks the rules"),
        (b"HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: " + ACCEPT, "breaks the rules"),
        (
            b"HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"
            b"Sec-WebSocket-Accept: " + ACCEPT,
            "breaks the rules",
        ),
    ],
)
def test_what_does_not_answer_as_a_websocket_is_refused(head: bytes, says: str) -> None:
    with pytest.raises(FrameInvalid, match=says):
        check_answer(head, b"the sample nonce")


@given(st.binary(max_size=300))
def test_any_bytes_as_a_head_are_refused_in_words(head: bytes) -> None:
    with pytest.raises(RequestRefused):
        answer(head)
    with pytest.raises(FrameInvalid):
        check_answer(head, NONCE)


# --- addresses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "found", "again"),
    [
        ("ws://example.com", Endpoint(False, "example.com", 80), "ws://example.com"),
        ("wss://example.com", Endpoint(True, "example.com", 443), "wss://example.com"),
        ("ws://example.com:80/", Endpoint(False, "example.com", 80), "ws://example.com"),
        ("wss://h:80/a/b?c=d", Endpoint(True, "h", 80, "/a/b?c=d"), "wss://h:80/a/b?c=d"),
        ("ws://[2001:db8::1]:9", Endpoint(False, "2001:db8::1", 9), "ws://[2001:db8::1]:9"),
    ],
)
def test_urls_come_apart_and_together(url: str, found: Endpoint, again: str) -> None:
    assert endpoint(url) == found
    assert found.url == again


@pytest.mark.parametrize(
    "url",
    ["", "ws:", "ws://", "http://h", "ws://h:x", "ws://h:99999", "ws://u:p@h", "ws://h/a b", "ws://h#f", "ws://[::1", "ws://h/ü"],
)  # fmt: skip
def test_what_is_no_address_of_a_websocket(url: str) -> None:
    with pytest.raises(ConfigFault):
        endpoint(url)


# --- frames -------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=8), st.booleans(), st.data())
def test_bytes_come_out_as_they_went_in_however_they_are_cut(
    writes: list[bytes], dialled: bool, data: st.DataObject
) -> None:
    sender, receiver = (client(), server()) if dialled else (server(), client())
    wire = b"".join(sender.frame(each) for each in writes) + sender.close_frame() + b"ignored"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=6)))
    pieces = [wire[a:b] for a, b in itertools.pairwise([0, *cuts, len(wire)])]
    assert b"".join(receiver.receive(piece) for piece in pieces) == b"".join(writes)
    assert receiver.closed
    assert receiver.take_reply()
    assert not receiver.take_reply()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_every_size_has_its_own_header(size: int) -> None:
    for sender, receiver in ((client(), server()), (server(), client())):
        sent = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        framed = sender.frame(sent)
        assert receiver.receive(framed) == sent
        if size > websocket.FRAME_BYTES:
            assert len(framed) > size + 10, "long writes are more frames than one"


def test_the_rfcs_masked_frame_reads_as_it_says() -> None:
    # Section 5.7, with the opcode of binary frames.
    assert server().receive(bytes.fromhex("8285 37fa213d 7f9f4d5158")) == b"Hello"
    assert client().receive(bytes.fromhex("8205 48656c6c6f")) == b"Hello"
    assert client().receive(bytes.fromhex("0203 48656c 8002 6c6f")) == b"Hello"


def test_pings_are_answered_in_the_middle_of_a_message() -> None:
    there, here = server(), client()
    first, last = bytes.fromhex("0203 48656c"), bytes.fromhex("8002 6c6f")
    assert here.receive(first + bytes.fromhex("8901 61") + bytes.fromhex("8901 62") + last) == b"Hello"
    assert there.receive(here.take_reply()) == b"", "a pong holds no bytes of the stream"


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("8105 48656c6c6f", "sent text"),
        ("c205 48656c6c6f", "extension"),
        ("8305 48656c6c6f", "unknown kind"),
        ("8005 48656c6c6f", "out of order"),
        ("0203 48656c 8202 6c6f", "out of order"),
        ("0900", "in pieces or too long"),
        ("897e 0080", "in pieces or too long"),
        ("827f ffffffffffffffff", "impossible size"),
        ("8285 37fa213d 7f9f4d5158", "its server does not"),
    ],
)
def test_frames_against_the_rules_are_refused(frame: str, says: str) -> None:
    with pytest.raises(FrameInvalid, match=says):
        client().receive(bytes.fromhex(frame))


def test_a_server_takes_masked_frames_only() -> None:
    with pytest.raises(FrameInvalid, match="client masks"):
        server().receive(bytes.fromhex("8205 48656c6c6f"))


@given(st.lists(st.binary(max_size=60), max_size=10), st.booleans())
def test_any_bytes_are_frames_or_refused_and_little_is_held(pieces: list[bytes], dialled: bool) -> None:
    frames = client() if dialled else server()
    try:
        for piece in pieces:
            assert len(frames.receive(piece)) <= len(piece) + websocket.CONTROL_LIMIT_BYTES + 14
            assert len(frames._rest) <= websocket.CONTROL_LIMIT_BYTES + 14
    except FrameInvalid:
        pass


def test_a_frame_of_any_size_is_handed_on_as_it_comes() -> None:
    frames = client()
    assert frames.receive(bytes.fromhex("827f 0000ffffffffffff") + b"abc") == b"abc"
    assert frames.receive(b"d" * 1000) == b"d" * 1000
