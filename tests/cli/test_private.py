"""Private messages and ssb: URIs at the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ssb_rtc.feeds.uri import from_sigil
from tests.e2e.processes import run, run_ok


async def test_private_messages_are_shown_to_those_they_are_for(tmp_path: Path) -> None:
    one, two, three = (["--path", str(tmp_path / name)] for name in ("one", "two", "three"))
    made = await asyncio.gather(*(run_ok("init", "--json", *path) for path in (one, two, three)))
    ids = [each.json["id"] for each in made]
    await run_ok("publish", "for all", *one)
    secret = (await run_ok("publish", "for two", "--to", from_sigil(ids[1]), "--json", *one)).json
    assert secret["value"]["content"].endswith(".box")
    exported = (await run_ok("export", *one)).out
    for path in (two, three):
        await run_ok("import", "-", *path, stdin=exported.encode())

    shown = await asyncio.gather(*(run_ok("log", *path) for path in (one, two, three)))
    texts = [[line.partition("  ")[2].split("  ")[-1] for line in each.out.splitlines()] for each in shown]
    readable = ["for all", "(private) for two"]
    assert texts == [readable, readable, ["for all", "(private, not for us)"]]

    opened, shut = await asyncio.gather(
        *(run_ok("log", "--private", "--json", "--limit", "1", *path) for path in (two, three))
    )
    assert opened.json["key"] == secret["key"]
    assert opened.json["value"]["content"] == {"type": "post", "text": "for two", "recps": ids[:2]}
    assert shut.out == ""
    # Without --private JSON is what was signed, and can be imported again.
    assert (await run_ok("log", "--json", "--author", from_sigil(ids[0]), *two)).json_lines[1]["value"] == (
        secret["value"]
    )


async def test_recipients_and_uris_that_are_none(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    own = (await run_ok("init", "--json", *path)).json["id"]
    # All but the last end before a peer is opened, so they don't fight for it.
    odd = await asyncio.gather(
        run("publish", "x", "--to", "nobody", *path),
        run("follow", "ssb:feed/nonsense/x", *path),
        run("log", "--author", from_sigil(own)[:-1], *path),
        run("publish", "--content", '{"type":"post","recps":[]}', *path),
    )
    assert [done.code for done in odd] == [2, 2, 2, 2]
    assert "not a feed id" in odd[0].err
    assert "names no feed" in odd[1].err
    assert "1 to 7 recipients" in odd[3].err
    assert (await run_ok("log", *path)).out == ""
