"""Validation of feed messages: accepts exactly what ssb-validate 4.1.4 accepts after JSON.parse.

More would let in messages that JavaScript peers refuse, less would stop feeds here that they hold valid. Where the
specification says otherwise, `strict=True` follows it. docs/validation.md has the table of differences.

A signature costs five times all the rest, so the work is split: `prepare` does everything else and gives a job that
`verify_jobs` does, in batches and in any thread (PyNaCl releases the GIL).
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import NoReturn, TypeAlias

import msgspec
import orjson
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds import canonical
from ssb_rtc.feeds.message import (
    MESSAGE_MAX_UNITS,
    SEQUENCE_MAX,
    TYPE_MAX_UNITS,
    TYPE_MIN_UNITS,
    id_of_encoded,
    signed_bytes,
)
from ssb_rtc.feeds.refs import CANONICAL_BASE64, is_feed_id, public_key
from ssb_rtc.types import FeedId, Json, JsonObject, MsgId

RAW_MAX_BYTES = 65_536
"""Of one message on the wire. JSON.stringify never makes more than 3 x 8,192 bytes of a valid one."""

_INDENT = orjson.OPT_INDENT_2
_ORDERS = (
    ("previous", "sequence", "author", "timestamp", "hash", "content", "signature"),
    ("previous", "author", "sequence", "timestamp", "hash", "content", "signature"),
)
_SIGNATURE_SUFFIX = ".sig.ed25519"
_SIGNATURE_CHARACTERS = 88 + len(_SIGNATURE_SUFFIX)
# By the bytes of a signature: where the last character with unused bits stands, and what leaves them zero. Its 88
# characters hold up to 66 bytes, and ssb-validate passes all of them on to sodium-native, which ignores the last two.
_SPARE_BITS = {64: (85, "AQgw"), 65: (86, "AEIMQUYcgkosw048"), 66: (88, ".")}
_TAIL_BYTES = len(b',\n  "signature": ""\n}') + _SIGNATURE_CHARACTERS
_BOX = re.compile(CANONICAL_BASE64 + "\\.box[^\n\r\u2028\u2029]*\\Z")
_STRICT_BOX = re.compile(CANONICAL_BASE64 + r"\.box[0-9A-Za-z]*\Z")

Job: TypeAlias = tuple[bytes, bytes, bytes]
"""(public key, signature, signed bytes)"""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The newest message of a feed: what the next one is checked against."""

    id: MsgId
    sequence: int
    timestamp: float


class Checked(msgspec.Struct, frozen=True):
    """A valid message. `raw` is JSON.stringify(value): what is stored and sent.

    `timestamp` is the author's claim in milliseconds; 0.0 where it is no number, which ssb-validate takes from the
    second message on.
    """

    key: MsgId
    author: FeedId
    sequence: int
    previous: MsgId | None
    timestamp: float
    value: JsonObject
    raw: bytes

    @property
    def head(self) -> Head:
        """The feed's head once this message is appended."""
        return Head(self.key, self.sequence, self.timestamp)


class Pending(msgspec.Struct, frozen=True):
    """A message that is valid if its signature is: `job` is what `verify_jobs` takes."""

    checked: Checked
    job: Job


class Batch(msgspec.Struct, frozen=True):
    """What came of a batch: the messages up to the first bad one, the head after them, what was wrong with the bad."""

    accepted: list[Checked]
    head: Head | None
    error: MessageInvalid | None


def check(
    head: Head | None,
    value: Json,
    *,
    hmac_key: bytes | None = None,
    author: FeedId | None = None,
    strict: bool = False,
) -> Checked:
    """Checks one message against the head of its author's feed (None: no message yet), signature included.

    author: whose feed `head` belongs to; a message by another author is refused then. Without it the caller has to
    look up the head by `value["author"]`. strict: by the specification instead of ssb-validate.
    Raises MessageInvalid.
    """
    pending = prepare(head, value, hmac_key, author=author, strict=strict)
    if verify_jobs((pending.job,)) != -1:
        raise MessageInvalid("invalid signature")
    return pending.checked


def prepare(
    head: Head | None,
    value: Json,
    hmac_key: bytes | None = None,
    *,
    author: FeedId | None = None,
    strict: bool = False,
    raw: bytes = b"",
) -> Pending:
    """All of `check` but the signature. Raises MessageInvalid.

    raw: what `value` was parsed from, if anything. It is kept where it is JSON.stringify's text already: each text that
    orjson makes holds on to two pages of memory, and to get them costs more than to make and compare the text.
    """
    public, signature = _check_shape(value)
    if author is not None and value["author"] != author:
        raise MessageInvalid("a message by another author than the feed's")
    sequence, previous = _check_place(head, value)
    if strict:
        _check_strictly(value)
    plain = canonical.is_plain(value)
    if not plain:
        value = canonical.as_javascript(value)
    encoded = _encode(value, plain)
    compacted = _compact(value, plain)
    timestamp = value["timestamp"]
    checked = Checked(
        id_of_encoded(encoded),
        value["author"],
        sequence,
        previous,
        float(timestamp) if _is_number(timestamp) else 0.0,
        value,
        raw if raw == compacted else compacted,
    )
    return Pending(checked, (public, signature, _signed(encoded, hmac_key)))


