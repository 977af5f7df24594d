"""The steps of docs/getting-started.md as somebody takes them who has nothing: a fresh clone, environment and home.

    python -m scripts.new_user [--python python3.12]

Prints how long each step took. It needs git and a package index, and leaves nothing behind.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PORT = "18000"


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints how long it took."""
    began = time.monotonic()
    yield
    sys.stdout.write(f"{time.monotonic() - began:6.1f} s  {what}\n")
    sys.stdout.flush()


class Newcomer:
    """Somebody with an empty home and an empty environment."""

    def __init__(self, home: Path) -> None:
        self._home = home
        # An index that this machine is set up with is a part of the machine, not of what the newcomer knows.
        configured = Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf"
        index = next((str(path) for path in configured if path.exists()), None)
        self._environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        if index:
            self._environment["PIP_CONFIG_FILE"] = index

    def run(self, *words: str) -> str:
        """A command to its end; its output."""
        done = subprocess.run(
            words, cwd=self._home, env=self._environment, capture_output=True, text=True, check=False, timeout=600
        )
        if done.returncode:
            sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A command that goes on; its output is read from its pipe."""
        return subprocess.Popen(
            words, cwd=self._home, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )


def main() -> int:
    """Take the steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter that the newcomer has")
    python = parser.parse_args().python
    with tempfile.TemporaryDirectory(prefix="ssb-rtc-newcomer-") as home, ExitStack() as running:
        newcomer = Newcomer(Path(home))
        command = f"{home}/ssb/bin/ssb-rtc"

        def started(*words: str) -> subprocess.Popen[str]:
            process = newcomer.start(command, *words)
            running.callback(process.wait)
            running.callback(process.terminate)
            assert process.stdout is not None
            assert process.stdout.readline()
            return process

        began = time.monotonic()
        with step("git clone"):
            newcomer.run("git", "clone", "-q", str(ROOT), "ssb-rtc")
        with step("python -m venv"):
            newcomer.run(python, "-m", "venv", "ssb")
        with step("pip install ./ssb-rtc"):
            newcomer.run(f"{home}/ssb/bin/pip", "install", "-q", "-c", "ssb-rtc/constraints.txt", "./ssb-rtc")
        with step("ssb-rtc demo --once"):
            newcomer.run(command, "demo", "--once")
        with step("alice starts, with a hub"):
            started("start", "--path", "alice", "--with-hub", PORT, "--json")
        with step("alice shares a code, and bob joins with it"):
            code = newcomer.run(command, "share", "--path", "alice").split()[0]
            newcomer.run(command, "join", code, "--path", "bob")
        with step("bob starts"):
            started("start", "--path", "bob", "--json")
        with step("alice writes, and bob's terminal shows it"):
            log = newcomer.start(command, "log", "--follow", "--json", "--path", "bob")
            running.callback(log.wait)
            running.callback(log.terminate)
            newcomer.run(command, "publish", "hello", "--path", "alice")
            assert log.stdout is not None
            while "hello" not in log.stdout.readline():
                assert log.poll() is None
        sys.stdout.write(f"{time.monotonic() - began:6.1f} s  in all\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
