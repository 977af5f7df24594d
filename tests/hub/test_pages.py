"""What a hub tells people, monitors and Prometheus, and how it ends."""

from __future__ import annotations

import asyncio
import re

from ssb_rtc.hub.clients import Proxies
from ssb_rtc.hub.limits import HubLimits
from ssb_rtc.hub.metrics import prometheus
from ssb_rtc.hub.rates import Rate
from tests.hub.sockets import HOST, LIMIT_S, connected, get, post, post_bytes, running, subscribed

STATUS = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
BROWSER = b"Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"


async def test_a_browser_gets_a_page_and_all_others_json() -> None:
    async with running() as hub, subscribed(hub.port, b"/v1/app/a"):
        head, body = await get(hub.port, b"/", BROWSER)
        assert b"Content-Type: text/html; charset=utf-8\r\n" in head
        assert b"Content-Security-Policy: default-src 'none'" in head
        assert b"<strong>1</strong> subscriber now. All is well." in body
        assert int(re.findall(rb"Content-Length: (\d+)", head)[0]) == len(body)
        for headers in (b"", b"Accept: */*\r\n", b"Accept: application/json\r\n"):
            head, body = await get(hub.port, b"/", headers)
            assert b"Content-Type: application/json; charset=utf-8\r\n" in head
            assert b'"subscribers": 1' in body
        assert b"Access-Control-Allow-Origin: *\r\n" in head, "as npm's hub does"
        head, body = await get(hub.port, b"/", BROWSER, b"HEAD")
        assert (b"text/html" in head, body) == (True, b"")
        assert b"application/json" in (await get(hub.port, b"/", BROWSER, b"POST"))[0]


async def test_health() -> None:
    async with running() as hub:
        head, body = await get(hub.port, b"/healthz")
        assert (head[9:12], body) == (b"200", b'{"status":"ok"}\n')
        assert (await get(hub.port, b"/healthz", method=b"POST"))[0][9:12] == b"404"


