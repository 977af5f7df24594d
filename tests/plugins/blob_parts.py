"""What tests of blobs share: data, a rogue that serves them, and calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256
from typing import Any

from ssb_rtc.errors import RemoteCallError
from ssb_rtc.feeds.refs import blob_id
from ssb_rtc.plugins.blob_api import BlobApi
from ssb_rtc.transport.link import Handler, Link, open_link, open_plain_link
from ssb_rtc.transport.memory import stream_pair
from ssb_rtc.types import BlobId, Json, PeerId, peer_of
from ssb_rtc.wire.rpc import Kind
from tests.plugins.machines import NETWORK, Machine
from tests.storage.feedmaker import keys_of

Make = Callable[..., Machine]
DATA = bytes(range(256)) * 5000
"""More than one read, one write and one chunk."""
LIMIT_S = 20.0


def id_of(data: bytes) -> BlobId:
    return blob_id(sha256(data).digest())


BLOB = id_of(DATA)


async def content(api: BlobApi, blob: BlobId) -> bytes:
    return b"".join([chunk async for chunk in api.get(blob)])


async def local(machine: Machine) -> Link:
    """A caller on the machine itself."""
    ours, theirs = stream_pair()
    own = PeerId(machine.keys.id)
    await open_plain_link(theirs, own=own, router=machine.registry, dialled=False)
    return await open_plain_link(ours, own=own, router=Rogue({}), dialled=True)


class Rogue:
    """A remote that answers by these handlers only."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self.handlers = handlers

    def find(self, name: tuple[str, ...], _kind: Kind, _link: Link) -> Handler:
        try:
            return self.handlers[".".join(name)]
        except KeyError:
            raise RemoteCallError("no such command") from None


async def connect_rogue(machine: Machine, number: int, handlers: Mapping[str, Handler]) -> Link:
    ours, theirs = stream_pair()
    keys = keys_of(number)
    mine, served = await asyncio.gather(
        open_link(
            theirs,
            keys=keys,
            network_key=NETWORK,
            remote=peer_of(machine.keys.id),
            dialled=True,
            router=Rogue(handlers),
        ),
        open_link(ours, keys=machine.keys, network_key=NETWORK, remote=None, router=machine.registry),
    )
    machine.take(served)
    return mine


def claiming(*notes: Any) -> Handler:
    """A createWants that says these, whether they are notes or not, and stays open."""

    async def create_wants(_link: Link, *_options: Json) -> AsyncIterator[Json]:
        for note in notes:
            yield note
        await asyncio.get_running_loop().create_future()

    return create_wants


def giving(data: bytes, asked: list[Any] | None = None, *, cut_at: int | None = None, chunk: int = 65536) -> Handler:
    """A get that sends this, and breaks off with an error at `cut_at`."""

    async def get(_link: Link, options: Json) -> AsyncIterator[bytes]:
        if asked is not None:
            asked.append(options)
        part = data[options.get("start", 0) : options.get("end", len(data))]
        for at in range(0, len(part), chunk):
            if cut_at is not None and at >= cut_at:
                raise RemoteCallError("no more")
            yield part[at : at + chunk]

    return get
