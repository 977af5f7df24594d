"""The documentation as a site: it builds without a warning, loads nothing from elsewhere, and its commands exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts import cli_docs, site_hooks
from ssb_rtc.cli.commands import COMMANDS, build_parser
from ssb_rtc.config import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


class _Assets(HTMLParser):
    """What a page has its reader's browser fetch: scripts, styles, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        fetches = tag in {"script", "img", "iframe", "source", "video", "audio", "embed"}
        if fetches or (tag == "link" and given.get("rel") not in {"canonical", "next", "prev"}):
            self.found += [value for name in ("src", "href", "srcset") if (value := given.get(name))]


def test_a_reader_s_browser_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        assets = _Assets()
        assets.feed(page.read_text(encoding="utf-8"))
        assert assets.found
        for asset in assets.found:
            # Of the page for what is not found, which may be asked for at any depth.
            assert not re.match(r"(\w+:)?//", asset), f"{page.name} fetches {asset}"
            assert (site / asset.lstrip("/")).exists(), f"{page.name} needs {asset}"
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text(encoding="utf-8")), style.name


def test_the_site_has_every_page_and_the_public_api(site: Path) -> None:
    for page in PAGES:
        assert (site / f"{page.stem}.html").exists()
    for name in site_hooks.FROM_ELSEWHERE:
        assert (site / name).with_suffix(".html").exists()
    api = (site / "api.html").read_text(encoding="utf-8")
    for told in ("ssb_rtc.peer.Peer.publish", "ssb_rtc.config.Settings.hub", "ssb_rtc.errors.AuthorFault",
                 "ssb_rtc.testing.swarm.Swarm.converged", "ssb_rtc.plugins.base.Plugin"):  # fmt: skip
        assert f'id="{told}"' in api
    assert 'data-md-component="search"' in api
    assert (site / "man" / "ssb-rtc.1").exists()


def test_links_that_leave_the_site_name_the_file_instead() -> None:
    assert site_hooks.relinked("[wire](wire.md#gossip)", "hub.md") == "[wire](wire.md#gossip)"
    assert site_hooks.relinked("[it](../ARCHITECTURE.md)", "hub.md") == "[it](architecture.md)"
    assert site_hooks.relinked("[it](docs/wire.md)", "architecture.md") == "[it](wire.md)"
    assert site_hooks.relinked("[it](bench_hub.py)", "benchmarks.md") == "it (`bench/bench_hub.py`)"
    assert site_hooks.relinked("[examples/notebook.py](../examples/notebook.py)", "x.md") == "`examples/notebook.py`"
    assert site_hooks.relinked("[no](../no-such-file)", "x.md") == "[no](../no-such-file)"
    assert site_hooks.relinked("[a](https://example.org) [b](#c)", "x.md") == "[a](https://example.org) [b](#c)"


@pytest.mark.parametrize(("target", "render"), cli_docs.TARGETS, ids=["page", "manual"])
def test_the_reference_of_the_command_line_is_written_from_the_parser(target: Path, render: object) -> None:
    assert callable(render)
    assert target.read_text(encoding="utf-8") == render(), "run: python -m scripts.cli_docs"


def test_the_manual_page_names_every_command_and_is_sound() -> None:
    text = cli_docs.manual()
    for command in COMMANDS:
        assert f".SS ssb\\-rtc {command.name}" in text
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True, check=True
        )
        assert not done.stderr


def test_every_command_of_the_pages_parses() -> None:
    parser = build_parser()
    counted = 0
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                words = shlex.split(re.split(r"  #| > | \| ", line)[0].rstrip(" &"))
                if not words or words[0] != "ssb-rtc":
                    continue
                counted += 1
                try:
                    parser.parse_args(words[1:])
                except SystemExit as refused:
                    pytest.fail(f"{page.name}: {line} ({refused})")
    assert counted > 40


def test_the_user_unit_is_sound_and_variables_that_it_and_the_pages_name_exist(tmp_path: Path) -> None:
    known = {setting.variable for setting in SETTINGS} | {"SSB_RTC_SHARED"}
    for source in (ROOT / "src").rglob("*.py"):
        known |= set(re.findall(r'"(SSB_RTC_[A-Z_]+)"', source.read_text(encoding="utf-8")))
    unit = ROOT / "deploy" / "ssb-rtc.service"
    for file in [*PAGES, unit]:
        for name in re.findall(r"\bSSB_RTC_[A-Z_]+\b", file.read_text(encoding="utf-8")):
            assert name in known, f"{file.name}: {name}"
    if shutil.which("systemd-analyze"):
        home = tmp_path / ".local" / "bin"
        home.mkdir(parents=True)
        (home / "ssb-rtc").write_text("#!/bin/sh\n")
        (home / "ssb-rtc").chmod(0o755)
        environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", unit], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
    (command,) = re.findall(r"^ExecStart=\S*/ssb-rtc (.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    build_parser().parse_args(command.split())