def prepare_raw(
    head: Head | None,
    raw: bytes,
    hmac_key: bytes | None = None,
    *,
    author: FeedId | None = None,
    strict: bool = False,
) -> Pending:
    """`prepare` from the bytes of the wire, which is faster than `canonical.parse` first. Raises MessageInvalid."""
    value = canonical.parse(raw, strict=True) if strict else read(raw)
    return prepare(head, value, hmac_key, author=author, strict=strict, raw=raw)


def read(raw: bytes) -> Json:
    """The value of the bytes of the wire as `prepare` takes it: its numbers may not be JavaScript's yet.

    Raises MessageInvalid.
    """
    if len(raw) > RAW_MAX_BYTES:
        raise MessageInvalid(f"a message of {len(raw)} bytes on the wire, and {RAW_MAX_BYTES} is the most")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return canonical.parse(raw)


def verify_jobs(jobs: Iterable[Job]) -> int:
    """Checks signatures; gives the place of the first bad one, or -1. Callable from any thread."""
    for at, (public, signature, signed) in enumerate(jobs):
        try:
            crypto_sign_open(signature + signed, public)
        except BadSignatureError:
            return at
    return -1


def check_batch(
    head: Head | None,
    values: Sequence[Json | bytes],
    *,
    hmac_key: bytes | None = None,
    verify: Callable[[Sequence[Job]], int] = verify_jobs,
    author: FeedId | None = None,
) -> Batch:
    """Checks messages that follow each other in one feed; stops before the first bad one and never raises for it.

    values: parsed messages, or bytes of the wire. All must have one author: `author`, or else the first one's.
    verify: does the signatures, `verify_jobs` on two threads for one; must give the place of the first bad job or -1.
    """
    pending: list[Pending] = []
    error: MessageInvalid | None = None
    at = head
    for value in values:
        try:
            one = (prepare_raw if type(value) is bytes else prepare)(at, value, hmac_key, author=author)
        except MessageInvalid as caught:
            error = caught
            break
        author = one.checked.author
        at = one.checked.head
        pending.append(one)
    bad = verify([one.job for one in pending]) if pending else -1
    if bad >= 0:
        error = MessageInvalid("invalid signature")
        del pending[bad:]
    accepted = [one.checked for one in pending]
    return Batch(accepted, accepted[-1].head if accepted else head, error)


def is_signed_by_author(value: Json, hmac_key: bytes | None = None) -> bool:
    """Whether `value` is a well-formed message that its author signed, wherever it stands in the feed.

    For the proof of a fork: only a signed conflict proves one, an unsigned one may come from anybody.
    """
    try:
        job = _job(value, hmac_key)
    except MessageInvalid:
        return False
    return verify_jobs((job,)) == -1


def proves_fork(value: Json, other: Json, hmac_key: bytes | None = None) -> bool:
    """Whether one author signed both and they differ at one sequence: what only the author can have done.

    Two that differ in the spelling of the signature alone are no fork: anybody can make the second from the first.
    """
    try:
        jobs = (_job(value, hmac_key), _job(other, hmac_key))
    except MessageInvalid:
        return False
    if value["author"] != other["author"] or value["sequence"] != other["sequence"] or jobs[0][2] == jobs[1][2]:
        return False
    return verify_jobs(jobs) == -1


def is_canonically_signed(value: JsonObject) -> bool:
    """Whether the signature of a valid message is spelled with 64 bytes, as every author writes it."""
    return bool(value["signature"].endswith("==" + _SIGNATURE_SUFFIX))


def canonically_signed(value: JsonObject) -> JsonObject:
    """A valid message with its signature as its author surely wrote it.

    ssb-validate takes one or two bytes more and ignores them, so whoever passes a message on can give it another id.
    """
    text = b2a_base64(_signature(value["signature"]), newline=False).decode() + _SIGNATURE_SUFFIX
    return {**value, "signature": text}


def _job(value: Json, hmac_key: bytes | None) -> Job:
    public, signature = _check_shape(value)
    if not _is_sequence(value["sequence"]):
        raise MessageInvalid(f"sequence must be a whole number from 1 to {SEQUENCE_MAX}")
    return public, signature, _signed(_encode(value, canonical.is_plain(value)), hmac_key)


