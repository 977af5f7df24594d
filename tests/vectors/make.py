"""Writes feed-20.jsonl: one feed of twenty messages that between them hold every trap of the message format.

    python tests/vectors/make.py

Deterministic: fixed seeds, fixed timestamps. The file is kept in the project so that its tests need no other data;
make it anew only when a message is added, and let ssb-validate judge it (tests/interop) before trusting it.
"""

from __future__ import annotations

import base64
from hashlib import sha256
from pathlib import Path
from typing import Any

from ssb_rtc.feeds.canonical import compact, encode
from ssb_rtc.feeds.keys import keys_from_seed, sign
from ssb_rtc.feeds.message import message_id
from ssb_rtc.feeds.private import RANDOM_BYTES, box

FILE = Path(__file__).with_name("feed-20.jsonl")
AUTHOR = keys_from_seed(sha256(b"ssb-rtc feed-20 author").digest())
FRIEND = keys_from_seed(sha256(b"ssb-rtc feed-20 friend").digest())
STRANGER = keys_from_seed(sha256(b"ssb-rtc feed-20 stranger").digest())
SECRET = {"type": "post", "text": "only for two: é 🦀", "recps": [AUTHOR.id, FRIEND.id]}


def randomness(name: str) -> bytes:
    """As many bytes as a private message takes, the same for the same name."""
    return b"".join(sha256(f"{name} {at}".encode()).digest() for at in range(3))[:RANDOM_BYTES]


def contents() -> list[Any]:
    """What the twenty messages say."""
    return [
        {"type": "about", "about": AUTHOR.id, "name": "twenty"},
        {"type": "contact", "contact": FRIEND.id, "following": True},
        {"type": "post", "text": "plain ascii"},
        {"type": "post", "text": "é ü ß € “quotes” こんにちは"},
        {"type": "post", "text": "beyond the plane: 🦀👩‍👩‍👧 \U0010ffff"},
        {"type": "post", "text": '\x00\x01\x08\x0c\n\r\t\x1f\x7f " \\ / \u2028 \u2029 \ufeff \ufffe'},
        {"type": "numbers", "floats": [0.1, 1.5, -2.5e-7, 1e21, 1.7976931348623157e308, 5e-324, 1e-6, 123456789.125]},
        {"type": "numbers", "whole": [0, -1, 2**53, -(2**53), 1e20, 1e15, 123456789012345680000, 4294967296]},
        {
            "z": 1,
            "10": "ten",
            "9": "nine",
            "type": "keys",
            "0": "zero",
            "01": "no index",
            "4294967294": 1,
            "4294967295": 2,
        },
        {
            "type": "keys",
            "": "empty",
            "__proto__": {"type": "own"},
            "constructor": None,
            "toJSON": 1,
            "é": "ключ",
            "a b": [],
        },
        {"type": "lone", "high": "\ud83d", "low": "a\udc00b", "\ud800": "key"},
        {"type": "empty", "list": [], "object": {}, "lists": [[], [[]], {}], "nothing": None, "yes": True, "no": False},
        box(SECRET, [AUTHOR.id, FRIEND.id], random=randomness("two")),
        {"type": "vote", "vote": {"link": "%" + "A" * 43 + "=.sha256", "value": 1, "expression": "👍"}},
        {"type": "contact", "contact": FRIEND.id, "following": False},
        {"type": "contact", "contact": STRANGER.id, "blocking": True},
        {"type": "t" * 52, "text": "the longest type"},
        {"type": "a😀", "nested": [[[[{"a": [{"b": {"c": [[1, [2]]]}}]}]]]]},
        box({"type": "post", "text": "for somebody else"}, [STRANGER.id], random=randomness("one")),
        {"type": "post", "text": "", "more": "x"},
    ]


def timestamp(sequence: int) -> float:
    """Milliseconds, with a fraction in every third message, and once back in time."""
    return {5: 1514517000000, 11: 1e21, 14: -1}.get(
        sequence, 1514517067954 + sequence + (0.001 if sequence % 3 == 0 else 0)
    )


def fill(value: dict[str, Any]) -> None:
    """Makes the message as long as a message may be: 8,192 UTF-16 units."""
    value["content"]["text"] = "€" * (8192 - len(encode({**value, "signature": "x" * 100})))


def messages() -> list[dict[str, Any]]:
    """The rows of the file: {key, value}."""
    rows: list[dict[str, Any]] = []
    for sequence, content in enumerate(contents(), start=1):
        place = [("sequence", sequence), ("author", AUTHOR.id)]
        value = {
            "previous": rows[-1]["key"] if rows else None,
            **dict(place if sequence % 4 else place[::-1]),
            "timestamp": timestamp(sequence),
            "hash": "sha256",
            "content": content,
        }
        if sequence == 20:
            fill(value)
        signature = base64.b64encode(sign(AUTHOR, encode(value))).decode()
        value["signature"] = f"{signature}.sig.ed25519"
        rows.append({"key": message_id(value), "value": value})
    return rows


def file_bytes() -> bytes:
    """The file, a row of JSON a line."""
    return b"".join(compact(row) + b"\n" for row in messages())


if __name__ == "__main__":
    FILE.write_bytes(file_bytes())
