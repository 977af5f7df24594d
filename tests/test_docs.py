"""What the documents say is what the code has."""

from __future__ import annotations

import json
import re
from pathlib import Path

from scripts import flow
from ssb_rtc.cli.commands import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parent.parent


def test_the_flow_page_is_drawn_from_the_tables() -> None:
    assert flow.TARGET.read_text(encoding="utf-8") == flow.render(), "run: python -m scripts.flow"


def test_links_between_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = "manager|wire|feeds|storage|signalhub|transport|runtime|plugins|hub|sim"
    for name in set(re.findall(rf"(?<![\w/])((?:{rooms})/\w+\.py)", text)):
        assert (ROOT / "src" / "ssb_rtc" / name).exists(), name
    for name in set(re.findall(r"(?<![\w/])(tests/[\w/]+(?:\.\w+)?)", text)):
        assert (ROOT / name).exists(), name
    for name in set(re.findall(r"(?<![\w/])(traces/\w+\.txt)", text)):
        assert (ROOT / "tests" / name).exists(), name


def test_every_command_of_the_readme_parses() -> None:
    parser = build_parser()
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^ssb-rtc (.+?)(?:\s+#.*|\s*&)?$", text, re.MULTILINE)
    assert len(found) > 5
    for line in found:
        parser.parse_args(line.replace("'", "").split())


def test_commands_of_the_owner_s_pages_parse() -> None:
    parser = build_parser()
    for name in ("settings.md", "observability.md"):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        found = re.findall(r"^ssb-rtc (.+?)(?:\s+#.*)?$", text, re.MULTILINE)
        assert found
        for line in found:
            parser.parse_args(line.split())


def test_commands_of_the_hub_s_pages_and_files_parse() -> None:
    parser = build_parser()
    found: list[str] = []
    for name in ("docs/hub.md", "docs/running-a-hub.md"):
        found += re.findall(r"^ssb-rtc (.+)$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    unit = (ROOT / "deploy" / "ssb-rtc-hub.service").read_text(encoding="utf-8")
    found += re.findall(r"^ExecStart=\S*/ssb-rtc (.+)$", unit, re.MULTILINE)
    for name in ("nginx.conf", "Caddyfile"):
        text = (ROOT / "deploy" / name).read_text(encoding="utf-8")
        found += re.findall(r"^# .*: ssb-rtc (.+)$", text, re.MULTILINE)
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (entry,) = re.findall(r"^ENTRYPOINT (\[.+\])$", docker, re.MULTILINE)
    found.append(" ".join(json.loads(entry)[1:]))
    assert len(found) >= 9
    for line in found:
        parser.parse_args(line.split())
    page = (ROOT / "docs" / "running-a-hub.md").read_text(encoding="utf-8")
    flags = parser.parse_args(["hub", "serve"])
    for flag in re.findall(r"`--([a-z-]+)", page):
        if flag != "ulimit":
            assert hasattr(flags, flag.replace("-", "_")), flag


def test_every_command_has_help_and_examples() -> None:
    for command in COMMANDS:
        assert command.help
        assert command.examples
        assert all(example.startswith(("ssb-rtc", "date | ssb-rtc")) for example in command.examples)
