"""Ids as bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssb_rtc.errors import MisuseError
from ssb_rtc.feeds import bfe, refs

LEFT_OUT = {"bamboo", "box2-pobox-dh"}


def test_the_table_is_the_specification(vectors: Path) -> None:
    table = json.loads((vectors / "ssb-bfe-spec" / "bfe.json").read_text(encoding="utf-8"))
    wanted = {
        (row["type"], form["format"]): bytes([row["code"], form["code"]])
        for row in table
        for form in row["formats"]
        if row["type"] in {"feed", "message", "blob", "encryption-key", "identity"} and form["format"] not in LEFT_OUT
    }
    assert dict(bfe.TYPE_FORMATS) == wanted
    codes = {form["format"]: bytes([row["code"], form["code"]]) for row in table for form in row["formats"]}
    assert (codes["nil"], codes["box2-pobox-dh"]) == (bfe.NIL, bfe.PO_BOX_KEY)


def test_known_ids() -> None:
    data = bytes(range(32))
    assert bfe.encode(refs.feed_id(data)) == b"\x00\x00" + data
    assert bfe.encode(refs.msg_id(data)) == b"\x01\x00" + data
    assert bfe.encode(refs.blob_id(data)) == b"\x02\x00" + data
    assert bfe.encode(None) == b"\x06\x02"
    assert bfe.decode(b"\x06\x02") is None


@given(st.sampled_from(sorted(bfe.TYPE_FORMATS.values())), st.binary(min_size=32, max_size=32))
def test_there_and_back(code: bytes, data: bytes) -> None:
    identifier = bfe.decode(code + data)
    assert identifier is not None
    assert bfe.encode(identifier) == code + data


@given(st.text(max_size=80))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(MisuseError):
        bfe.encode(text)


@given(st.binary(max_size=40))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        bfe.decode(data)
    except MisuseError:
        return
    assert data == bfe.NIL or len(data) == 34
