"""Our validation against ssb-validate 4.1.4 on thousands of odd messages: the same taken, the same refused."""

from __future__ import annotations

import base64
import json
import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds.canonical import parse
from ssb_rtc.feeds.validate import Checked, Head, check, check_batch, prepare_raw, verify_jobs
from ssb_rtc.types import FeedId
from tests.interop.odd_messages import Feed, odd_feed

FEEDS = 2500
SCRIPT = Path(__file__).with_name("validate.cjs")

Verdict = tuple[str, bytes] | None


def judged_by_javascript(feeds: Sequence[Feed], packages: Path) -> list[list[Verdict]]:
    lines = [
        json.dumps(
            {
                "hmac": base64.b64encode(feed.hmac_key).decode() if feed.hmac_key else None,
                "raws": [base64.b64encode(raw).decode() for raw in feed.raws],
            }
        )
        for feed in feeds
    ]
    done = subprocess.run(
        ["node", str(SCRIPT), str(packages)],
        input="\n".join(lines).encode(),
        capture_output=True,
        check=True,
        timeout=50,
    )
    return [
        [(one["key"], one["raw"].encode()) if one else None for one in json.loads(line)]
        for line in done.stdout.decode().strip("\n").split("\n")
    ]


def one_by_one(feed: Feed) -> list[Verdict]:
    heads: dict[str, Head] = {}
    verdicts: list[Verdict] = []
    for raw in feed.raws:
        try:
            value = parse(raw)
            author = value.get("author") if isinstance(value, dict) else None
            found = check(heads.get(author) if isinstance(author, str) else None, value, hmac_key=feed.hmac_key)
        except MessageInvalid:
            verdicts.append(None)
            continue
        heads[found.author] = found.head
        verdicts.append((found.key, found.raw))
    return verdicts


def from_the_wire(feed: Feed) -> list[Verdict]:
    heads: dict[FeedId, Head] = {}
    verdicts: list[Verdict] = []
    for raw in feed.raws:
        found: Checked | None = None
        for head in (None, *heads.values()):
            author = next((one for one, known in heads.items() if known is head), None)
            try:
                pending = prepare_raw(head, raw, feed.hmac_key, author=author)
            except MessageInvalid:
                continue
            if (head is None and pending.checked.author in heads) or verify_jobs([pending.job]) != -1:
                continue
            found = pending.checked
        if found:
            heads[found.author] = found.head
        verdicts.append((found.key, found.raw) if found else None)
    return verdicts


def in_a_batch(feed: Feed, verdicts: Sequence[Verdict]) -> None:
    """A batch takes what ssb-validate takes one after another, up to the first that it refuses."""
    batch = check_batch(None, feed.raws, hmac_key=feed.hmac_key)
    until = next((at for at, verdict in enumerate(verdicts) if verdict is None), len(verdicts))
    authors = {json.loads(verdict[1])["author"] for verdict in verdicts[:until] if verdict}
    if len(authors) < 2:
        assert [(one.key, one.raw) for one in batch.accepted] == list(verdicts[:until])
        assert (batch.error is None) == (until == len(verdicts))


@pytest.mark.js
def test_the_same_verdicts_as_ssb_validate(node_packages: Path) -> None:
    rng = random.Random("ssb-validate 4.1.4")
    feeds = [odd_feed(rng) for _ in range(FEEDS)]
    expected = judged_by_javascript(feeds, node_packages)
    assert len(expected) == FEEDS
    for feed, verdicts in zip(feeds, expected, strict=True):
        assert one_by_one(feed) == verdicts, feed
        assert from_the_wire(feed) == verdicts, feed
        in_a_batch(feed, verdicts)
    taken = sum(verdict is not None for verdicts in expected for verdict in verdicts)
    refused = sum(verdict is None for verdicts in expected for verdict in verdicts)
    assert taken > FEEDS // 2
    assert refused > FEEDS // 2
