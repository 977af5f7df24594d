"""Private messages for callers on this machine: `private.publish` and `private.unbox`, as npm ssb-private names them.

A remote caller could have us open what it overheard; none may call these. When the key of a private group arrives,
the index of readable messages is made anew, so that older messages of the group are found as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping
from typing import ClassVar, Final

from ssb_rtc.errors import MisuseError, StorageFault
from ssb_rtc.feeds import private
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.feed import encode_stored
from ssb_rtc.storage.index_private import PrivateIndex
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json

logger = logging.getLogger(__name__)

_INDEXED_KEYS: Final = "private.indexed_keys"
"""In `meta`: with how many group keys the index was last begun."""


class Private:
    """Encrypts and opens; see storage.unboxer for what can be opened."""

    name = "private"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"private.publish": "async", "private.unbox": "sync"}
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._group_keys = context.unboxer.group_keys
        self._rebuilding: asyncio.Task[None] | None = None
        self._unsubscribe = self._group_keys.subscribe(lambda _key: self._rebuild_soon())
        if self._is_index_behind():
            self._rebuild_soon()
        return {"private.publish": self._publish, "private.unbox": self._unbox}

    async def _publish(self, _link: Link, content: Json = None, recps: Json = None, options: Json = None) -> Json:
        """Writes `content` (an object with a type) to our feed, encrypted for `recps` (see private.recipients_of).

        options: {durable, force} as `publish` has them. Gives {key, value, timestamp}, its content still encrypted.
        """
        if not isinstance(content, dict) or not isinstance(content.get("type"), str):
            raise MisuseError('the content of a private message is an object with a "type"')
        chosen = options if isinstance(options, dict) else {}
        author = self._context.author
        boxed = private.box(content, private.recipients_of(recps), random=os.urandom)
        if chosen.get("force"):
            author.override()
        return encode_stored(await author.publish(boxed, durable=bool(chosen.get("durable"))))

    async def _unbox(self, _link: Link, boxed: Json = None) -> Json:
        """The content of a text (`....box`), or a message {key, value, timestamp} with its content opened.

        None where it can't be opened. Of a bare text only the first kind: the second needs to know where it stands.
        """
        if isinstance(boxed, str):
            return private.unbox(boxed, self._context.keys)
        if not isinstance(boxed, dict) or not isinstance(boxed.get("value"), dict):
            return None
        content = self._context.unboxer.unbox_value(boxed["value"])
        return None if content is None else {**boxed, "value": private.opened_value(boxed["value"], content)}

    # --- new group keys ---

    def _is_index_behind(self) -> bool:
        return int(self._context.log.database.meta(_INDEXED_KEYS) or "0") != self._group_keys.count

    def _rebuild_soon(self) -> None:
        # A key often arrives inside of a slice of the very index that is to be made anew.
        if self._rebuilding is None:
            self._rebuilding = asyncio.get_running_loop().create_task(self._rebuild())

    async def _rebuild(self) -> None:
        try:
            while self._is_index_behind():
                count = self._group_keys.count
                await self._context.indexes.rebuild([PrivateIndex.name])
                self._context.log.database.set_meta(_INDEXED_KEYS, str(count))
        except StorageFault as fault:
            logger.warning("older messages of a private group are not found before the next start: %s", fault)
        finally:
            self._rebuilding = None

    async def close(self) -> None:
        """See Closing. A rebuild that was cut short is begun again at the next start."""
        self._unsubscribe()
        if self._rebuilding is not None:
            self._rebuilding.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rebuilding
