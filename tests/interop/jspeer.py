"""A stock JavaScript peer, of one of three npm sets, as a process beside the test; see peer.cjs."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from tests.interop.commands import COMMAND_LIMIT_S, CommandedPeer
from tests.interop.processes import LineProcess

PEER = Path(__file__).with_name("peer.cjs")
PACKAGES = Path(__file__).resolve().parents[2] / ".node"

Kind = Literal["modern6", "modern8", "legacy"]
"""modern6, modern8: secret-stack 6.4 with ssb-db2 6.3 or 8.1; legacy: ssb-server 15.3."""
KINDS: Final[tuple[Kind, ...]] = ("legacy", "modern6", "modern8")
START_LIMIT_S = 30.0


def require_node(kind: Kind = "modern6") -> str:
    """The path of node; skips where it or the npm packages of that kind are absent."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js: install it (apt-get install nodejs npm) and run make test again")
    if not (PACKAGES / ("" if kind == "modern6" else kind) / "node_modules").is_dir():
        pytest.skip("the npm packages are not installed: run scripts/install_node.sh")
    return node


class JsPeer(CommandedPeer):
    """One JavaScript peer. Made by `start`; use it as an async context manager, so that it never outlives the test.

    `address` and `ws_address` are its multiserver addresses (`net:host:port~shs:key`,
    `ws://host:port~shs:key`), `port` its TCP port. It dials only when told to, replicates whom it follows (`hops`, 3
    as in ssb-friends), and accepts every dialler that its feeds do not block.
    """

    def __init__(self, process: LineProcess, ready: Mapping[str, Any]) -> None:
        super().__init__(process, ready)
        self._process = process
        self.address: str = ready["address"]
        self.ws_address: str = ready["wsAddress"]
        self.port: int = ready["port"]

    @classmethod
    async def start(
        cls,
        folder: Path,
        *,
        kind: Kind = "modern6",
        name: str = "js peer",
        host: str = "127.0.0.1",
        port: int = 0,
        network_key: bytes | None = None,
        seed: bytes | None = None,
        hops: int | None = None,
        ebt: bool = True,
        swarm: Mapping[str, Any] | None = None,
        argv_prefix: Sequence[str] = (),
    ) -> JsPeer:
        """Starts a peer that keeps its data in `folder`.

        `seed` (32 bytes) fixes its identity; without it, it makes one and keeps it in the folder. `network_key` is
        the main network's by default. `ebt=False`: a legacy peer that replicates by createHistoryStream only.
        `swarm` is `{"hubs": [url], "app": name}`: a modern peer also meets others as a webrtc-swarm peer (swarm.cjs).
        `argv_prefix` puts it elsewhere, for one in a network namespace.
        """
        options: dict[str, Any] = {"kind": kind, "path": str(folder), "host": host, "port": port, "ebt": ebt}
        if network_key is not None:
            options["caps"] = base64.b64encode(network_key).decode()
        if seed is not None:
            options["seed"] = base64.b64encode(seed).decode()
        if hops is not None:
            options["hops"] = hops
        if swarm is not None:
            options["swarm"] = dict(swarm)
        process = await LineProcess.start(name, [*argv_prefix, require_node(kind), str(PEER), json.dumps(options)])
        try:
            return cls(process, json.loads(await process.read_line(START_LIMIT_S)))
        except BaseException:
            await process.stop()
            raise

    async def publish(self, content: Mapping[str, Any], *, recps: Sequence[str] | None = None) -> dict[str, Any]:
        """Publishes, privately when there are recipients; `{"key", "value"}` of the message."""
        # recps null is no recipients, to peer.cjs.
        made: dict[str, Any] = await self.command("publish", content=dict(content), recps=recps and list(recps))
        return made

    async def block(self, feed: str, *, state: bool = True) -> str:
        """Publishes a block (or its end); the message's id."""
        return str(await self.command("block", id=feed, state=state))

    async def connect(self, address: str, *, timeout_s: float = COMMAND_LIMIT_S) -> str:
        """Dials a multiserver address; the id of who is there."""
        return str(await self.command("connect", address=address, timeout_s=timeout_s))

    async def read(self, key: str) -> dict[str, Any]:
        """The value of a message that it holds, decrypted where it can."""
        return dict(await self.command("read", key=key))

    async def add_blob(self, text: str) -> str:
        """Adds a blob; its id."""
        return str(await self.command("addBlob", text=text))

    async def push_blob(self, blob: str) -> None:
        """Offers a blob that it has to others."""
        await self.command("pushBlob", id=blob)

    async def want_blob(self, blob: str) -> str:
        """Asks its links for a blob, waits until it is there, and gives its text."""
        await self.command("wantBlob", id=blob)
        return await self.blob(blob)

    async def gets_blob(self, blob: str) -> None:
        """Waits until it has a blob, without asking for it."""
        await self.command("getsBlob", id=blob)

    async def blob(self, blob: str) -> str:
        """The text of a blob that it has."""
        return str(await self.command("getBlob", id=blob))

    async def hops(self) -> dict[str, float]:
        """The distance of each feed in its follow graph."""
        return dict(await self.command("hops"))

    async def call(self, peer: str, name: str, *args: Any, source: bool = False) -> Any:
        """Calls a method of the peer at the other end of a link; a source's values come as a list when it has ended."""
        return await self.command("call", id=peer, name=name.split("."), args=list(args), source=source)

    async def close(self) -> None:
        """Closes it as its own `close` does, then ends the process."""
        if self._over is None:
            await self.command("close")
            await self._process.wait(10.0)
        await self.kill()
