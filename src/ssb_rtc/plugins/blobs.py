"""`blobs.*` over rpc, as npm ssb-blobs 2.0.1 has it; `blobs.put` is ours, because a sink can't answer.

Remote callers may `get`, `getSlice`, `has` and `createWants`. What ssb-blobs permits besides, `changes`, would tell
everybody of every blob that we add.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import ClassVar, Final

from ssb_rtc.errors import BlobMissing, MisuseError, RemoteCallError
from ssb_rtc.feeds.blob_wants import BlobWants
from ssb_rtc.feeds.refs import blob_digest
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.blob_api import BlobApi
from ssb_rtc.plugins.blob_exchange import BlobExchange
from ssb_rtc.storage.blobs import BlobRecord, BlobStore
from ssb_rtc.transport.link import Duplex, Handler, Incoming, Link
from ssb_rtc.types import BlobId, Json, JsonObject

IDS_PER_CALL_MAX: Final = 1_000
NUMBER_MAX: Final = 2**53 - 1


class Blobs:
    """Blobs: kept in the peer's folder, gossiped over every link. `.api` is for applications."""

    name = "blobs"
    version = "1.0.0"
    manifest: Mapping[str, str] = {
        "blobs.add": "sink",
        "blobs.put": "duplex",
        "blobs.get": "source",
        "blobs.getSlice": "source",
        "blobs.has": "async",
        "blobs.size": "async",
        "blobs.want": "async",
        "blobs.push": "async",
        "blobs.rm": "async",
        "blobs.ls": "source",
        "blobs.changes": "source",
        "blobs.createWants": "source",
    }
    permissions: ClassVar[PermissionLists] = {
        "remote": ["blobs.get", "blobs.getSlice", "blobs.has", "blobs.createWants"]
    }

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        settings = context.settings
        self._store = BlobStore(
            context.folder / "blobs",
            context.log.database,
            now_ms=context.now_ms,
            quota_bytes=settings.blob_quota << 20,
        )
        wants = BlobWants(sympathy=settings.sympathy, size_limit=settings.blob_max)
        self._exchange = BlobExchange(context, self._store, wants)
        self.api = BlobApi(self._store, self._exchange, size_limit=settings.blob_max)
        return {
            "blobs.add": self._add,
            "blobs.put": self._put,
            "blobs.get": self._get,
            "blobs.getSlice": self._get_slice,
            "blobs.has": self._has,
            "blobs.size": self._size,
            "blobs.want": self._want,
            "blobs.push": self._push,
            "blobs.rm": self._rm,
            "blobs.ls": self._ls,
            "blobs.changes": self._changes,
            "blobs.createWants": self._create_wants,
        }

    async def close(self) -> None:
        """Ends what runs; what is wanted and pushed goes on after the next start."""
        self.api.close()
        await self._exchange.close()
        await self._store.close()

    # --- bytes in ---

    async def _add(self, _link: Link, incoming: Incoming, blob: Json = None, *_rest: Json) -> None:
        await self.api.add(_bytes_of(incoming), expected=_id(blob) if blob is not None else None)

    async def _put(self, _link: Link, duplex: Duplex, options: Json = None) -> None:
        """Takes bytes, answers {id, size} when the disk has them."""
        blob = await self.api.add(_bytes_of(duplex), size_limit=_number(options, "max"))
        await duplex.send({"id": blob, "size": self.api.size(blob)})
        await duplex.end()

    # --- bytes out ---

    def _get(self, link: Link, options: Json = None, *_rest: Json) -> AsyncIterator[bytes]:
        return self._serve(link, options, 0, None)

    def _get_slice(self, link: Link, options: Json = None, *_rest: Json) -> AsyncIterator[bytes]:
        start, end = _number(options, "start"), _number(options, "end")
        if start is None or end is None:
            raise MisuseError("getSlice takes {id, start, end}")
        return self._serve(link, options, start, end)

    def _serve(self, link: Link, options: Json, start: int, end: int | None) -> AsyncIterator[bytes]:
        blob = _id(options)
        size, exact, most = self.api.size(blob), _number(options, "size"), _number(options, "max")
        if size is None:
            raise RemoteCallError(f"could not get blob: {blob} is not here", name="BlobMissing")
        if exact not in (None, size) or (most is not None and size > most):
            raise RemoteCallError(f"incorrect file length, requested: {exact or most}, file was: {size}")
        chunks = self._chunks(link, blob, start, end)
        return chunks if link.local else self._exchange.serve(link, chunks)

    async def _chunks(self, link: Link, blob: BlobId, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in self.api.get(blob, start, end):
                yield chunk
        except BlobMissing as error:
            raise RemoteCallError(str(error) if link.local else "could not get blob", name="BlobMissing") from error

    # --- questions ---

    async def _has(self, _link: Link, blobs: Json = None) -> Json:
        return [self.api.has(blob) for blob in _ids(blobs)] if isinstance(blobs, list) else self.api.has(_id(blobs))

    async def _size(self, _link: Link, blobs: Json = None) -> Json:
        return [self.api.size(blob) for blob in _ids(blobs)] if isinstance(blobs, list) else self.api.size(_id(blobs))

    async def _ls(self, _link: Link, options: Json = None) -> AsyncIterator[Json]:
        chosen: JsonObject = options if isinstance(options, dict) else {}
        is_old = chosen.get("old") is not False
        is_live = bool(chosen.get("live")) or not is_old
        long = any(chosen.get(name) for name in ("long", "meta", "size"))
        arriving = self.api.live() if is_live else None
        if is_old:
            for number, record in enumerate(self.api.ls()):
                yield _shown(record, long)
                if number % 100 == 0:
                    await asyncio.sleep(0)
        if is_old and is_live and chosen.get("sync") is not False:
            yield {"sync": True}
        if arriving is not None:
            async for record in arriving:
                yield _shown(record, long)

    async def _changes(self, _link: Link, *_options: Json) -> AsyncIterator[Json]:
        async for record in self.api.live():
            yield record.id

    # --- wants ---

    async def _want(self, _link: Link, blob: Json = None, options: Json = None) -> Json:
        await self.api.want(_id(blob), size_limit=_number(options, "max"), timeout_s=_amount(options, "timeout"))
        return True

    async def _push(self, _link: Link, blob: Json = None) -> Json:
        await self.api.push(_id(blob))
        return True

    async def _rm(self, _link: Link, blob: Json = None) -> Json:
        removed = _id(blob)
        if not await self.api.remove(removed):
            raise BlobMissing(f"{removed} is not here, nor wanted")
        return True

    async def _create_wants(self, link: Link, *_options: Json) -> AsyncIterator[Json]:
        if not link.local:
            async for notes in self._exchange.tell(link):
                yield notes
        else:
            yield {}
            await asyncio.get_running_loop().create_future()


def _id(value: Json) -> BlobId:
    """The id in an argument: text, or {id | key | hash}. Raises MisuseError."""
    if isinstance(value, dict):
        value = value.get("id") or value.get("key") or value.get("hash")
    blob_digest(value)
    return BlobId(value)


def _ids(values: list[Json]) -> list[BlobId]:
    if len(values) > IDS_PER_CALL_MAX:
        raise MisuseError(f"this takes at most {IDS_PER_CALL_MAX} ids at once")
    return [_id(value) for value in values]


def _number(options: Json, name: str) -> int | None:
    """A number of bytes among the options, None when it is not there. Raises MisuseError."""
    number = _amount(options, name)
    return None if number is None else int(number)


def _amount(options: Json, name: str) -> float | None:
    number = options.get(name) if isinstance(options, dict) else None
    if number is None:
        return None
    if type(number) not in (int, float) or not 0 <= number <= NUMBER_MAX:
        raise MisuseError(f"{name} takes a number")
    amount: float = number
    return amount


def _shown(record: BlobRecord, long: bool) -> Json:
    return {"id": record.id, "size": record.size, "ts": record.received_ms} if long else record.id


async def _bytes_of(incoming: Incoming) -> AsyncIterator[bytes]:
    async for chunk in incoming:
        if isinstance(chunk, str):
            chunk = chunk.encode("utf-8", "surrogatepass")  # noqa: PLW2901 - JavaScript takes text for bytes too
        if not isinstance(chunk, bytes):
            raise MisuseError("this takes the bytes of a blob")
        yield chunk
