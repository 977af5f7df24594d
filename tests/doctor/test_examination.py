"""All checks together: in order, at the same time, within limits, and whatever happens in them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ssb_rtc.config import Settings
from ssb_rtc.doctor import examination
from ssb_rtc.doctor.checks import files, hubs
from ssb_rtc.doctor.examination import ORDER, Patient, examine
from ssb_rtc.doctor.findings import Finding, State, as_json, nothing_broken, sentence
from ssb_rtc.errors import ConfigFault
from ssb_rtc.hub.server import HubServer, serve
from ssb_rtc.peer import Peer
from tests.doctor.test_files import tree


@pytest.fixture
async def server() -> AsyncIterator[HubServer]:
    running = await serve("127.0.0.1", 0)
    yield running
    await running.close()


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


async def test_of_a_good_peer_nothing_is_broken_and_nothing_is_changed(tmp_path: Path, server: HubServer) -> None:
    async with Peer(tmp_path / "peer", Settings(), online=False) as peer:
        await peer.publish({"type": "post", "text": "hello"})
    before = tree(tmp_path)
    told: list[tuple[str, bool]] = []
    patient = Patient(tmp_path / "peer", Settings(hub=(server.url,)))
    findings = await examine(patient, lambda name, ended: told.append((name, ended)))
    assert tree(tmp_path) == before
    assert [finding.check for finding in findings] == list(ORDER)
    found = by_check(findings)
    for check in ("clock", "keys", "database", "hub", "channel"):
        assert found[check].state is State.OK, found[check]
    assert nothing_broken(findings)
    for name in ORDER:
        assert told.index((name, False)) < told.index((name, True))


async def test_where_there_is_nothing_nothing_is_made(tmp_path: Path) -> None:
    findings = await examine(Patient(tmp_path / "absent", Settings()))
    assert list(tmp_path.iterdir()) == []
    assert [finding.check for finding in findings] == list(ORDER)
    assert all(finding.remedy for finding in findings if finding.state in (State.WARNING, State.BROKEN))


async def test_a_peer_that_runs_is_looked_at_beside_it(tmp_path: Path, server: HubServer) -> None:
    settings = Settings(hub=(server.url,), lan=False)
    async with Peer(tmp_path / "peer", settings) as peer:
        findings = await examine(Patient(tmp_path / "peer", settings))
        await peer.publish({"type": "post", "text": "it still writes"})
    assert nothing_broken(findings)


async def test_a_broken_database_hides_nothing_else(tmp_path: Path, server: HubServer) -> None:
    async with Peer(tmp_path / "peer", Settings(), online=False):
        pass
    (tmp_path / "peer" / "ssb-rtc.sqlite").write_bytes(b"not a database at all" * 100)
    found = by_check(await examine(Patient(tmp_path / "peer", Settings(hub=(server.url,)))))
    assert found["database"].state is State.BROKEN
    assert found["hub"].state is State.OK
    assert found["keys"].state is State.OK


async def test_our_clock_is_a_day_off(tmp_path: Path, server: HubServer) -> None:
    patient = Patient(tmp_path, Settings(hub=(server.url,)), wall=lambda: time.time() - 86_400)
    found = by_check(await examine(patient))
    assert found["clock"].state is State.BROKEN
    assert "24 h behind" in found["clock"].seen


async def test_a_check_that_fails_says_what_to_report_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Finding:
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr(files, "keys", fail)
    found = by_check(await examine(Patient(tmp_path, Settings())))
    assert found["keys"].state is State.BROKEN
    assert "ZeroDivisionError" in found["keys"].seen
    assert "nobody thought of this" in found["keys"].seen
    assert "Report this line" in found["keys"].remedy
    assert found["disk"].state is State.OK


async def test_a_check_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object, **__: object) -> list[object]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(hubs, "ask", hang)
    monkeypatch.setattr(examination, "LIMIT_S", 0.2)
    found = by_check(await examine(Patient(tmp_path, Settings())))
    assert found["hub"].state is State.BROKEN
    assert "did not end" in found["hub"].seen
    assert found["clock"].state is State.SKIPPED
    assert found["channel"].state is State.SKIPPED


async def test_who_gives_up_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def hang(*_: object, **__: object) -> list[object]:
        begun.set()
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(hubs, "ask", hang)
    task = asyncio.create_task(examine(Patient(tmp_path, Settings())))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    "settings",
    [
        Settings(stun=("nowhere::1",)),
        Settings(turn=("turn:somebody",)),
        Settings(hub=("http://hub.example.org",)),
        Settings(relay_only=True),
    ],
)
def test_settings_that_mean_nothing_are_refused_before(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ConfigFault):
        Patient(tmp_path, settings)


def test_a_finding_as_json_and_sentences() -> None:
    told = as_json(Finding("hub", State.OK, "Fine.", subject="https://hub.example.org", facts={"echo_ms": 1}))
    assert told == {
        "check": "hub", "subject": "https://hub.example.org", "state": "ok", "seen": "Fine.", "remedy": None,
        "facts": {"echo_ms": 1},
    }  # fmt: skip
    assert [sentence(text) for text in ("why?", "so", "So. ", "")] == ["Why?", "So.", "So.", "."]


def test_the_page_of_the_docs_has_each_check_and_each_state() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "doctor.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert sections == list(ORDER)
    assert re.findall(r"^\| (\w+) \| ", page.partition("## ")[0], re.MULTILINE)[1:] == [str(state) for state in State]
    for number in (f"{files.READ_LIMIT_S:g} s", f"{hubs.HUBS_MAX} at most", f"longer than {hubs.SLOW_S:g} s"):
        assert number in page
