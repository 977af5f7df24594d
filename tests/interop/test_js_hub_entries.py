"""Entries of hub gossip can be signed and checked with npm ssb-keys, as docs/wire.md says."""

from __future__ import annotations

import base64
import json
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.interop.jspeer import require_node

pytestmark = pytest.mark.js

SCRIPT = Path(__file__).with_name("hub_entries.cjs")
VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "hub-entry.json").read_text())


def test_ssb_keys_signs_and_checks_the_vector_as_we_do(node_packages: Path) -> None:
    require_node()
    entry: dict[str, Any] = VECTOR["entry"]
    asked = {
        "hmac": base64.b64encode(bytes.fromhex(VECTOR["hmacKey"])).decode(),
        "seed": base64.b64encode(sha256(b"ssb-rtc hub entry signer").digest()).decode(),
    }
    lines = [json.dumps({**asked, "entry": one}) for one in (entry, {**entry, "time": entry["time"] + 1})]
    done = subprocess.run(
        ["node", str(SCRIPT), str(node_packages)], input="\n".join(lines), capture_output=True, check=True, text=True,
        timeout=30,
    )  # fmt: skip
    right, wrong = map(json.loads, done.stdout.splitlines())
    assert right == {"verified": True, "signed": entry}
    assert not wrong["verified"]
