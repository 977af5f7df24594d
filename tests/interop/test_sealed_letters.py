"""The sealed dialect read by another program: JavaScript, written from docs/signalling.md, on npm sodium-native."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.interop.jspeer import require_node

pytestmark = pytest.mark.js

VECTORS = Path(__file__).parent.parent / "vectors" / "envelopes.json"
SCRIPT_LIMIT_S = 30.0


def test_javascript_reads_our_vectors(node_packages: Path) -> None:
    vectors: dict[str, Any] = json.loads(VECTORS.read_text())
    run = subprocess.run(
        [require_node("legacy"), str(Path(__file__).with_name("sealed_letters.cjs")), str(node_packages / "legacy")],
        input=VECTORS.read_bytes(),
        capture_output=True,
        timeout=SCRIPT_LIMIT_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()
    found = json.loads(run.stdout)
    assert found["channels"] == [vector["name"] for vector in vectors["channels"]]
    for kind in ("envelopes", "announcements"):
        for letter, vector in zip(found[kind], vectors[kind], strict=True):
            assert letter == {key: vector[key] for key in letter}
            assert {"kind", "from", "payload", "says"} <= set(letter)
    wrong = vectors["refused_by_bob"] + vectors["refused_announcements"]
    taken = [vector["why"] for vector, reason in zip(wrong, found["refused"], strict=True) if reason is None]
    assert taken == []
