"""The steps of docs/tutorial.md, one after another in one namespace, as at the prompt of `python -m asyncio`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs_snippets import run

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
EXAMPLE = ROOT / "examples" / "notebook.py"


def snippets() -> tuple[list[str], str]:
    """What is typed, in the order of the page; and the file that it has its reader write."""
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (file,) = (code for code in found if "class Notebook" in code)
    return [code for code in found if code != file], file


async def test_the_steps_of_the_tutorial_do_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed, file = snippets()
    (tmp_path / "notebook.py").write_text(file, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in typed:
        await run(code, 1, names)
    sys.modules.pop("notebook")
    out = capsys.readouterr().out
    for said in ("True milk", "\nbread\n", "\nrye bread\n", "wrote: apples", "1. milk\n2. rye bread\n3. apples\n"):
        assert said in out
    assert {"alice", "bob"} < {path.name for path in tmp_path.iterdir()}


def test_what_is_typed_is_no_more_than_a_prompt_takes() -> None:
    """Before Python 3.13 a blank line ends a block at the prompt, so none may have one in it."""
    for code in snippets()[0]:
        for before, after in re.findall(r"^( +\S.*\n)\n+( *)\S", code, re.MULTILINE):
            assert not after, f"a blank line after {before!r}"


def test_the_class_of_the_tutorial_is_that_of_the_example() -> None:
    file = snippets()[1]
    assert file[file.index("class Notebook") :] in EXAMPLE.read_text(encoding="utf-8")
