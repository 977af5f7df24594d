"""The page's own files: read once at the start into a table, so that no request is ever made into a path."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
"""What is served; a file of another kind is left out."""
FOLDERS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    body: bytes
    content_type: str


def load() -> dict[str, Asset]:
    """The files by the path at which they are served; `/` is index.html. Empty where they were not installed."""
    root = resources.files("ssb_rtc.dashboard").joinpath("static")
    found = _files(root, "/", FOLDERS_MAX) if root.is_dir() else {}
    if "/index.html" in found:
        found["/"] = found["/index.html"]
    return found


def _files(folder: Traversable, path: str, depth: int) -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            found |= _files(entry, f"{path}{entry.name}/", depth - 1) if depth else {}
            continue
        content_type = TYPES.get("." + entry.name.rpartition(".")[2])
        if content_type is not None:
            found[path + entry.name] = Asset(entry.read_bytes(), content_type)
    return found
