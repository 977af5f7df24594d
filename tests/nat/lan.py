"""One local network of two machines, made of network namespaces: 10.77.0.1 (`a`) and 10.77.0.2 (`b`) on one cable."""

from __future__ import annotations

import atexit
import itertools
import os
from types import TracebackType
from typing import Final, Literal

import pytest

from tests.conftest import require_program, require_root
from tests.nat.lab import PREFIX, delete, run_here, sweep

Machine = Literal["a", "b"]

ADDRESSES: Final[dict[Machine, str]] = {"a": "10.77.0.1", "b": "10.77.0.2"}

_counter = itertools.count(1)


class LanLab:
    """The network, as a context manager. Skips where it can't be made; gone afterwards with all that runs in it."""

    def __init__(self) -> None:
        self._name = f"{PREFIX}-{os.getpid()}-lan{next(_counter)}"

    def namespace(self, machine: Machine) -> str:
        """The name of its network namespace."""
        return f"{self._name}-{machine}"

    def prefix(self, machine: Machine) -> list[str]:
        """What to put before a command line to run it there."""
        return ["ip", "netns", "exec", self.namespace(machine)]

    def __enter__(self) -> LanLab:
        require_root()
        require_program("ip", "iproute2")
        sweep()
        self._remove()  # of a killed run that had our process id
        atexit.register(self._remove)
        try:
            try:
                run_here(["ip", "netns", "add", self.namespace("a")])
            except OSError as refused:
                pytest.skip(f"this machine allows no network namespaces: {refused}")
            self._build()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        atexit.unregister(self._remove)

    def _remove(self) -> None:
        delete([self.namespace(machine) for machine in ADDRESSES])

    def _build(self) -> None:
        a, b = self.namespace("a"), self.namespace("b")
        run_here(["ip", "netns", "add", b])
        run_here(["ip", "link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b])
        for machine, address in ADDRESSES.items():
            lines = [f"address add {address}/24 dev eth0", "link set dev lo up", "link set dev eth0 up"]
            lines.append("route add default dev eth0")  # npm ssb-lan may broadcast to 255.255.255.255
            run_here(["ip", "-n", self.namespace(machine), "-batch", "-"], "\n".join(lines) + "\n")
