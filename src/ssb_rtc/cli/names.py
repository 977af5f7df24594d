"""`ssb-rtc name`; and the names that stand beside ids, which are others' words: short, on one line."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from typing import TYPE_CHECKING

from ssb_rtc.cli import output
from ssb_rtc.cli.local import run_with_link
from ssb_rtc.errors import MisuseError, SsbRtcError

if TYPE_CHECKING:
    from ssb_rtc.transport.link import Link

SHOWN_CHARACTERS = 24
"""Of a name that stands beside an id; it has at most 64."""
WAIT_S = 1.0
"""While the messages are indexed, as in a first sync, names are not worth more waiting."""
ASKED_MAX = 1_000
"""As plugins.names takes them."""
KEPT_MAX = 5_000


def name(arguments: argparse.Namespace) -> int:
    """Show how we call ourselves, or say it to everybody who reads our feed."""
    chosen = None if arguments.name is None else _checked(arguments.name)

    async def body(link: Link) -> int:
        own = str((await link.call("whoami"))["id"])
        if chosen is not None:
            message = await link.call("publish", {"type": "about", "about": own, "name": chosen})
            if arguments.json:
                output.print_json(message)
            else:
                print(f"you are called {chosen} now, as everybody sees who reads your feed")
            return 0
        found = (await link.call("rtc.names", [own]))[own]
        if arguments.json:
            output.print_json({"id": own, "name": found})
        else:
            print(output.printable(found) if found else "no name yet: `ssb-rtc name NAME` gives you one")
        return 0

    return run_with_link(arguments, body)


def _checked(text: str) -> str:
    """The name as everybody will see it. Raises MisuseError where that would not be what was typed."""
    from ssb_rtc.plugins.names import NAME_CHARACTERS_MAX, shown_name

    if not text.strip() or shown_name(text) != text.strip():
        raise MisuseError(
            f"a name is one line of 1 to {NAME_CHARACTERS_MAX} characters that can be shown, without two blanks in a "
            "row: choose another"
        )
    return text.strip()


class Names:
    """The names of feeds, as far as the peer at the other end of this link knows them soon enough."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._known: dict[str, str] = {}
        self._is_asked = True

    async def look_up(self, feeds: Collection[str]) -> None:
        """Asks for those that were not asked for yet."""
        unknown = [feed for feed in dict.fromkeys(feeds) if feed not in self._known]
        if len(self._known) + len(unknown) > KEPT_MAX:
            self._known.clear()
        for start in range(0, len(unknown), ASKED_MAX):
            some = unknown[start : start + ASKED_MAX]
            if not self._is_asked:
                return
            try:
                found = await self._link.call("rtc.names", some, timeout_s=WAIT_S)
            except SsbRtcError:
                self._is_asked = False
                return
            self._known |= {feed: output.printable(found[feed] or "") for feed in some}

    def of(self, feed: str) -> str:
        """Its name, cut to what stands beside an id; or nothing."""
        known = self._known.get(feed, "")
        return known if len(known) <= SHOWN_CHARACTERS else known[: SHOWN_CHARACTERS - 1] + "…"

    def have_changed(self, content: object, author: str) -> None:
        """To be told of each message that comes: it may give its author another name."""
        if isinstance(content, dict) and content.get("type") == "about":
            self._known.pop(author, None)
