"""`ssb-rtc name`, and the names beside ids: short, printable, and never worth a long wait."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.cli.exits import USAGE
from ssb_rtc.cli.main import main
from ssb_rtc.cli.names import KEPT_MAX, Names
from ssb_rtc.config import Settings
from ssb_rtc.errors import ConnectFailed
from ssb_rtc.peer import Peer
from ssb_rtc.storage.folder import create


@pytest.fixture
def path(tmp_path: Path) -> list[str]:
    create(tmp_path)
    return ["--path", str(tmp_path)]


def test_a_name_is_published_and_stands_beside_ids(
    path: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["name", *path]) == 0
    assert "`ssb-rtc name NAME` gives you one" in capsys.readouterr().out
    assert main(["name", " Ann of the hills ", "--json", *path]) == 0
    message = json.loads(capsys.readouterr().out)
    own = message["value"]["author"]
    assert message["value"]["content"] == {"type": "about", "about": own, "name": "Ann of the hills"}
    assert main(["name", "--json", *path]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": own, "name": "Ann of the hills"}
    assert main(["log", *path]) == 0
    assert f"  {own[:9]} Ann of the hills  " in capsys.readouterr().out
    assert main(["status", *path]) == 0
    assert f"{own}  Ann of the hills\n" in capsys.readouterr().out

    async def friend() -> str:
        async with Peer(tmp_path / "friend", Settings(lan=False), online=False) as peer:
            await peer.publish({"type": "about", "about": peer.id, "name": "\x1b[2J\u202eBen" + "n" * 100})
            return str(peer.id)

    ben = asyncio.run(friend())
    assert main(["export", "--path", str(tmp_path / "friend")]) == 0
    (tmp_path / "feed.jsonl").write_text(capsys.readouterr().out)
    assert main(["follow", ben, *path]) == 0
    assert main(["import", str(tmp_path / "feed.jsonl"), *path]) == 0
    capsys.readouterr()
    assert main(["friends", *path]) == 0
    shown = capsys.readouterr().out
    assert "[2J Ben" + "n" * 16 + "…" in shown
    assert not {"\x1b", "\u202e"} & set(shown)


@pytest.mark.parametrize("name", ["", "  ", "a\tb", "x" * 65, "\u202eAnn", "a\nb"])
def test_what_would_not_be_shown_as_typed_is_no_name(
    name: str, path: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["name", name, *path]) == USAGE
    assert "a name is one line of 1 to 64 characters" in capsys.readouterr().err


async def test_names_are_asked_for_in_parts_and_not_again_after_a_long_wait() -> None:
    class Slow:
        asked: list[int] = []  # noqa: RUF012 - of this one test

        async def call(self, _name: str, feeds: list[str], timeout_s: float) -> Any:
            assert timeout_s <= 1
            self.asked.append(len(feeds))
            if len(self.asked) == 3:
                raise ConnectFailed("not answered in time")
            return dict.fromkeys(feeds, "Ann")

    slow: Any = Slow()
    names = Names(slow)
    await names.look_up([str(number) for number in range(KEPT_MAX)])
    assert slow.asked == [1_000, 1_000, 1_000]
    assert (names.of("0"), names.of("2000")) == ("Ann", "")
    await names.look_up(["x"])
    assert len(slow.asked) == 3
