"""What `ssb-rtc status --watch` shows of a peer: from the answers of its local rpc to a line, or to a whole screen."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ssb_rtc.cli.output import printable

CONNECTED = "CONNECTED"
IDLE = "DISCONNECTED"
FEEDS_SHOWN = 5
HUBS_SHOWN = 6
LINES_AROUND = 9
"""Of the screen: the head with its two bars, the headings, and the blank lines between the tables."""
BAR_CELLS = 24
STATE_CELLS = len(IDLE)
WIDE = 120
ID_BEGINNING, ID_WHOLE = 10, 53
"""Of an id, on a terminal that is narrower than WIDE, or not."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a peer; each field is what a method of its local rpc answered."""

    at_s: float
    status: dict[str, Any]
    peers: list[dict[str, Any]]
    hubs: list[dict[str, Any]]
    progress: dict[str, Any]
    """{feeds: [{id, have, missing}], total: {feeds, messages, missing}}: what linked peers have and we lack, too."""
    indexes: dict[str, Any]
    """{start, current, target}, as ssb-db's `progress` has them."""
    before: Look | None = None

    def without_its_past(self) -> Look:
        """The same, so that looks don't hold each other for ever."""
        return replace(self, before=None)

    @property
    def messages_a_second(self) -> float:
        """How many came in since the look before."""
        if self.before is None or self.at_s <= self.before.at_s:
            return 0.0
        came: int = self.status["messages"] - self.before.status["messages"]
        return max(0.0, came / (self.at_s - self.before.at_s))

    @property
    def missing(self) -> int:
        """How many messages linked peers say that they have and we lack."""
        return int(self.progress["total"]["missing"])

    def behind(self) -> list[dict[str, Any]]:
        """Feeds of which something is missing: {id, have, missing}, those that lack most first."""
        return [feed for feed in self.progress["feeds"] if feed["missing"]]


def line(look: Look) -> str:
    """The state of everything in one line."""
    linked = [peer for peer in look.peers if peer["state"] == CONNECTED]
    over = Counter(str(peer["transport"]) for peer in linked)
    ways = f" ({', '.join(f'{count} {way}' for way, count in sorted(over.items()))})" if over else ""
    up = sum(hub["state"] == CONNECTED for hub in look.hubs)
    parts = [
        f"hubs {up} of {len(look.hubs)}",
        f"linked {len(linked)} of {len(look.peers)}{ways}",
        f"{look.status['messages']} messages in {len(look.status['feeds'])} feeds",
    ]
    if look.missing:
        parts.append(f"{look.missing} to fetch")
    parts += [f"warning: {printable(warning)}" for warning in look.status["warnings"]]
    return ", ".join(parts)


def screen(look: Look, width: int, height: int) -> RenderableType:
    """Everything, on a terminal of this size."""
    hubs, feeds = look.hubs[:HUBS_SHOWN], look.behind()[:FEEDS_SHOWN]
    warnings = look.status["warnings"]
    room = height - LINES_AROUND - max(1, len(hubs)) - len(feeds) - len(warnings) - len(look.status["addresses"])
    parts: list[RenderableType] = [_head(look)]
    parts += [Text(f"warning    {printable(warning)}", style="yellow") for warning in warnings]
    parts += [Text(), _hubs(hubs, len(look.hubs), width), Text(), *_peers(look, max(1, room), width)]
    return Group(*parts, *([_feeds(feeds, width)] if feeds else []))


def _head(look: Look) -> RenderableType:
    head = Table.grid(padding=(0, 2))
    head.add_column(style="bold")
    head.add_column()
    head.add_row("id", look.status["id"])
    for address in look.status["addresses"]:
        head.add_row("address", Text(printable(address), overflow="ellipsis", no_wrap=True))
    head.add_row("messages", _messages(look))
    done, total = look.indexes["current"], look.indexes["target"]
    if done < total:
        head.add_row("indexes", _bar(done, total, f"{done:,} of {total:,}"))
    head.add_row("", Text("q or Ctrl-C ends this; the peer goes on", style="dim"))
    return head


def _messages(look: Look) -> RenderableType:
    held = look.status["messages"]
    rate = f", {look.messages_a_second:,.0f} a second" if look.messages_a_second >= 1 else ""
    told = f"{held:,} in {len(look.status['feeds'])} feeds{rate}"
    if not look.missing:
        return Text(told)
    return _bar(held, held + look.missing, f"{told}; {look.missing:,} to come")


def _bar(done: float, total: float, told: str) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    row.add_row(ProgressBar(total=total, completed=done, width=BAR_CELLS), told)
    return row


def _feeds(feeds: list[dict[str, Any]], width: int) -> RenderableType:
    """How far each of these feeds is."""
    table = Table.grid(padding=(0, 2))
    for feed in feeds:
        whole = feed["have"] + feed["missing"]
        bar = ProgressBar(total=whole, completed=feed["have"], width=BAR_CELLS)
        table.add_row(feed["id"][: _id_cells(width)], bar, f"{feed['have']:,} of {whole:,}")
    return table


def _id_cells(width: int) -> int:
    """How much of an id is shown."""
    return ID_BEGINNING if width < WIDE else ID_WHOLE


def _hubs(hubs: list[dict[str, Any]], count: int, width: int) -> RenderableType:
    if not hubs:
        return Text("no hub: add one with `ssb-rtc hubs add https://...`", style="yellow")
    longest = max(len(hub["url"]) for hub in hubs)
    table = _table(("hub", min(longest, width // 2)), ("state", STATE_CELLS), ("last fault", 0))
    for hub in hubs:
        table.add_row(printable(hub["url"]), _state(hub["state"]), printable(hub["error"] or ""))
    if count > len(hubs):
        table.add_row(f"and {count - len(hubs)} more", "", "", style="dim")
    return table


def _peers(look: Look, room: int, width: int) -> list[RenderableType]:
    """As many peers as there is room for: those with a link first, then those that are tried, then the others."""
    if not look.peers:
        return [Text("no peer yet: `ssb-rtc connect ADDRESS`, or wait until one is met on a hub", style="yellow")]
    order = sorted(look.peers, key=lambda peer: (peer["state"] != CONNECTED, peer["state"] == IDLE, peer["id"]))
    shown = order if len(order) <= room else order[: max(1, room - 1)]
    beginning = _id_cells(width)
    table = _table(("peer", beginning), ("state", STATE_CELLS), ("over", 4), ("why", 0))
    for peer in shown:
        why = ("pinned; " if peer["pinned"] else "") + peer["reason"]
        table.add_row(peer["id"][:beginning], _state(peer["state"]), peer["transport"] or "-", printable(why))
    if len(order) == len(shown):
        return [table]
    linked = sum(peer["state"] == CONNECTED for peer in order)
    return [table, Text(f"and {len(order) - len(shown)} more ({linked} linked in all)", style="dim")]


def _table(*columns: tuple[str, int]) -> Table:
    """A table of columns with headings; each is at least so many cells wide, and what is too long is cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, cells in columns:
        table.add_column(heading, no_wrap=True, overflow="ellipsis", min_width=cells or None)
    return table


def _state(state: str) -> Text:
    style = {CONNECTED: "green", IDLE: "dim"}.get(state, "yellow")
    return Text(state, style=style)
