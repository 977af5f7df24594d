"""What is in the wheel and in the source archive, and that the wheel is a whole program without the checkout."""

from __future__ import annotations

import email
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import ssb_rtc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "ssb_rtc"
NAME = f"ssb_rtc-{ssb_rtc.__version__}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout with what is installed."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(built)


def sources() -> set[str]:
    """Every file of the package as it should be in the wheel."""
    files = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(PACKAGE.parent)) for path in files}


def test_the_wheel_holds_the_package_and_its_manual_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"{NAME}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        manual = archive.read(f"{NAME}.data/data/share/man/man1/ssb-rtc.1")
        metadata = email.message_from_bytes(archive.read(f"{NAME}.dist-info/METADATA"))
        entry_points = archive.read(f"{NAME}.dist-info/entry_points.txt").decode()
    assert {name for name in names if name.startswith("ssb_rtc/")} == sources()
    assert {name.partition("/")[0] for name in names} == {"ssb_rtc", f"{NAME}.dist-info", f"{NAME}.data"}
    assert "ssb_rtc/py.typed" in names
    assert manual == (ROOT / "docs" / "man" / "ssb-rtc.1").read_bytes()
    assert "ssb-rtc = ssb_rtc.cli.main:main" in entry_points
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"aiortc", "hub", "redis"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_source_archive_holds_what_builds_tests_and_documents_it(tmp_path: Path) -> None:
    (built,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(built) as archive:
        names = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    assert {f"src/{name}" for name in sources()} <= names
    for needed in ("pyproject.toml", "PKG-INFO", "LICENSE", "README.md", "CONTRIBUTING.md", "Makefile",
                   "constraints.txt", "mkdocs.yml", "docs/man/ssb-rtc.1", "docs/tutorial.md", "scripts/cli_docs.py",
                   "scripts/install_node.sh", "tests/conftest.py", "bench/run.py", "examples/notebook.py",
                   "deploy/ssb-rtc.service"):  # fmt: skip
        assert needed in names, needed
    unwanted = (".venv", ".node", "node_modules", ".git/", "site/", "__pycache__", ".hypothesis", ".sqlite")
    assert not [name for name in names if any(part in name for part in unwanted)]


def test_the_demo_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSB_RTC_")}
    done = subprocess.run(
        [sys.executable, "-m", "ssb_rtc.cli", "demo", "--once", "--json", "--messages", "3"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path / "installed"), "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"verified":true' in done.stdout
