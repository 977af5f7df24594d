"""Installs a package as pip would leave it, without pip: its modules and its metadata in a folder for PYTHONPATH."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path


def install(package: Path, target: Path) -> None:
    """What `pip install --no-deps --target` does for a package of plain modules, from its pyproject.toml."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target.mkdir(parents=True, exist_ok=True)
    for module in package.glob("*.py"):
        shutil.copy(module, target)
    metadata = target / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    sections = []
    for group, points in project["entry-points"].items():
        sections += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(sections) + "\n", encoding="utf-8")
