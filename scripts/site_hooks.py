"""What MkDocs does beside rendering docs/: pages from elsewhere in the repository, and links that lead out of the site.

The pages are written to be read in the repository too, where a link may lead to any file. In the site, a link to a page
of the site leads there, and any other file is named instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
FROM_ELSEWHERE = {
    "architecture.md": "ARCHITECTURE.md",
    "benchmarks.md": "bench/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
"""Pages of the site that are files of the repository outside of docs/."""

_FENCE = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:|#)([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Adds the pages from elsewhere."""
    for page, source in FROM_ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Has links lead to pages of the site, or names the file where it is none."""
    parts = _FENCE.split(markdown)
    parts[::2] = [relinked(part, page.file.src_uri) for part in parts[::2]]
    return "".join(parts)


def relinked(markdown: str, page: str) -> str:
    """Markdown of a page (its name under docs/) with the links of the site."""
    home = PurePosixPath(FROM_ELSEWHERE.get(page, f"docs/{page}")).parent
    pages = {source: name for name, source in FROM_ELSEWHERE.items()}

    def replace(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        path = os.path.normpath(home / target)
        if path in pages:
            return f"[{text}]({pages[path]}{anchor})"
        if path.startswith("docs/"):
            return f"[{text}]({path.removeprefix('docs/')}{anchor})"
        if not (ROOT / path).exists():
            return found[0]  # mkdocs complains
        shown = f"`{path}`"
        return shown if text.strip("`") in {path, target} else f"{text} ({shown})"

    return _LINK.sub(replace, markdown)
