"""What the page asks and orders, each by the methods that the command line uses. No HTTP: records in, JSON out.

`ask_...` answers a GET by its query, the rest carries out an order. Errors are those of errors.py, and Refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from io import BytesIO
from typing import Final

from ssb_rtc.dashboard import orders
from ssb_rtc.dashboard.answers import Refused
from ssb_rtc.dashboard.settings_rows import settings_rows
from ssb_rtc.errors import MisuseError
from ssb_rtc.peer import Peer
from ssb_rtc.transport.link import Link
from ssb_rtc.types import Json, JsonObject

CONNECT_LIMIT_S: Final = 65.0
"""A little longer than the peer itself tries."""
WANT_LIMIT_S: Final = 30.0
JOIN_LIMIT_S: Final = 90.0
JOIN_SHOWN_S: Final = 8.0
"""So long a page waits for what comes of a code. Most are used within two seconds; the others wait in its list."""

Ask = Callable[["Api", Mapping[str, str]], Awaitable[Json]]


class Api:
    """The questions and orders about one peer."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """A local link of this request's own: what one page does not read holds up no other."""
        async with self._peer.local_link() as link:
            yield link

    async def _call(self, method: str, *args: Json, timeout_s: float | None = 30.0) -> Json:
        async with self.link() as link:
            return await link.call(method, *args, timeout_s=timeout_s)

    # --- questions ---

    async def ask_messages(self, query: Mapping[str, str]) -> Json:
        """A page of messages, the newest first: {messages, next}."""
        options: JsonObject = {name: query[name] for name in ("author", "type", "links_to") if query.get(name)}
        if query.get("private"):
            options["private"] = _switch(query["private"], "private")
        options |= {name: _number(query[name], name) for name in ("before", "limit") if query.get(name)}
        return await self._call("rtc.messages", options)

    async def ask_message(self, query: Mapping[str, str]) -> Json:
        """One message's row. Raises Refused (404) where it is not here."""
        row = await self._call("rtc.message", _needed(query, "id"))
        if row is None:
            raise Refused(404, "this message is not here")
        return row

    async def ask_why_peer(self, query: Mapping[str, str]) -> Json:
        """Why a peer is linked or not: {subject, state, because, terms, next}."""
        return await self._call("rtc.whyPeer", _needed(query, "id"))

    async def ask_why_hub(self, query: Mapping[str, str]) -> Json:
        """Why a hub is connected or not: {subject, state, because, terms, next}."""
        return await self._call("rtc.whyHub", _needed(query, "url"))

    async def ask_settings(self, _query: Mapping[str, str]) -> Json:
        """See settings_rows."""
        return settings_rows(await self._call("rtc.config"))

    # --- what is written ---

    async def publish(self, order: orders.Publish) -> Json:
        """Writes a post, encrypted where it says for whom; gives its row."""
        content = order.content()
        async with self.link() as link:
            for answered in () if order.to else order.answers:
                found = await link.call("rtc.message", answered)
                if found is not None and found["private"]:
                    raise MisuseError("that message is private, and this answer would be public: say for whom it is")
            if order.to:
                recps = list(dict.fromkeys([self._peer.id, *map(orders.feed, order.to)]))
                message = await link.call("private.publish", {**content, "recps": recps}, recps)
            else:
                message = await link.call("publish", content)
            return await link.call("rtc.message", message["key"])

    async def follow(self, order: orders.Follow) -> Json:
        """Follows a feed, or no longer; gives the message's row."""
        return await self._written("friends.follow", orders.feed(order.id), {"state": order.state})

    async def block(self, order: orders.Block) -> Json:
        """Blocks a feed, or no longer; gives the message's row."""
        options: JsonObject = {"state": order.state}
        if order.reason:
            options["reason"] = order.reason
        return await self._written("friends.block", orders.feed(order.id), options)

    async def about(self, order: orders.About) -> Json:
        """Publishes how we call ourselves; gives the message's row."""
        return await self._written("publish", {"type": "about", "about": self._peer.id, "name": order.name.strip()})

    async def _written(self, method: str, *args: Json) -> Json:
        async with self.link() as link:
            message = await link.call(method, *args)
            return await link.call("rtc.message", message["key"])

    # --- hubs and links ---

    async def hubs(self, order: orders.Hubs) -> Json:
        """Adds, removes, recommends a hub, or no longer recommends it."""
        match order.action:
            case "add":
                await self._call("rtc.addHub", order.url, {"private": order.private})
            case "remove":
                await self._call("rtc.removeHub", order.url)
            case _:
                await self._call(f"hubs.{order.action}", order.url)
        return {"ok": True}

    async def connect(self, order: orders.Connect) -> Json:
        """Connects to an address and waits for the link: {ok, id, state, transport}."""
        linked = await self._call("rtc.connect", order.address, {"pin": order.pin}, timeout_s=CONNECT_LIMIT_S)
        return {"ok": True, **linked}

    async def disconnect(self, order: orders.OfPeer) -> Json:
        """Ends the link to a peer, and unpins it."""
        await self._call("rtc.disconnect", orders.feed(order.id))
        return {"ok": True}

    async def sync(self, order: orders.Sync) -> Json:
        """Answers the question before a large first sync; gives the new state of it."""
        async with self.link() as link:
            await link.call(f"sync.{order.answer}")
            return {"ok": True, **await link.call("sync.status")}

    async def want(self, order: orders.OfBlob) -> Json:
        """Fetches a blob from peers: {id, size}."""
        async with self.link() as link:
            await link.call("blobs.want", order.id, {"timeout": WANT_LIMIT_S}, timeout_s=WANT_LIMIT_S + 5)
            return {"id": order.id, "size": await link.call("blobs.size", order.id)}

    # --- invitations ---

    async def invite(self, order: orders.Invite) -> Json:
        """A code by which somebody finds and follows us: {code, qr_svg, and what else is known of it}."""
        options = {"uses": order.uses, "days": order.days, "note": order.note}
        given = {name: value for name, value in options.items() if value is not None}
        made = await self._call("welcome.create", given)
        return {**made, "qr_svg": qr_svg(made["code"])}

    async def join(self, order: orders.Join) -> Json:
        """Uses a code that somebody sent us, now or as soon as its maker is there: {id, state, text, ...}.

        What comes of it is awaited for JOIN_SHOWN_S. Raises MisuseError where its maker refuses it.
        """
        code = order.code.strip()
        if "~" in code:
            # A code of npm's kind names a host that is dialled at once.
            return await self._call("invite.accept", code, timeout_s=JOIN_LIMIT_S)
        async with self.link() as link:
            told = await link.call("welcome.join", code)
            with suppress(TimeoutError):
                async with asyncio.timeout(JOIN_SHOWN_S):
                    async for last in link.source("welcome.progress", told["id"]):
                        told = last
        if told["state"] == "refused":
            raise MisuseError(told["text"])
        return told

    async def ask_joins(self, _query: Mapping[str, str]) -> Json:
        """The codes that wait for their makers."""
        return await self._call("welcome.joins")


def qr_svg(code: str) -> str:
    """The code as a picture, for a telephone to read: an SVG without scripts and styles."""
    import segno  # noqa: PLC0415 - few need it, and a start shall be quick

    picture = BytesIO()
    # In capitals it takes the alphabet of QR codes that needs the least room.
    made = segno.make(code.upper(), error="m", micro=False)
    made.save(picture, kind="svg", scale=4, border=4, light="white", xmldecl=False, svgclass=None, lineclass=None)
    return picture.getvalue().decode()


def _needed(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise MisuseError(f"this takes {name}")
    return query[name]


def _switch(text: str, name: str) -> bool:
    if text not in {"1", "0", "true", "false"}:
        raise MisuseError(f"{name} is true or false")
    return text in {"1", "true"}


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16):
        raise MisuseError(f"{name} is a whole number")
    return int(text)
