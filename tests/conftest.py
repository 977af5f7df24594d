"""Fixtures that every test may use, and the table of what was skipped and why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ssb_rtc.transport import channel_wrtc

pytest_plugins = ["ssb_rtc.testing.fixtures"]

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "project", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


def shared_folder() -> Path | None:
    """The test data that lives beside the project, or None where it is absent."""
    folder = Path(os.environ.get("SSB_RTC_SHARED") or ROOT.parent / "shared")
    return folder if (folder / "vectors").is_dir() else None


@pytest.fixture(autouse=True, scope="session")
def _no_local_network() -> Iterator[None]:
    """The network of whoever runs the tests may have peers of its own: peers in this process hear nobody there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssb_rtc.transport.lan.PORT", 0)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_settings_file() -> Iterator[None]:
    """Whoever runs the tests may have settings of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSB_RTC_CONFIG", "")
        yield


@pytest.fixture(autouse=True, scope="session")
def _loopback() -> None:
    """The WebRTC library's switch is for the whole process: whichever test comes first must not decide it."""
    channel_wrtc._allow_loopback()


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The folder of shared test vectors; skips where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared test vectors: put them at ../shared or name their folder in SSB_RTC_SHARED")
    return folder / "vectors"


@pytest.fixture(scope="session")
def wire_captures() -> Path:
    """The folder of captures of the JavaScript stack; skips where it is absent."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared captures: put them at ../shared or name their folder in SSB_RTC_SHARED")
    return folder / "wire"


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """The folder whose node_modules hold the npm packages of the interop tests; skips where Node or they are absent."""
    if shutil.which("node") is None:
        pytest.skip("no Node.js: install it (apt-get install nodejs npm) and run make test again")
    folder = ROOT / ".node"
    if not (folder / "node_modules").is_dir():
        pytest.skip("the npm packages are not installed: run make test, which installs them")
    return folder


def require_program(name: str, package: str) -> str:
    """The path of a program that a test runs; skips where it is absent and says what installs it."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"no {name}: apt-get install {package}")
    return found


def require_root() -> None:
    """Skips where the test may not make network namespaces."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces: run the tests as root")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of every skip, each with its reason, which names what would mend it."""
    reasons: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else "?"
        reasons.setdefault(reason, []).append(report.nodeid)
    if not reasons:
        return
    terminalreporter.section("skipped")
    for reason, tests in sorted(reasons.items()):
        terminalreporter.line(f"{len(tests):4} tests  {reason}")
        terminalreporter.line(f"            first: {tests[0]}")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI nothing may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("\nCI=true: a skipped test counts as a failure")