def _encode(value: Json, plain: bool) -> bytes:
    """The canonical encoding, its size checked."""
    try:
        encoded = orjson.dumps(value, option=_INDENT) if plain else canonical.encode(value)
    except orjson.JSONEncodeError:
        # The one thing left that orjson refuses: a lone surrogate.
        encoded = canonical.encode(value)
    if len(encoded) > MESSAGE_MAX_UNITS and canonical.utf16_length(encoded) > MESSAGE_MAX_UNITS:
        raise MessageInvalid(f"larger than {MESSAGE_MAX_UNITS} UTF-16 units")
    return encoded


def _compact(value: Json, plain: bool) -> bytes:
    try:
        return orjson.dumps(value) if plain else canonical.compact(value)
    except orjson.JSONEncodeError:
        return canonical.compact(value)


def _check_shape(value: Json) -> tuple[bytes, bytes]:
    """Checks what does not depend on the head; gives the public key and the signature."""
    if type(value) is not dict or tuple(value) not in _ORDERS:
        raise MessageInvalid("not an object with the keys of a message in their order")
    if value["hash"] != "sha256":
        raise MessageInvalid("hash must be sha256")
    content = value["content"]
    if type(content) is dict:
        kind = content.get("type")
        if type(kind) is not str or not TYPE_MIN_UNITS <= canonical.units(kind) <= TYPE_MAX_UNITS:
            raise MessageInvalid(f"content.type must be a text of {TYPE_MIN_UNITS} to {TYPE_MAX_UNITS} UTF-16 units")
    elif type(content) is not str or not _BOX.match(content):
        raise MessageInvalid("content must be an object with a type, or base64 that goes on with .box")
    return _public_key(value["author"]), _signature(value["signature"])


def _check_place(head: Head | None, value: JsonObject) -> tuple[int, MsgId | None]:
    """Checks sequence and previous against the head; gives both as the log has them."""
    sequence = value["sequence"]
    if not _is_sequence(sequence):
        raise MessageInvalid(f"sequence must be a whole number from 1 to {SEQUENCE_MAX}")
    if head is None:
        if value["previous"] is not None:
            raise MessageInvalid("the first message must have previous: null")
        if sequence != 1:
            raise MessageInvalid(f"the first message must have sequence 1, not {int(sequence)}")
        if not _is_number(value["timestamp"]):
            raise MessageInvalid("the first message must have a number for a timestamp")
        return 1, None
    expected = head.sequence + 1
    if sequence != expected:
        raise MessageInvalid(f"expected sequence {expected}, not {int(sequence)}")
    previous = value["previous"]
    while type(previous) is list and len(previous) == 1:
        # JavaScript's != makes a text of an array before it compares: ["%id"] equals "%id".
        previous = previous[0]
    if previous != head.id:
        raise MessageInvalid("previous is another message than the last one of this feed")
    return expected, head.id


def _check_strictly(value: JsonObject) -> None:
    """What spec.scuttlebutt.nz/feed/messages.html asks for and ssb-validate does not."""
    if type(value["previous"]) is list:
        raise MessageInvalid("strict: previous must be null or the id of a message")
    timestamp = value["timestamp"]
    if not _is_number(timestamp) or timestamp in (float("inf"), float("-inf")):
        raise MessageInvalid("strict: timestamp must be a finite number")
    if not is_canonically_signed(value):
        raise MessageInvalid("strict: a signature must have 64 bytes")
    content = value["content"]
    if type(content) is str and not _STRICT_BOX.match(content):
        raise MessageInvalid("strict: a private message must be base64 and end in .box and a version")


def _is_sequence(value: Json) -> bool:
    kind = type(value)
    return (kind is int or (kind is float and value.is_integer())) and 1 <= value <= SEQUENCE_MAX


def _is_number(value: Json) -> bool:
    kind = type(value)
    return kind is int or kind is float


@lru_cache(maxsize=4096)
def _public_key_of(author: str) -> bytes:
    if not is_feed_id(author) or not author.endswith(".ed25519"):
        _bad_author()
    return public_key(author)


def _public_key(author: Json) -> bytes:
    if type(author) is not str:
        _bad_author()
    return _public_key_of(author)


def _bad_author() -> NoReturn:
    raise MessageInvalid("author must be @<canonical base64>.ed25519")


def _signature(text: Json) -> bytes:
    """The 64 bytes that count of `<canonical base64 of 64 to 66 bytes>.sig.ed25519`."""
    if type(text) is str and len(text) == _SIGNATURE_CHARACTERS and text.endswith(_SIGNATURE_SUFFIX):
        try:
            signature = a2b_base64(text[:88], strict_mode=True)
        except ValueError:
            signature = b""
        spare = _SPARE_BITS.get(len(signature))
        if spare is not None and text[spare[0]] in spare[1]:
            return signature[:64]
    raise MessageInvalid("signature must be <canonical base64 of 64 bytes>.sig.ed25519")


def _signed(encoded: bytes, hmac_key: bytes | None) -> bytes:
    """What the signature covers, cut out of the canonical encoding: it is the last key, and of one length."""
    return signed_bytes(encoded[:-_TAIL_BYTES] + b"\n}", hmac_key)
