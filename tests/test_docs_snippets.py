"""Every Python snippet of docs/library.md runs, in the order of the page, in one namespace.

A section finds `peer` and `friend`, two peers that are linked. What a snippet defines as a test runs with a swarm.
"""

from __future__ import annotations

import ast
import inspect
import re
import types
from pathlib import Path
from typing import Any

import pytest

from ssb_rtc.testing import Swarm

PAGE = Path(__file__).resolve().parent.parent / "docs" / "library.md"
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def snippets() -> list[tuple[int, str]]:
    """Each snippet with the line of the page on which it begins."""
    text = PAGE.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)) + 1, found[1]) for found in SNIPPET.finditer(text)]


async def run(code: str, line: int, names: dict[str, Any]) -> None:
    """As a module whose top level may wait; an error names the line of the page."""
    tree = ast.increment_lineno(ast.parse(code), line - 1)
    compiled = compile(tree, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    ran = types.FunctionType(compiled, names)()
    if inspect.isawaitable(ran):
        await ran


async def test_every_snippet_of_the_library_page_runs(
    swarm: Swarm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    peer, friend = await swarm.peers("peer", "friend")
    await friend.publish({"type": "post", "text": "hello from a friend"})
    names: dict[str, Any] = {}
    for line, code in snippets():
        names |= {"peer": peer, "friend": friend}
        tests = {name for name in names if name.startswith("test_")}
        await run(code, line, names)
        for name in [name for name in names if name.startswith("test_") and name not in tests]:
            async with Swarm(tmp_path / name) as fresh:
                await names[name](fresh)
    assert len([name for name in names if name.startswith("test_")]) == 3


def test_the_page_names_what_the_library_exports() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for module, listed in re.findall(r"^from (ssb_rtc[\w.]*) import (.+)$", text, re.MULTILINE):
        exported = __import__(module, fromlist=["__all__"]).__all__
        assert set(listed.split(", ")) <= set(exported)
