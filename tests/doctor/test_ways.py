"""The checks of STUN and TURN, against servers on loopback; those behind NATs stand in tests/nat/test_doctor.py."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from aioice import stun

from ssb_rtc.doctor.checks import ways
from ssb_rtc.doctor.findings import State
from ssb_rtc.doctor.nat import Filtering, Place, Relays
from ssb_rtc.doctor.probes import relay
from ssb_rtc.doctor.probes import stun as probe
from ssb_rtc.errors import ConnectFailed
from ssb_rtc.transport.ice import IceConfig, TurnServer
from tests.doctor.stun_server import answering, refusing, stun_server

NO_RELAYS = Relays(configured=False, working=False)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gets no answer asks as often, and waits 0.7 s instead of 3.5 s."""
    monkeypatch.setattr(stun, "RETRY_RTO", 0.1)
    monkeypatch.setattr(relay, "ALLOCATE_LIMIT_S", 1.0)


def mirror(request: stun.Message, place: Place) -> bytes:
    """An honest server."""
    return answering(request, XOR_MAPPED_ADDRESS=place)


def told(place: Place) -> str:
    return f"{place[0]}:{place[1]}"


def dead_port() -> str:
    """A UDP port of this machine where nobody answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


async def test_a_server_that_works_and_one_that_does_not() -> None:
    dead = dead_port()
    async with stun_server(mirror) as place:
        ice = IceConfig(stun=(told(place), dead))
        found = await ways.ask_stun(ways.stun_servers(ice))
    good, bad = ways.judge_stun(ice, found)
    assert good.state is State.OK
    assert good.facts["mapped"][0] == "127.0.0.1"
    assert (bad.state, bad.subject) == (State.WARNING, dead)
    assert "no answer" in bad.seen
    nat = ways.judge_nat(ice, found, NO_RELAYS)
    assert (nat.state, nat.facts["mapping"]) == (State.OK, "none")


async def test_no_stun_at_all() -> None:
    ice = IceConfig(stun=(dead_port(),))
    found = await ways.ask_stun(ways.stun_servers(ice))
    (row,) = ways.judge_stun(ice, found)
    assert row.state is State.BROKEN
    assert "firewall" in row.remedy
    assert "--stun" in row.remedy
    assert ways.judge_nat(ice, found, NO_RELAYS).state is State.SKIPPED


async def test_a_name_that_nobody_knows() -> None:
    ice = IceConfig(stun=("stun.invalid:3478",))
    found = await ways.ask_stun(ways.stun_servers(ice))
    (row,) = ways.judge_stun(ice, found)
    assert row.state is State.BROKEN
    assert "its name is not known" in row.seen


def test_no_server_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row.state for row in ways.judge_stun(IceConfig(), None)] == [State.SKIPPED]
    assert ways.no_relay_set().state is State.SKIPPED
    for own, state, says in (
        (("10.0.0.7",), State.WARNING, "--stun"),
        (("8.8.8.8",), State.OK, ""),
        ((), State.SKIPPED, "network"),
    ):
        monkeypatch.setattr(ways, "ways_out", lambda own=own: own)
        found = ways.judge_nat(IceConfig(), None, NO_RELAYS)
        assert found.state is state
        assert says in found.remedy


HOSTILE: dict[str, Callable[[stun.Message, Place], bytes | None]] = {
    "garbage": lambda _request, _place: b"\x00" * 40,
    "too short": lambda _request, _place: b"\x01",
    "another question's": lambda request, place: mirror(stun.Message(stun.Method.BINDING, stun.Class.REQUEST), place),
    "cut off": lambda request, place: mirror(request, place)[:-3],
    "nothing said": lambda request, _place: answering(request, SOFTWARE="none"),
    "an error": lambda request, _place: refusing(request, 400),
    "no text": lambda request, _place: refusing(request, 300)[:-4] + b"\xff\xfe\xff\xfe",
}


@pytest.mark.parametrize("how", HOSTILE)
async def test_an_answer_without_sense_is_no_answer(how: str) -> None:
    async with stun_server(HOSTILE[how]) as place, probe.asker(socket.AF_INET) as asker:
        with pytest.raises(ConnectFailed):
            await asker.ask(place)


@pytest.mark.parametrize(
    ("server", "other", "usable"),
    [
        ("192.0.2.1", None, False),
        ("8.8.8.8", ("8.8.4.4", 3_479), True),
        ("8.8.8.8", ("8.8.8.8", 3_479), False),
        ("8.8.8.8", ("8.8.4.4", 3_478), False),
        ("8.8.8.8", ("8.8.4.4", 0), False),
        ("8.8.8.8", ("192.168.1.1", 3_479), False),
        ("8.8.8.8", ("127.0.0.1", 3_479), False),
        ("8.8.8.8", ("169.254.1.1", 3_479), False),
        ("8.8.8.8", ("224.0.0.1", 3_479), False),
        ("8.8.8.8", ("0.0.0.0", 3_479), False),
        ("8.8.8.8", ("2001:4860:4860::8888", 3_479), False),
        ("10.0.0.1", ("10.0.0.2", 3_479), True),
    ],
)
def test_where_else_a_server_may_send_us(server: str, other: Place | None, usable: bool) -> None:
    assert probe._usable(other, (server, 3_478)) == (other if usable else None)


async def test_a_server_that_ignores_or_refuses_to_answer_from_elsewhere_tells_nothing_of_filters() -> None:
    def refuse(request: stun.Message, place: Place) -> bytes:
        return refusing(request, 420) if "CHANGE-REQUEST" in request.attributes else mirror(request, place)

    for reply in (mirror, refuse):
        async with stun_server(reply) as place:
            assert await probe.filtering_towards(place, socket.AF_INET) is Filtering.UNKNOWN


async def test_an_other_address_where_nobody_answers_tells_nothing_of_filters() -> None:
    """Else a server that is set up wrong would make every NAT look port-restricted."""

    def boast(request: stun.Message, place: Place) -> bytes | None:
        if "CHANGE-REQUEST" in request.attributes:
            return None
        return answering(request, XOR_MAPPED_ADDRESS=place, OTHER_ADDRESS=("127.0.0.2", 9))

    async with stun_server(boast) as place:
        found = await probe.survey([told(place)])
    assert found is not None
    assert found.filtering is Filtering.UNKNOWN
    assert len(found.seen) == 1


async def test_no_turn_server_and_one_that_is_none() -> None:
    host, port = dead_port().split(":")
    row, works = await ways.relay(TurnServer(host, int(port), "user", "secret"))
    assert not works
    assert row.state is State.BROKEN
    assert "no answer" in row.seen
    async with stun_server(lambda request, _: refusing(request, 400)) as place:
        row, works = await ways.relay(TurnServer(*place, "user", "secret"))
    assert not works
    assert "error 400" in row.seen
    assert "TURN server" in row.remedy


@pytest.mark.parametrize(
    ("code", "says"), [(401, "--turn"), (486, "later"), (508, "later"), (403, "Ask"), (None, "TURN")]
)
async def test_why_there_is_no_relay(code: int | None, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(_server: TurnServer) -> Any:
        raise relay.RelayRefused(code)

    monkeypatch.setattr(ways, "try_relay", refused)
    row, works = await ways.relay(TurnServer("relay.example.org", 3_478, "user", "hunter2"))
    assert not works
    assert says in row.remedy
    assert "hunter2" not in str(row)


@pytest.mark.parametrize(
    ("carries", "state", "says"), [(True, State.OK, ""), (None, State.OK, ""), (False, State.WARNING, "UDP ports")]
)
async def test_a_relay_that_carries_nothing_is_a_warning(
    carries: bool | None, state: State, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def given(_server: TurnServer) -> relay.Relay:
        return relay.Relay(("203.0.113.1", 50_000), ("203.0.113.9", 4_000), carries, 0.01)

    monkeypatch.setattr(ways, "try_relay", given)
    row, works = await ways.relay(TurnServer("relay.example.org", 3_478, "user", "secret"))
    assert works
    assert row.state is state
    assert says in row.remedy


@pytest.mark.parametrize(
    ("own", "state", "says"),
    [
        (("10.0.0.7",), State.SKIPPED, "no IPv6 here"),
        (("10.0.0.7", "fd00::2"), State.SKIPPED, "own network only"),
        (("10.0.0.7", "2a00:1450::5"), State.OK, "not tried"),
    ],
)
async def test_ipv6(own: tuple[str, ...], state: State, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ways_out", lambda: own)
    found = await ways.ipv6([])
    assert found.state is state
    assert says in found.seen


async def test_ipv6_that_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "ways_out", lambda: ("2a00:1450::5",))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6 on loopback: enable it (sysctl net.ipv6.conf.lo.disable_ipv6=0)")
        found = await ways.ipv6([f"[::1]:{taken.getsockname()[1]}"])
    assert found.state is State.WARNING
    assert "no answer" in found.seen
    assert found.remedy
