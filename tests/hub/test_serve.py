"""`ssb-rtc hub serve` as a process: its flags, its log, its ends, with either event loop."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from ssb_rtc.cli import hub_flags
from ssb_rtc.cli.commands import build_parser
from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.limits import BrokerTimes, HubLimits
from ssb_rtc.hub.rates import Rate
from tests.e2e.processes import LIMIT_S, Running, run, running
from tests.hub.sockets import HOST, Raw, connected, get, post, post_bytes, subscribed
from tests.transport.certificates import write_certificate

SERVE = ("hub", "serve", "--port", "0", "--log", "json")


def events(process: Running) -> list[str]:
    return [json.loads(line)["event"] for line in process.stderr.splitlines()]


async def ended(process: Running) -> int:
    """Its exit code, after a signal that was sent already: a second one would end it the hard way."""
    async with asyncio.timeout(LIMIT_S):
        return await process.process.wait()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_a_hub_serves_and_drains(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="no uvloop: pip install 'ssb-rtc[hub]'")
    words = (*SERVE, "--loop", loop, "--log-level", "debug", "--metrics", "all", "--drain-streams-s", "5")
    async with running(tmp_path, *words) as hub:
        port = hub.ready["port"]
        assert hub.ready["url"] == f"http://127.0.0.1:{port}"
        async with (
            subscribed(port, b"/v1/app/secretchannel") as one,
            subscribed(port, b"/v1/app/secretchannel,other") as two,
        ):
            assert (await post(port, b"/v1/app/secretchannel", b"secretbody"))[9:12] == b"200"
            for raw in (one, two):
                assert await raw.chunk() == b"data: secretbody\n\n"
            assert (await get(port, b"/healthz"))[1] == b'{"status":"ok"}\n'
            assert b"ssb_rtc_hub_subscribers 3.0" in (await get(port, b"/metrics"))[1]
            assert b"<strong>3</strong>" in (await get(port, b"/", b"Accept: text/html\r\n"))[1]
            hub.process.send_signal(signal.SIGTERM)
            for raw in (one, two):
                assert await raw.rest() == b"0\r\n\r\n"
        assert await ended(hub) == 0
        assert events(hub) == ["listening", "draining", "ended"]
        assert json.loads(hub.stderr.splitlines()[0])["loop"] == loop
        assert "secret" not in hub.stderr


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_slow_readers_and_garbage_on_either_loop(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="no uvloop: pip install 'ssb-rtc[hub]'")
    words = (*SERVE, "--loop", loop, "--reader-buffer-bytes", "128k", "--keep-alive-s", "0.2", "--sweep-s", "0.05")
    async with running(tmp_path, *words) as hub:
        port = hub.ready["port"]
        async with subscribed(port, b"/v1/a/b") as stuck, subscribed(port, b"/v1/a/b") as good, connected(port) as raw:
            stuck.stop_reading()
            async with asyncio.timeout(LIMIT_S):
                while b'"subscribers": 2' in (await get(port, b"/"))[1]:
                    await raw.send(post_bytes(b"/v1/a/b", b"x" * 60_000))
                    assert len(await good.chunk()) == 60_008
                    assert (await raw.answer())[0][9:12] == b"200"
            assert await raw.rest() == b"", "an idle connection is closed"
            for rubbish in (b"rubbish\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, b"\x16\x03\x01\x02\x00"):
                async with connected(port) as stranger:
                    stranger.writer.write(rubbish)
                    with suppress(OSError):
                        stranger.writer.write_eof()
                    assert (await stranger.rest()).startswith(b"HTTP/1.1 4")
            await post(port, b"/v1/a/b", b"still here")
            assert await good.chunk() == b"data: still here\n\n"
        assert await hub.end() == 0
        assert "error" not in hub.stderr


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_tls(loop: str, tmp_path: Path) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="no uvloop: pip install 'ssb-rtc[hub]'")
    chain, key = write_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=str(chain))
    trust.check_hostname = False
    words = (*SERVE, "--loop", loop, "--tls-cert", str(chain), "--tls-key", str(key))
    async with running(tmp_path, *words) as hub:
        port = hub.ready["port"]
        assert hub.ready["url"] == f"https://127.0.0.1:{port}"
        streams = [await asyncio.open_connection("127.0.0.1", port, ssl=trust) for _ in range(2)]
        listener, poster = (Raw(*stream) for stream in streams)
        await listener.send(b"GET /v1/app/a HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await listener.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        for number in range(3):
            await poster.send(post_bytes(b"/v1/app/a", b"%d" % number * 60_000))
            assert len(await listener.chunk()) == 60_008
            assert (await poster.answer())[0].startswith(b"HTTP/1.1 200 OK")
        async with connected(port) as plain:
            await plain.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            assert not (await plain.rest()).startswith(b"HTTP")
        hub.process.send_signal(signal.SIGTERM)
        assert await listener.rest() == b"0\r\n\r\n"
        for _, writer in streams:
            writer.close()
            with suppress(OSError, ssl.SSLError):
                await writer.wait_closed()
        assert await ended(hub) == 0


async def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, *SERVE, "--drain-streams-s", "0.001", "--drain-s", "100") as hub:
        async with subscribed(hub.ready["port"], b"/v1/app/a") as raw:
            hub.process.send_signal(signal.SIGINT)
            assert await raw.rest() == b"0\r\n\r\n"
        assert await ended(hub) == 0
        assert "draining" not in events(hub)


async def test_too_few_descriptors_are_told(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < 1000:
        pytest.skip("this machine's limit of descriptors is below 1,000: ulimit -n")
    prefix = ("sh", "-c", 'ulimit -n 500; exec "$@"', "sh")
    async with running(tmp_path, *SERVE, prefix=prefix) as hub:
        (listening,) = map(json.loads, hub.stderr.splitlines())
        assert (listening["descriptors"], listening["connections_max"]) == (500, 436)
    async with running(tmp_path, *SERVE, "--connections-max", "500", prefix=prefix) as hub:
        assert "LimitNOFILE" in hub.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--connections-max", "0"], "--connections-max takes a whole number above 0"),
        (["--connections-max", "1.5"], "--connections-max takes a whole number above 0"),
        (["--address-messages-s", "many"], "--address-messages-s takes a number above 0"),
        (["--trusted-proxy", "me"], "--trusted-proxy takes an address"),
        (["--broker", "http://x"], "--broker takes an address like redis://"),
        (["--tls-cert", "x.pem"], "--tls-key"),
        (["--tls-cert", "/nowhere/x.pem", "--tls-key", "/nowhere/y.pem"], "can't use the certificate"),
    ],
)
async def test_what_has_no_meaning_is_told(words: list[str], said: str) -> None:
    done = await run("hub", "serve", "--port", "0", *words)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


async def test_what_is_not_installed_is_told_or_done_without(tmp_path: Path) -> None:
    for library in ("redis", "uvloop", "prometheus_client"):
        (tmp_path / f"{library}.py").write_text("raise ImportError\n")
    here = {"PYTHONPATH": f"{tmp_path}:{Path(hub_flags.__file__).parents[2]}"}
    for words, extra in (
        (["--broker", "redis://x"], "redis"),
        (["--loop", "uvloop"], "hub"),
        (["--metrics", "all"], "hub"),
    ):
        done = await run("hub", "serve", "--port", "0", *words, env=here)
        assert done.code == 2
        assert f"pip install 'ssb-rtc[{extra}]'" in done.err
    async with running(tmp_path / "hub", *SERVE, env=here) as hub:
        assert (await get(hub.ready["port"], b"/metrics"))[0][9:12] == b"404"
        assert json.loads(hub.stderr.splitlines()[0])["loop"] == "asyncio"


def test_every_limit_has_a_flag() -> None:
    hub_flags.check_table()
    given = ["--header-bytes", "8k", "--address-bytes-burst", "2M", "--drain-s", "0.5", "--limit-loopback"]
    arguments = build_parser().parse_args(["hub", "serve", *given, "--broker-beat-s", "1"])
    limits = hub_flags.limits_of(arguments)
    rate = Rate(50.0, 500.0, 256 * 1024.0, 2e6)
    assert limits == HubLimits(header_bytes=8000, address_rate=rate, drain_s=0.5, loopback_exempt=False)
    assert hub_flags.times_of(arguments) == BrokerTimes(beat_s=1.0)
    for text in ("", "k", "-1", "nan", "inf", "1e16"):
        with pytest.raises(ConfigFault, match="--header-bytes"):
            hub_flags.limits_of(build_parser().parse_args(["hub", "serve", f"--header-bytes={text}"]))
