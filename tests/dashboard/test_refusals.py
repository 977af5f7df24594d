"""Who is kept out of a dashboard: everybody but the page that its owner opened, whatever they send."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import aiohttp
import pytest

from ssb_rtc import Peer
from ssb_rtc.dashboard import orders
from ssb_rtc.dashboard.answers import HEADERS
from ssb_rtc.runtime import http_connections
from ssb_rtc.testing import Swarm
from tests.dashboard.visitor import LIMIT_S, Visitor, visited

ORDERS = (
    "publish", "follow", "block", "about", "hubs", "connect", "disconnect", "sync", "want", "invite", "join",
)  # fmt: skip
QUESTIONS = (
    "session",
    "events",
    "messages",
    "message?id=%25a",
    "why/peer?id=@a",
    "why/hub?url=b",
    "settings",
    "joins",
    "blobs/%26a",
)
EVIL = "http://evil.example"


@pytest.fixture
async def peer(swarm: Swarm) -> Peer:
    return await swarm.peer("amy")


async def raw(visitor: Visitor, text: str) -> bytes:
    """What comes back for these very bytes, up to the end of the connection."""
    async with asyncio.timeout(LIMIT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", visitor.dashboard.port)
        writer.write(text.encode())
        try:
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


# --- tokens and sessions ---


async def test_no_token_opens_nothing(peer: Peer) -> None:
    async with visited(peer, enter=False) as stranger:
        for path in QUESTIONS:
            assert (await stranger.get(f"/api/{path}"))[0] == 401, path
        for path in ORDERS:
            assert (await stranger.post(f"/api/{path}", {}))[0] == 401, path
        status, told = await stranger.post("/api/session", {"token": "guess"})
        assert status == 401
        assert "ssb-rtc dashboard" in told["error"]
        stranger.cookie = "guess"
        assert (await stranger.get("/api/messages"))[0] == 401
    assert peer.context.log.count() == 0


async def test_a_used_token_is_worth_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        token = owner.dashboard.new_url().partition("#token=")[2]
        assert (await owner.post("/api/session", {"token": token}))[0] == 200
        assert (await owner.post("/api/session", {"token": token}))[0] == 401


async def test_guessing_is_slowed_down_and_keeps_no_owner_out(peer: Peer) -> None:
    async with visited(peer, enter=False) as visitor:
        answers = [await visitor.post("/api/session", {"token": f"guess {at}"}) for at in range(12)]
        assert answers[0][0] == 401
        assert answers[-1][0] == 503
        assert "guess" not in str(answers)
        await visitor.enter()


async def test_the_cookie_of_another_port_opens_nothing(swarm: Swarm, peer: Peer) -> None:
    other = await swarm.peer("ben")
    async with visited(peer) as amys, visited(other) as bens:
        cookie = f"ssb_rtc_{amys.dashboard.port}={amys.cookie}"
        assert (await bens.get("/api/messages", headers={"Cookie": cookie}))[0] == 401
        renamed = f"ssb_rtc_{bens.dashboard.port}={amys.cookie}"
        assert (await bens.get("/api/messages", headers={"Cookie": renamed}))[0] == 401
        # A browser sends both along, because cookies know no ports.
        both = f"{cookie}; ssb_rtc_{bens.dashboard.port}={bens.cookie}"
        assert (await bens.get("/api/messages", headers={"Cookie": both}))[0] == 200


async def test_the_cookie_is_for_no_script_and_no_other_site(peer: Peer) -> None:
    async with visited(peer, enter=False) as visitor:
        token = visitor.dashboard.new_url().partition("#token=")[2]
        async with visitor.request("POST", "/api/session", json={"token": token}) as answer:
            cookie = answer.cookies[f"ssb_rtc_{visitor.dashboard.port}"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "Strict", "/", "")


async def test_the_word_of_a_session_is_told_to_its_own_page_only(peer: Peer) -> None:
    async with visited(peer) as owner:
        assert await owner.get("/api/session") == (200, {"csrf": owner.csrf})
        assert (await owner.get("/api/session", headers={"Sec-Fetch-Site": None}))[0] == 200
        foreign: list[dict[str, str | None]] = [
            {"Sec-Fetch-Site": None, "Origin": EVIL},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "weird"},
        ]
        for headers in foreign:
            status, told = await owner.get("/api/session", headers=headers)
            assert (status, "csrf" in told) == (401, False), headers


async def test_the_cookie_alone_opens_nothing(peer: Peer) -> None:
    """A web server of another account, on another port of this machine, is sent it by the browser."""
    async with visited(peer) as owner:
        # It is no browser, and says of itself what it likes.
        nothing: dict[str, str | None] = {"X-CSRF": None, "Sec-Fetch-Site": None, "Origin": None}
        lacking: dict[str, str | None] = {"X-CSRF": None}
        for headers in (nothing, lacking, {"X-CSRF": "guess"}):
            for path in QUESTIONS:
                if not path.startswith("blobs/"):
                    status, told = await owner.get(f"/api/{path}", headers=headers)
                    assert (status, "csrf" in told) == (401, False), (path, headers)
            for path in ORDERS:
                assert (await owner.post(f"/api/{path}", {}, headers=headers))[0] == 403, path
        assert (await owner.get("/api/events?word=guess", headers={"X-CSRF": None}))[0] == 401
        assert (await owner.get(f"/api/settings?word={owner.csrf}", headers={"X-CSRF": None}))[0] == 401
        async with owner.events(f"?word={owner.csrf}") as events:
            assert (await events.next())[0] == "snapshot"


async def test_neither_tokens_nor_cookies_are_logged(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with visited(peer) as owner:
        token = owner.dashboard.new_url().partition("#token=")[2]
        await owner.post("/api/session", {"token": token})
        await owner.post("/api/session", {"token": token})
        await owner.post("/api/publish", {"text": "hello"})
    for secret in (token, owner.cookie, owner.csrf):
        assert secret not in caplog.text


# --- pages of others ---


async def test_a_name_that_was_pointed_at_us_gets_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        port = owner.dashboard.port
        wrong = (
            "evil.example",
            f"evil.example:{port}",
            "127.0.0.1",
            "127.0.0.1:1",
            f"localhost.evil.example:{port}",
            "",
        )
        for host in wrong:
            for path in ("/", "/api/messages", "/nowhere"):
                assert (await owner.get(path, headers={"Host": host}))[0] == 421, host
            assert (await owner.post("/api/publish", {"text": "x"}, headers={"Host": host}))[0] == 421, host


async def test_a_request_without_a_host_gets_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        assert (await raw(owner, "GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 421 ")


async def test_each_name_of_this_machine_is_taken(peer: Peer) -> None:
    async with visited(peer) as owner:
        for name in ("127.0.0.1", "localhost", "[::1]"):
            host = f"{name}:{owner.dashboard.port}"
            assert (await owner.get("/", headers={"Host": host}))[0] == 200
            same = {"Host": host, "Origin": f"http://{host}"}
            assert (await owner.post("/api/publish", {"text": "x"}, headers=same))[0] == 200


FOREIGN = (
    {"Origin": EVIL},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1:{port}"},
    {"Origin": "http://localhost:{port}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
)


async def test_a_cross_origin_post_does_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        for headers in FOREIGN:
            sent = {name: value.format(port=owner.dashboard.port) for name, value in headers.items()}
            assert (await owner.post("/api/publish", {"text": "bad"}, headers=sent))[0] == 403, headers
            assert (await owner.post("/api/session", {"token": "x"}, headers=sent))[0] == 403, headers
            kind = {"Content-Type": "application/octet-stream"}
            async with owner.request("POST", "/api/blobs", data=b"x", headers=sent | kind) as answer:
                assert answer.status == 403, headers
    assert peer.context.log.count() == 0
    assert peer.blobs.ls() == []


async def test_a_cross_site_get_reads_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        for site in ("cross-site", "same-site", "Cross-Site"):
            for path in QUESTIONS:
                status, _ = await owner.get(f"/api/{path}", headers={"Sec-Fetch-Site": site})
                assert status == 403, (site, path)


async def test_an_order_without_the_sessions_word_does_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        for word in (None, "", "guess", "é"):
            for path in (*ORDERS, "blobs"):
                kind = "application/octet-stream" if path == "blobs" else "application/json"
                headers = {"X-CSRF": word, "Content-Type": kind}
                async with owner.request("POST", f"/api/{path}", data=b"{}", headers=headers) as answer:
                    assert answer.status == 403, (word, path)
    assert peer.context.log.count() == 0


async def test_what_a_form_can_send_does_nothing(peer: Peer) -> None:
    async with visited(peer) as owner:
        for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", None):
            for path in ("publish", "session", "blobs"):
                headers = {"Content-Type": kind} if kind else {}
                async with owner.request(
                    "POST", f"/api/{path}", data=b'{"text":"x"}', headers=headers, skip_auto_headers=["Content-Type"]
                ) as answer:
                    assert answer.status == 400, (kind, path)
    assert peer.context.log.count() == 0


# --- sizes, paths, numbers ---


async def test_an_oversized_body_is_refused(peer: Peer) -> None:
    async def without_end() -> Any:
        for _ in range(2 * orders.BODY_MAX // 1024):
            yield b'{"text":"' + b"x" * 1015

    async with visited(peer) as owner:
        status, told = await owner.post("/api/publish", {"text": "x" * orders.BODY_MAX})
        assert (status, str(orders.BODY_MAX) in told["error"]) == (413, True)
        kind = {"Content-Type": "application/json"}
        async with owner.request("POST", "/api/publish", data=without_end(), headers=kind) as answer:
            assert answer.status == 413
        async with owner.request("POST", "/api/publish", data=b"[" * 60_000, headers=kind) as answer:
            assert answer.status == 400
        status, told = await owner.post("/api/publish", {"text": "x" * 9_000})
        assert (status, "8192" in told["error"]) == (400, True), "more than a message holds"


TRAVERSALS = (
    "/../../../../etc/passwd",
    "/static/../server.py",
    "/%2e%2e/%2e%2e/secret",
    "/..%2f..%2fsecret",
    "/%00",
    "//etc/passwd",
    "/index.html/../../server.py",
    "/api/blobs/..%2f..%2f..%2fsecret",
    "/api/blobs/%26../../secret.sha256",
    "/api/../secret",
)


async def test_no_path_leads_to_a_file(peer: Peer) -> None:
    secret = (peer.folder / "secret").read_bytes()
    async with visited(peer) as owner:
        for path in TRAVERSALS:
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{owner.dashboard.port}\r\nConnection: close\r\n"
            cookie = f"Cookie: ssb_rtc_{owner.dashboard.port}={owner.cookie}\r\n"
            for request in (head, head + cookie):
                answer = await raw(owner, request + "\r\n")
                assert answer.split()[1] in {b"400", b"401", b"404"}, answer
                assert secret not in answer
                assert b"root:" not in answer


async def test_too_many_streams_are_refused_and_leave_room_when_they_end(peer: Peer) -> None:
    async with visited(peer) as owner:
        streams = [owner.events() for _ in range(8)]
        for stream in streams:
            name, _ = await (await stream.__aenter__()).next()
            assert name == "snapshot"
        status, told = await owner.get("/api/events")
        assert (status, "close one" in told["error"]) == (503, True)
        await streams.pop().__aexit__(None, None, None)
        async with asyncio.timeout(LIMIT_S):
            while len(owner.dashboard._live._streams) > 7:
                await asyncio.sleep(0.01)
        async with owner.events() as events:
            assert (await events.next())[0] == "snapshot"
        for stream in streams:
            await stream.__aexit__(None, None, None)


async def test_silent_connections_keep_nobody_out(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "CONNECTIONS_MAX", 3)
    async with visited(peer) as owner, owner.events() as events, asyncio.timeout(LIMIT_S):
        await events.next()
        silent = [await asyncio.open_connection("127.0.0.1", owner.dashboard.port) for _ in range(6)]
        assert await silent[0][0].read() == b"", "the oldest one was closed for a newer one"
        assert (await owner.get("/api/messages"))[0] == 200
        await owner.post("/api/publish", {"text": "x"})
        await events.until("message")
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()


async def test_a_burst_of_connections_leaves_no_more_open_than_there_may_be(peer: Peer) -> None:
    """All come in one turn of the event loop, before aiohttp has heard of any: 900 of them took 900 descriptors."""
    async with visited(peer) as owner, asyncio.timeout(LIMIT_S):
        # This blocks the loop, so they wait in the kernel.
        silent = [socket.create_connection(("127.0.0.1", owner.dashboard.port)) for _ in range(100)]
        for one in silent:
            one.setblocking(False)
        ended: set[socket.socket] = set()
        while len(ended) < len(silent) - http_connections.CONNECTIONS_MAX:
            ended |= {one for one in silent if one not in ended and _is_over(one)}
            await asyncio.sleep(0.01)
        assert (await owner.get("/api/messages"))[0] == 200
        for one in silent:
            one.close()


def _is_over(silent: socket.socket) -> bool:
    try:
        return silent.recv(1) == b""
    except BlockingIOError:
        return False


async def test_slow_bodies_of_strangers_keep_nobody_out(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any process of this machine can begin to hand in a token, and never end."""
    monkeypatch.setattr(http_connections, "CONNECTIONS_MAX", 3)
    async with visited(peer, enter=False) as owner, asyncio.timeout(LIMIT_S):
        begun = (
            f"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:{owner.dashboard.port}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        slow = [await asyncio.open_connection("127.0.0.1", owner.dashboard.port) for _ in range(3)]
        for _, writer in slow:
            writer.write(begun.encode())
        await owner.enter()
        assert (await owner.get("/api/messages"))[0] == 200
        assert await slow[0][0].read() == b""
        for _, writer in slow:
            writer.close()
            await writer.wait_closed()


async def test_what_is_no_http_is_neither_logged_nor_repeated(peer: Peer, caplog: pytest.LogCaptureFixture) -> None:
    """A page of another port can make a browser's cookies longer than a line may be, and ours is among them."""
    caplog.set_level(logging.DEBUG)
    async with visited(peer) as owner:
        host = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{owner.dashboard.port}\r\n"
        ours = f"ssb_rtc_{owner.dashboard.port}={owner.cookie}"
        for bad in (f"Cookie: {ours}; b={'x' * 9_000}", f"Cookie: {ours}\x01", f"Cookie {ours}"):
            said = await raw(owner, f"{host}{bad}\r\n\r\n")
            assert said.startswith(b"HTTP/1.0 400 ")
            assert b"Content-Security-Policy" in said
            assert owner.cookie.encode() not in said
        assert owner.cookie not in caplog.text
        assert "Traceback" not in caplog.text


async def test_a_connection_too_many_is_turned_away(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connections, "CONNECTIONS_MAX", 2)
    async with visited(peer) as owner, owner.events() as one, owner.events() as other:
        await one.next()
        await other.next()
        assert await raw(owner, "GET / HTTP/1.1\r\n\r\n") == b""


async def test_every_answer_has_the_headers_that_keep_it_to_itself(peer: Peer) -> None:
    async with visited(peer) as owner:
        for path in ("/", "/nowhere", "/api/messages", "/api/nowhere", "/api/events"):
            timeout = aiohttp.ClientTimeout(total=LIMIT_S)
            async with owner.request("GET", path, timeout=timeout) as answer:
                for name, value in HEADERS.items():
                    assert answer.headers[name] == value, path
                assert "Access-Control-Allow-Origin" not in answer.headers
        assert "script-src 'self'" in HEADERS["Content-Security-Policy"]
        assert "unsafe" not in HEADERS["Content-Security-Policy"]
        assert (await owner.client.options(owner.origin + "/api/publish")).status == 401
