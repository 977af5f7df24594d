"""Validation of many messages at once, and the proof of a fork."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ssb_rtc.feeds.canonical import compact
from ssb_rtc.feeds.message import create, message_id
from ssb_rtc.feeds.validate import (
    Job,
    check_batch,
    is_signed_by_author,
    prepare,
    proves_fork,
    verify_jobs,
)
from ssb_rtc.types import JsonObject
from tests.feeds.signed_messages import HEAD, KEYS, OTHER, feed, message, signed


def test_batches() -> None:
    values = feed(5)
    raws = [compact(value) for value in values]
    for rows in (values, raws, [values[0], raws[1], values[2], raws[3], values[4]]):
        batch = check_batch(None, rows)
        assert batch.error is None
        assert [one.raw for one in batch.accepted] == raws
        assert batch.head == batch.accepted[-1].head
        assert check_batch(batch.accepted[1].head, rows[2:]).accepted == batch.accepted[2:]
    assert check_batch(HEAD, []).head == HEAD
    assert check_batch(None, []).accepted == []


@pytest.mark.parametrize("bad", range(5))
@pytest.mark.parametrize("kind", ["signature", "previous", "text", "author"])
def test_batch_stops_before_the_bad_one(bad: int, kind: str) -> None:
    values: list[Any] = feed(5)
    good = values[:bad]
    if kind == "signature":
        values[bad] = {**values[bad], "signature": values[bad - 1]["signature"]}
    elif kind == "previous":
        values[bad] = signed({**values[bad], "previous": HEAD.id})
    elif kind == "author":
        values[bad] = signed({**values[bad], "author": OTHER.id}, KEYS)
    else:
        values[bad] = b"no JSON"
    batch = check_batch(None, values)
    assert [one.value for one in batch.accepted] == good
    assert batch.error is not None
    assert (batch.head.sequence if batch.head else 0) == bad


def test_batch_is_of_one_author() -> None:
    values = feed(1)
    stolen = signed({**feed(2)[1], "author": OTHER.id}, OTHER)
    assert check_batch(None, [*values, stolen]).error is not None
    assert check_batch(None, values, author=OTHER.id).error is not None


def test_batch_gives_its_jobs_to_the_verifier_at_once() -> None:
    seen: list[int] = []

    def verify(jobs: Sequence[Job]) -> int:
        seen.append(len(jobs))
        return 2

    batch = check_batch(None, feed(4), verify=verify)
    assert seen == [4]
    assert len(batch.accepted) == 2
    assert str(batch.error) == "invalid signature"


def test_verify_jobs_names_the_first_bad_one() -> None:
    jobs = [one.job for one in _pending(feed(4))]
    assert verify_jobs(jobs) == -1
    assert verify_jobs([]) == -1
    public, signature, data = jobs[2]
    assert verify_jobs([*jobs[:2], (public, signature, data + b" "), (public, bytes(64), data)]) == 2


def _pending(values: list[JsonObject]) -> list[Any]:
    head, found = None, []
    for value in values:
        found.append(prepare(head, value))
        head = found[-1].checked.head
    return found


def test_proof_of_a_fork() -> None:
    first, second = feed(2)
    fork = create(KEYS, {"type": "fork"}, previous=message_id(first), sequence=2, timestamp_ms=9)
    assert proves_fork(second, fork)
    assert not proves_fork(second, second)
    assert not proves_fork(first, second)
    assert not proves_fork(second, {**fork, "signature": second["signature"]})
    assert not proves_fork(second, signed({**fork, "author": OTHER.id}, OTHER))
    assert not proves_fork(second, None)
    assert proves_fork(second, signed({**fork, "previous": HEAD.id}))


def test_signed_by_its_author_wherever_it_stands() -> None:
    assert is_signed_by_author(message(sequence=77, previous="anything"))
    assert not is_signed_by_author(message(author=OTHER.id))
    assert not is_signed_by_author({**message(), "timestamp": 5})
    assert not is_signed_by_author(message(sequence="77"))
    assert is_signed_by_author(signed(message(), hmac_key=bytes(32)), bytes(32))
