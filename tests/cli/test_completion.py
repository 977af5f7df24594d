"""`ssb-rtc completion`: the scripts do what they are for in the shells that are here."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ssb_rtc.cli.commands import COMMANDS
from tests.e2e.processes import run, run_ok

ASK = """
source "$1"
shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_shtab_ssb_rtc
printf '%s\\n' "${COMPREPLY[@]}"
"""


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    done = subprocess.run(["bash", "-c", ASK, "-", script, *words], capture_output=True, text=True, check=True)
    assert not done.stderr
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here to complete anything")
async def test_bash_completes_commands_flags_choices_and_files(tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text((await run_ok("completion", "bash")).out)
    assert completed(script, "ssb-rtc", "") == {command.name for command in COMMANDS}
    assert completed(script, "ssb-rtc", "status", "--w") == {"--watch"}
    assert completed(script, "ssb-rtc", "hub", "serve", "--trusted") == {"--trusted-proxy"}
    assert completed(script, "ssb-rtc", "blobs", "wa") == {"want"}
    (tmp_path / "feed.jsonl").touch()
    assert completed(script, "ssb-rtc", "import", str(tmp_path / "fe")) == {str(tmp_path / "feed.jsonl")}


async def test_every_shell_gets_every_command(tmp_path: Path) -> None:
    for shell in ("zsh", "fish"):
        text = (await run_ok("completion", shell)).out
        for command in COMMANDS:
            assert command.name in text
        if found := shutil.which(shell):
            script = tmp_path / shell
            script.write_text(text)
            subprocess.run([found, "-n", script], check=True)  # its syntax
    assert (await run("completion", "powershell")).code == 2
