"""The commands that need no running peer, as a user runs them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.e2e.processes import run, run_ok


async def test_init_whoami_publish_log(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    made = (await run_ok("init", "--json", *path)).json
    secret = Path(made["secret"])
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    before = secret.read_bytes()
    again = await run("init", *path)
    assert again.code == 4
    assert "already" in again.err
    assert secret.read_bytes() == before
    assert (await run_ok("whoami", *path)).out.strip() == made["id"]

    first = (await run_ok("publish", "hello", "--json", *path)).json
    second = (await run_ok("publish", "-", "--json", *path, stdin="zweite Zeile ☃\n".encode())).json
    content = {"type": "about", "about": made["id"], "name": "A"}
    third = (await run_ok("publish", "--content", json.dumps(content), "--json", *path)).json
    assert [m["value"]["sequence"] for m in (first, second, third)] == [1, 2, 3]
    assert second["value"]["previous"] == first["key"]
    assert third["value"]["content"] == content

    lines = (await run_ok("log", "--json", *path)).json_lines
    assert lines == [first, second, third]
    assert (await run_ok("log", "--json", "--limit", "1", *path)).json_lines == [first]
    assert (await run_ok("log", "--json", "--limit", "1", "--newest", *path)).json_lines == [third]
    assert "hello" in (await run_ok("log", *path)).out
    shown = (await run_ok("status", "--json", *path)).json
    assert shown["id"] == made["id"]
    assert shown["messages"] == 3
    assert shown["feeds"] == {made["id"]: 3}
    assert (shown["addresses"], shown["hubs"], shown["peers"]) == ([], [], [])


async def test_export_and_import_carry_a_feed(tmp_path: Path) -> None:
    one, two = ["--path", str(tmp_path / "one")], ["--path", str(tmp_path / "two")]
    own = (await run_ok("init", "--json", *one)).json["id"]
    await run_ok("init", *two)
    for number in range(3):
        await run_ok("publish", f"message {number}", *one)
    exported = (await run_ok("export", *one)).out
    file = tmp_path / "feed.jsonl"
    file.write_text(exported)
    summary = (await run_ok("import", str(file), "--json", *two)).json
    assert (summary["imported"], summary["known"], summary["refused_count"]) == (3, 0, 0)
    again = (await run_ok("import", "-", "--json", *two, stdin=exported.encode())).json
    assert (again["imported"], again["known"], again["refused_count"]) == (0, 3, 0)
    assert (await run_ok("status", "--json", *two)).json["feeds"] == {own: 3}
    theirs = (await run_ok("export", *two)).out.splitlines()
    assert [json.loads(line)["key"] for line in theirs] == [json.loads(line)["key"] for line in exported.splitlines()]


async def test_import_refuses_what_is_wrong_and_keeps_what_is_right(tmp_path: Path) -> None:
    one, two = ["--path", str(tmp_path / "one")], ["--path", str(tmp_path / "two")]
    own = (await run_ok("init", "--json", *one)).json["id"]
    await run_ok("init", *two)
    for number in range(4):
        await run_ok("publish", f"message {number}", *one)
    lines = (await run_ok("export", *one)).out.splitlines()
    forged = json.loads(lines[2])
    forged["value"]["content"]["text"] = "not what was signed"
    del forged["key"]
    bad = "\n".join([lines[0], "{", lines[1], json.dumps(forged), lines[3], ""])
    done = await run("import", "-", "--json", *two, stdin=bad.encode())
    assert done.code == 1
    assert done.json["imported"] == 2
    assert [refused["line"] for refused in done.json["refused"]] == [2, 4, 5]
    assert (await run_ok("status", "--json", *two)).json["feeds"] == {own: 2}


async def test_validate_speaks_json_lines(tmp_path: Path, vectors: Path) -> None:
    feed = vectors / "go-ssb-legacy" / "real-feed-235.jsonl"
    done = await run_ok("validate", str(feed))
    answers = done.json_lines
    pairs = [json.loads(line) for line in feed.read_text().splitlines()]
    assert [a["line"] for a in answers] == list(range(1, 236))
    assert all(a["valid"] for a in answers)
    assert [a["id"] for a in answers] == [pair["key"] for pair in pairs]

    first, second = pairs[0]["value"], pairs[1]["value"]
    wrong_key = {"key": pairs[1]["key"], "value": first}
    state = {"id": pairs[0]["key"], "sequence": 1}
    cases = [
        {"state": None, "message": first, "hmacKey": None},
        {"state": state, "message": second, "hmacKey": None},
        {"state": None, "message": second, "hmacKey": None},
        {"state": None, "message": first, "hmacKey": "A" * 43 + "="},
    ]
    text = "\n".join(["", json.dumps(wrong_key), *map(json.dumps, cases), "[1]"])
    done = await run("validate", "-", stdin=text.encode())
    assert done.code == 1
    assert [(a["line"], a["valid"]) for a in done.json_lines] == [
        (2, False), (3, True), (4, True), (5, False), (6, False), (7, False),
    ]  # fmt: skip


async def test_what_needs_a_peer_says_so(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    for words in (["peers"], ["connect", "net:127.0.0.1:1~shs:" + "A" * 43 + "="], ["log", "--follow"]):
        done = await run(*words, *path)
        assert done.code == 3, words
        assert "ssb-rtc start" in done.err


async def test_usage_and_environment_errors(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    assert (await run("whoami", *path)).code == 4
    assert (await run("nonsense")).code == 2
    assert (await run("start", "--hops", "many", *path)).code == 2
    await run_ok("init", *path)
    for words in (
        ["follow", "somebody"],
        ["publish"],
        ["publish", "--content", "{"],
        ["publish", "--content", "[1]"],
        ["publish", "--content", '{"type":"x"}'],
        ["hubs", "add", "http://hub.example.org"],
        ["hubs", "add", "::::"],
        ["import", str(tmp_path / "absent")],
    ):
        done = await run(*words, *path)
        assert done.code == 2, (words, done)
        assert done.err.startswith("ssb-rtc: "), (words, done)
        assert "Traceback" not in done.err


async def test_hubs_are_kept(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    await run_ok("init", *path)
    await run_ok("hubs", "add", "Hub.Example.org/", *path)
    await run_ok("hubs", "add", "http://127.0.0.1:8000", *path)
    refused = await run("hubs", "add", "http://hub.lan:8000", *path)
    assert refused.err.endswith("or allow it for this host with --allow-http hub.lan\n")
    await run_ok("hubs", "add", "http://hub.lan:8000", "--allow-http", "hub.lan", *path)
    urls = [hub["url"] for hub in (await run_ok("hubs", "list", "--json", *path)).json]
    assert urls == ["https://hub.example.org", "http://127.0.0.1:8000", "http://hub.lan:8000"]
    published = (await run_ok("hubs", "publish", "hub.example.org", "--json", *path)).json
    assert published["value"]["content"] == {"type": "ssb-rtc/hub", "url": "https://hub.example.org"}
    assert (await run_ok("hubs", "retire", "hub.example.org", *path)).out.startswith("%")
    assert (await run("hubs", "retire", "hub.example.org", *path)).code == 2
    assert (await run("hubs", "publish", "http://127.0.0.1:8000", *path)).code == 2
    removed = (await run_ok("hubs", "remove", "hub.example.org", *path)).out
    assert removed.endswith("it is removed; after a day it may come back, where others tell of it\n")
    await run_ok("hubs", "remove", "http://hub.lan:8000", *path)
    assert [hub["url"] for hub in (await run_ok("hubs", "--json", *path)).json] == ["http://127.0.0.1:8000"]
    absent = await run("hubs", "remove", "https://other.example.org", *path)
    assert absent.code == 2


async def test_a_secret_taken_over_freezes_publishing_until_overridden(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    await run_ok("init", "--path", str(old))
    done = await run_ok("init", "--secret", str(old / "secret"), "--path", str(new))
    assert "fork" in done.err
    frozen = await run("publish", "hello", "--path", str(new))
    assert frozen.code == 1
    assert "imported" in frozen.err
    await run_ok("publish", "hello", "--force", "--path", str(new))


async def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = await run("init", "--path", str(file / "below"))
    assert done.code == 4
    assert "--path" in done.err


async def test_a_corrupt_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peer"
    await run_ok("init", "--path", str(path))
    await run_ok("publish", "hello", "--path", str(path))
    database = path / "ssb-rtc.sqlite"
    database.write_bytes(b"not a database at all" * 100)
    before = database.read_bytes()
    done = await run("log", "--path", str(path))
    assert done.code == 4
    assert str(database) in done.err
    assert database.read_bytes() == before


async def test_a_feed_is_never_signed_with_two_hmac_keys(tmp_path: Path) -> None:
    path = ["--path", str(tmp_path / "peer")]
    key = "A" * 43 + "="
    await run_ok("init", *path)
    await run_ok("publish", "one", "--hmac-key", key, *path)
    mixed = await run("publish", "two", "--force", *path)
    assert mixed.code == 1
    assert "--hmac-key" in mixed.err
    await run_ok("publish", "two", "--hmac-key", key, *path)
    assert len((await run_ok("log", "--json", *path)).json_lines) == 2
