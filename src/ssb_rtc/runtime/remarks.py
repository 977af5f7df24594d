"""What one manager tells another over a link, by calls of ours: `peers.goodbye`, `peers.tell`, `hubs.tell`.

All of it is best effort. A JavaScript peer knows none of these calls and says so, and is told nothing more then. What
comes in the other way is read by plugins.peering and plugins.hubs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from ssb_rtc.errors import RemoteCallError, SsbRtcError
from ssb_rtc.feeds.hub_entry import HubEntry, format_entries
from ssb_rtc.transport.link import Link
from ssb_rtc.types import Json, JsonObject

GOODBYE_LIMIT_S: Final = 1.0
"""The longest that a goodbye holds up the end of its link."""
TELL_LIMIT_S: Final = 10.0

logger = logging.getLogger(__name__)


class Remarks:
    """Tells remotes, and remembers which of them don't understand."""

    def __init__(self) -> None:
        self._deaf: set[Link] = set()

    async def goodbye(self, link: Link, reason: str, not_before_s: float | None) -> None:
        """We are about to close the link: why, and for how long the remote should stay away."""
        said: JsonObject = {"reason": reason}
        if not_before_s is not None:
            said["notBefore"] = not_before_s
        await self._say(link, "peers.goodbye", said, GOODBYE_LIMIT_S)

    async def tell(self, link: Link, *, only_link: bool, downloading: bool) -> None:
        """How we stand with this link."""
        await self._say(link, "peers.tell", {"onlyLink": only_link, "downloading": downloading}, TELL_LIMIT_S)

    async def tell_hubs(self, link: Link, entries: Sequence[HubEntry]) -> bool:
        """Who vouches for which hubs, ourselves among them; whether the remote took it."""
        return await self._say(link, "hubs.tell", format_entries(entries), TELL_LIMIT_S)

    async def _say(self, link: Link, name: str, said: Json, limit_s: float) -> bool:
        """Whether the remote took it."""
        if link in self._deaf or link.closed.done():
            return False
        try:
            return await link.call(name, said, timeout_s=limit_s) is True
        except RemoteCallError as refusal:
            logger.debug("%s does not take %s: %s", link.remote, name, refusal)
            self._deaf.add(link)
            link.closed.add_done_callback(lambda _: self._deaf.discard(link))
        except SsbRtcError as fault:
            logger.debug("%s was told %s in vain: %s", link.remote, name, fault)
        return False