async def test_no_other_site_s_script_may_read_what_only_our_hub_has() -> None:
    async with running(metrics=prometheus(for_all=True)) as hub:
        for path in (b"/metrics", b"/healthz", b"/"):
            head, _ = await get(hub.port, path, BROWSER + b"Origin: https://evil.example\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"Access-Control" not in head, path


async def test_metrics_count_what_happened() -> None:
    limits = HubLimits(loopback_exempt=False, address_rate=Rate(0.1, 2, 1e6, 1e6))
    async with running(limits, metrics=prometheus(for_all=False)) as hub, subscribed(hub.port, b"/v1/a/b,c,b"):
        await post(hub.port, b"/v1/a/b", b"hello")
        await post(hub.port, b"/v1/a/b", b"\n")
        await post(hub.port, b"/v1/a/nobody", b"hello")
        assert (await post(hub.port, b"/v1/a/b", b"hello"))[9:12] == b"429"
        async with connected(hub.port) as raw:
            await raw.send(b"rubbish\r\n\r\n")
            await raw.rest()
        head, body = await get(hub.port, b"/metrics")
        assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
        lines = set(body.decode().splitlines())
        assert lines >= {
            "ssb_rtc_hub_subscribers 3.0",
            "ssb_rtc_hub_channels 2.0",
            'ssb_rtc_hub_posts_total{result="taken"} 2.0',
            'ssb_rtc_hub_posts_total{result="limited"} 1.0',
            'ssb_rtc_hub_posts_total{result="invalid"} 1.0',
            "ssb_rtc_hub_post_bytes_total 10.0",
            "ssb_rtc_hub_deliveries_total 2.0",
            "ssb_rtc_hub_requests_broken_total 1.0",
            "ssb_rtc_hub_ready 1.0",
        }
        assert any(line.startswith("process_open_fds ") for line in lines)


async def test_metrics_are_this_machine_s_business_unless_told_otherwise() -> None:
    stranger = b"X-Forwarded-For: 192.0.2.1\r\n"
    for for_all, status in ((False, b"404"), (True, b"200")):
        async with running(proxies=Proxies(["127.0.0.1"]), metrics=prometheus(for_all=for_all)) as hub:
            assert (await get(hub.port, b"/metrics", stranger))[0][9:12] == status
            assert (await get(hub.port, b"/metrics"))[0][9:12] == b"200"
    async with running() as hub:
        assert (await get(hub.port, b"/metrics"))[0][9:12] == b"404"


async def test_behind_a_trusted_proxy_limits_count_each_client() -> None:
    limits = HubLimits(address_rate=Rate(0.1, 1, 1e6, 1e6), connections_per_address_max=1)
    async with running(limits, proxies=Proxies(["127.0.0.1"])) as hub, connected(hub.port) as proxy:
        statuses = []
        for address in (b"192.0.2.1", b"192.0.2.1", b"192.0.2.2", b"9.9.9.9, 192.0.2.2", b"::1"):
            await proxy.send(post_bytes(b"/v1/app/a", b"x", b"X-Forwarded-For: " + address + b"\r\n"))
            statuses.append((await proxy.answer())[0][9:12])
        assert statuses == [b"200", b"429", b"200", b"429", b"200"]
        ask = b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"X-Forwarded-For: 192.0.2.1\r\n\r\n"
        for _ in range(2):
            async with connected(hub.port) as first, connected(hub.port) as second:
                await first.send(ask)
                assert (await first.until(b"\r\n\r\n"))[9:12] == b"200"
                await second.send(ask)
                got = await second.rest()
                assert got[9:12] == b"503"
                assert b"\r\n\r\nyour address has as many connections as one gets (1): close some; " in got
            async with asyncio.timeout(LIMIT_S):
                while hub.subscribers:
                    await asyncio.sleep(0)


async def test_who_is_no_proxy_is_not_believed() -> None:
    limits = HubLimits(loopback_exempt=False, address_rate=Rate(0.1, 1, 1e6, 1e6))
    async with running(limits, proxies=Proxies(["192.0.2.0/24"])) as hub, connected(hub.port) as raw:
        statuses = []
        for address in (b"192.0.2.1", b"192.0.2.2"):
            await raw.send(post_bytes(b"/v1/app/a", b"x", b"X-Forwarded-For: " + address + b"\r\n"))
            statuses.append((await raw.answer())[0][9:12])
        assert statuses == [b"200", b"429"]


async def test_a_drain_ends_streams_one_by_one_and_answers_to_the_last() -> None:
    async with running(HubLimits(drain_s=1.0, drain_streams_s=10)) as hub:
        async with (
            subscribed(hub.port, b"/v1/app/a") as one,
            subscribed(hub.port, b"/v1/app/b") as two,
            connected(hub.port) as poster,
            connected(hub.port) as idle,
        ):
            await poster.send(STATUS + b"POST /v1/app/b HTTP/1.1\r\n")
            await poster.answer()
            drain = asyncio.create_task(hub.drain())
            assert await idle.rest() == b""
            assert hub.trouble == "draining"
            await poster.send(HOST + b"Content-Length: 2\r\n\r\nhi")
            answer = await poster.rest()
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert b"Connection: close\r\n" in answer
            assert await one.rest() == b"0\r\n\r\n"
            assert (await two.rest()).endswith(b"0\r\n\r\n")
            await drain
        assert hub.connections == 0


async def test_while_draining_nobody_new_is_taken_and_health_says_so() -> None:
    async with (
        running(HubLimits(drain_s=1.0, drain_streams_s=1)) as hub,
        subscribed(hub.port, b"/v1/app/a"),
        connected(hub.port) as late,
        connected(hub.port) as monitor,
    ):
        for raw in (late, monitor):
            await raw.send(STATUS + b"GET ")
            await raw.answer()
        drain = asyncio.create_task(hub.drain())
        await asyncio.sleep(0)
        await late.send(b"/v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
        await monitor.send(b"/healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        got = await late.rest()
        assert got.startswith(b"HTTP/1.1 503")
        assert got.endswith(b"\r\n\r\nthis hub is about to stop: try again in 5 s, or another hub\n")
        assert (await monitor.rest()).endswith(b'{"status":"draining"}\n')
        await drain
