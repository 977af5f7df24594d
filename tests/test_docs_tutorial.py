"""The steps of docs/tutorial.md, typed one after another at the prompt of `python -m asyncio`."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

from tests.e2e.processes import LIMIT_S, clean_environment

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
EXAMPLE = ROOT / "examples" / "notebook.py"


def snippets() -> tuple[list[str], str]:
    """What is typed, in the order of the page; and the file that it has its reader write."""
    found = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (file,) = (code for code in found if "class Notebook" in code)
    return [code for code in found if code != file], file


async def test_the_steps_of_the_tutorial_do_what_it_says(tmp_path: Path) -> None:
    typed, file = snippets()
    (tmp_path / "notebook.py").write_text(file, encoding="utf-8")
    prompt = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "asyncio"),
        cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=clean_environment({"PYTHONPATH": str(ROOT / "src")}),
    )
    async with asyncio.timeout(LIMIT_S):
        # A blank line ends a block.
        out, err = (part.decode() for part in await prompt.communicate("\n\n".join([*typed, ""]).encode()))
    assert "Traceback" not in err, err
    for said in ("True milk", "bread\n", "rye bread\n", "wrote: apples", "1. milk\n2. rye bread\n3. apples\n"):
        assert said in out
    assert {"alice", "bob"} < {path.name for path in tmp_path.iterdir()}


def test_the_class_of_the_tutorial_is_that_of_the_example() -> None:
    example = EXAMPLE.read_text(encoding="utf-8")
    file = snippets()[1]
    assert file[file.index("class Notebook") :] in example
