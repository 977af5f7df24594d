"""The project's own feed of twenty messages, which holds every trap and needs no other data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds.canonical import compact, encode, parse, utf16_length
from ssb_rtc.feeds.message import message_id
from ssb_rtc.feeds.private import unbox
from ssb_rtc.feeds.validate import check, check_batch
from tests.vectors import make

LINES = Path(make.__file__).with_name("feed-20.jsonl").read_bytes().splitlines()
ROWS = [parse(line) for line in LINES]


def test_the_file_is_what_the_script_makes() -> None:
    assert make.file_bytes().splitlines() == LINES
    assert len(LINES) == 20


def test_the_feed_is_valid() -> None:
    head = None
    for row in ROWS:
        checked = check(head, row["value"])
        assert checked.key == row["key"] == message_id(row["value"])
        assert compact({"key": checked.key, "value": checked.value}) == LINES[checked.sequence - 1]
        head = checked.head
    assert check_batch(None, [compact(row["value"]) for row in ROWS]).head == head
    assert utf16_length(encode(ROWS[-1]["value"])) == 8192


def test_what_strict_parsing_refuses_of_it() -> None:
    refused = []
    for sequence, line in enumerate(LINES, start=1):
        try:
            parse(line, strict=True)
        except MessageInvalid:
            refused.append(sequence)
    assert refused == [11]


def test_its_private_messages() -> None:
    boxed = [row["value"]["content"] for row in ROWS if isinstance(row["value"]["content"], str)]
    assert [unbox(text, make.AUTHOR) for text in boxed] == [make.SECRET, None]
    assert [unbox(text, make.FRIEND) for text in boxed] == [make.SECRET, None]
    assert unbox(boxed[1], make.STRANGER) == {"type": "post", "text": "for somebody else"}


@pytest.mark.parametrize("sequence", range(1, 21))
def test_a_message_left_out_is_noticed(sequence: int) -> None:
    values = [row["value"] for row in ROWS]
    batch = check_batch(None, values[: sequence - 1] + values[sequence:])
    assert len(batch.accepted) == sequence - 1
    assert (batch.error is None) == (sequence == 20)
