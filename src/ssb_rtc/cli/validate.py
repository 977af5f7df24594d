"""`ssb-rtc validate FILE`: does each line hold a valid message? Needs no identity and no database."""

from __future__ import annotations

import argparse
import base64
import binascii
from typing import Any

from ssb_rtc.cli import flags, output
from ssb_rtc.errors import MessageInvalid
from ssb_rtc.feeds import canonical, refs
from ssb_rtc.feeds.validate import Head, check
from ssb_rtc.types import FeedId, JsonObject, MsgId


def validate(arguments: argparse.Namespace) -> int:
    """One JSON line out per line in: {"line", "valid", "id" or "error"}. Returns 1 if any is invalid."""
    checker = Checker(flags.settings_of(arguments).hmac_key, strict=arguments.strict)
    all_valid = True
    with output.open_input(arguments.file) as source:
        for number, line in output.lines_of(source):
            try:
                result: dict[str, Any] = {"line": number, "valid": True, "id": checker.check_line(line)}
            except MessageInvalid as fault:
                result = {"line": number, "valid": False, "error": fault.reason}
                all_valid = False
            output.print_json(result)
    return 0 if all_valid else 1


class Checker:
    """Checks lines in order. Plain lines carry the state of their author on; cases bring their own."""

    def __init__(self, hmac_key: bytes | None, *, strict: bool) -> None:
        self._hmac_key = hmac_key
        self._strict = strict
        self._heads: dict[FeedId, Head] = {}

    def check_line(self, line: bytes | None) -> MsgId:
        """The id of the message in this line; raises MessageInvalid."""
        if line is None:
            raise MessageInvalid(f"the line is longer than {output.LINE_BYTES_MAX} bytes")
        parsed = canonical.parse(line.strip(), strict=self._strict)
        if not isinstance(parsed, dict):
            raise MessageInvalid("the line does not hold a JSON object")
        if "message" in parsed and "author" not in parsed:
            return self._check_case(parsed)
        if "value" in parsed and "author" not in parsed:
            return self._check_plain(parsed["value"], parsed.get("key"))
        return self._check_plain(parsed, None)

    def _check_plain(self, value: Any, key: object) -> MsgId:
        author = value.get("author") if isinstance(value, dict) else None
        known = self._heads.get(FeedId(author)) if isinstance(author, str) else None
        if known is None and isinstance(value, dict):
            known = _state_before(value)
        checked = check(known, value, hmac_key=self._hmac_key, strict=self._strict)
        if key is not None and key != checked.key:
            raise MessageInvalid(f"the key is not the message's id, which is {checked.key}")
        self._heads[checked.author] = Head(checked.key, checked.sequence, checked.timestamp)
        return checked.key

    def _check_case(self, case: JsonObject) -> MsgId:
        key = case.get("hmacKey")
        hmac_key = self._hmac_key if key is None else _hmac_key(key)
        checked = check(_state(case.get("state")), case["message"], hmac_key=hmac_key, strict=self._strict)
        return checked.key


def _state_before(value: JsonObject) -> Head | None:
    """The first message of an author sets the state: one from the middle of a feed follows its `previous`."""
    sequence, previous = value.get("sequence"), value.get("previous")
    if isinstance(sequence, int | float) and sequence > 1 and sequence == int(sequence) and refs.is_msg_id(previous):
        return Head(MsgId(str(previous)), int(sequence) - 1, 0)
    return None


def _state(state: object) -> Head | None:
    match state:
        case None:
            return None
        case {"id": str(key), "sequence": int(sequence)}:
            return Head(MsgId(key), sequence, 0)
        case _:
            raise MessageInvalid('the state must be null or {"id", "sequence"}')


def _hmac_key(text: object) -> bytes:
    try:
        key = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise MessageInvalid("the hmacKey must be 32 bytes in base64")
    return key
