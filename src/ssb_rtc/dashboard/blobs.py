"""Blobs over HTTP. What a stranger made is shown as a picture or saved as a file, never run."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from ssb_rtc.dashboard.answers import HEADERS, Refused
from ssb_rtc.errors import MisuseError, RemoteCallError
from ssb_rtc.feeds.refs import blob_digest
from ssb_rtc.transport.link import Duplex, Link
from ssb_rtc.types import JsonObject

SAFE_CSP: Final = "sandbox; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
PLAIN: Final = "application/octet-stream"
MAGIC_BYTES: Final = 12
UPLOAD_PAUSE_MAX_S: Final = 30.0
"""A browser that sends nothing for so long has given up."""
CHUNK_BYTES: Final = 64 * 1024


def type_of(beginning: bytes) -> str:
    """The type by which a blob may be shown: of four kinds of pictures, known by their first bytes, or just bytes.

    The list is short on purpose. SVG and HTML are documents that can run code, and are not on it.
    """
    if beginning.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if beginning.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if beginning[:6] in {b"GIF87a", b"GIF89a"}:
        return "image/gif"
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return "image/webp"
    return PLAIN


def headers_of(beginning: bytes, blob: str) -> dict[str, str]:
    """The headers under which a blob is sent."""
    content_type = type_of(beginning)
    # Base64 has characters that file names can't have; the first ones tell blobs apart well enough.
    name = "".join(one for one in blob[1:13] if one.isascii() and one.isalnum()) or "blob"
    shown = "inline" if content_type != PLAIN else f'attachment; filename="{name}.bin"'
    return {**HEADERS, "Content-Security-Policy": SAFE_CSP, "Content-Type": content_type, "Content-Disposition": shown}


async def send(request: web.Request, link: Link, blob: str) -> web.StreamResponse:
    """A blob that is here. Raises MisuseError for what is no id, Refused (404) where it is not here."""
    blob_digest(blob)
    size = await link.call("blobs.size", blob)
    if size is None:
        raise Refused(404, f"{blob} is not here: ask peers for it, and try again when it came")
    chunks = link.source("blobs.get", {"id": blob, "size": size})
    try:
        first = await anext(chunks, b"")
        response = web.StreamResponse(headers={**headers_of(first, blob), "Content-Length": str(size)})
        await response.prepare(request)
        await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
        return response
    finally:
        await chunks.aclose()


async def receive(request: web.Request, link: Link, bytes_max: int) -> JsonObject:
    """Stores the body as a blob; gives {id, size, type}. Raises Refused (413) for one of `bytes_max` bytes or more."""
    too_large = Refused(413, f"a blob has fewer than {bytes_max} bytes: send a smaller one, or raise blob_max")
    if (request.content_length or 0) >= bytes_max:
        raise too_large
    beginning, size = b"", 0
    duplex = link.duplex("blobs.put")
    try:
        while chunk := await _read(request):
            size += len(chunk)
            if size >= bytes_max:
                raise too_large
            beginning = beginning if len(beginning) >= MAGIC_BYTES else (beginning + chunk)[:MAGIC_BYTES]
            for at in range(0, len(chunk), CHUNK_BYTES):
                await duplex.send(chunk[at : at + CHUNK_BYTES])
        if not size:
            raise MisuseError("the body is empty: send the bytes of a file")
        await duplex.end()
        stored = await _answer(duplex)
    except BaseException:
        # An end in good order would have what came so far taken for the whole blob.
        await duplex.end(RemoteCallError("the upload was cut off"))
        raise
    return {"id": stored["id"], "size": stored["size"], "type": type_of(beginning)}


async def _answer(duplex: Duplex) -> JsonObject:
    async for stored in duplex:
        return dict(stored)
    raise RemoteCallError("the blob was not stored")


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(UPLOAD_PAUSE_MAX_S):
            return await request.content.readany()
    except TimeoutError:
        raise Refused(400, f"nothing of the body came for {UPLOAD_PAUSE_MAX_S:g} s") from None
