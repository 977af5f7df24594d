"""A star of network namespaces on one machine: hubs in the middle, peers in places around it that can be cut off.

    place 0 10.77.0.10 --+
    place 1 10.77.0.11 --+-- middle 10.77.0.1: a bridge, and the hubs of the test
    place 2 10.77.0.12 --+

A cut is silent or noticed. Silent: the place leaves the bridge, so packets vanish, and nobody hears of it, as when a
router far away dies. Noticed: its own interface goes down, as when a cable is pulled. Those within one place keep each
other in a silent cut. There is no way out of the star.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
from types import TracebackType

from tests.nat.lab import PREFIX, delete, run_here, sweep

MIDDLE = "10.77.0.1"
NOWHERE = "10.77.0.254"

_counter = itertools.count(1)


def why_no_star() -> str | None:
    """What this machine lacks for namespaces; None where it has all."""
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    if shutil.which("ip") is None:
        return "no ip: apt-get install iproute2"
    name = f"{PREFIX}-{os.getpid()}-try"
    try:
        run_here(["ip", "netns", "add", name])
    except OSError as refused:
        return f"this machine allows no network namespaces: {refused}"
    delete([name])
    return None


class Star:
    """The star, as a context manager. Whatever happens in it, its namespaces and what runs in them are gone afterwards;
    those of a killed run go with the next one.
    """

    hub_host = MIDDLE

    def __init__(self, places: int) -> None:
        self.places = places
        self.described = f"{places} places"
        self._name = f"{PREFIX}-{os.getpid()}-s{next(_counter)}"
        self._cut: dict[int, bool] = {}
        """The places that are cut off, and whether silently."""

    def __enter__(self) -> Star:
        sweep()
        self._remove()  # of a killed run that had our process id
        atexit.register(self._remove)
        try:
            self._build()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        atexit.unregister(self._remove)

    def prefix(self, place: int | None) -> list[str]:
        """What to put before a command line to run it in a place; None: in the middle."""
        return ["ip", "netns", "exec", self._namespace(place)]

    def cut(self, place: int, *, silent: bool) -> None:
        """Cut a place off, unless it is already."""
        if place in self._cut:
            return
        self._cut[place] = silent
        if silent:
            self._ip(None, f"link set dev place-{place} nomaster")
        else:
            self._ip(place, "link set dev eth0 down")

    def heal(self, place: int) -> None:
        """Undo a cut, where there is one."""
        silent = self._cut.pop(place, None)
        if silent:
            self._ip(None, f"link set dev place-{place} master bridge")
        elif silent is not None:
            self._ip(place, *self._up("eth0"))

    def _namespace(self, place: int | None) -> str:
        return f"{self._name}-{'middle' if place is None else place}"

    def _build(self) -> None:
        everywhere = (None, *range(self.places))
        run_here(["ip", "-batch", "-"], "".join(f"netns add {self._namespace(place)}\n" for place in everywhere))
        self._ip(None, "link add bridge type bridge", f"address add {MIDDLE}/24 dev bridge")
        for place in range(self.places):
            there = self._namespace(place)
            self._ip(None, f"link add place-{place} type veth peer name eth0 netns {there}")
            self._ip(None, f"link set dev place-{place} master bridge", f"link set dev place-{place} up")
            self._ip(place, f"address add 10.77.0.{10 + place}/24 dev eth0", "link set dev lo up", *self._up("eth0"))
        self._ip(None, "link set dev lo up", *self._up("bridge"))

    def _up(self, device: str) -> tuple[str, ...]:
        """A default route into the void: a machine without one takes itself to be offline."""
        return (
            f"link set dev {device} up",
            f"neighbour replace {NOWHERE} lladdr 02:00:00:00:00:fe dev {device} nud permanent",
            f"route replace default via {NOWHERE} dev {device}",
        )

    def _ip(self, place: int | None, *lines: str) -> None:
        run_here(["ip", "-n", self._namespace(place), "-batch", "-"], "\n".join(lines) + "\n")

    def _remove(self) -> None:
        delete([self._namespace(place) for place in (None, *range(self.places))])


class Loopback:
    """Where there are no namespaces: everybody on 127.0.0.1, and nothing that could be cut."""

    hub_host = "127.0.0.1"
    places = 0

    def __init__(self, missing: str) -> None:
        self.described = f"no places to cut ({missing})"

    def prefix(self, place: int | None) -> list[str]:
        """Nothing."""
        return []

    def cut(self, place: int, *, silent: bool) -> None:
        """There is nothing to cut."""

    def heal(self, place: int) -> None:
        """Nor to heal."""
