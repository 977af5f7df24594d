"""What a `create` of codes takes."""

from __future__ import annotations

from typing import Any

import pytest

from ssb_rtc.errors import MisuseError
from ssb_rtc.plugins.given_codes import options_of

KINDS = {"uses": int, "note": str, "modern": bool}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (None, {}),
        ({}, {}),
        ({"uses": 2, "note": None, "elsewhere": None}, {"uses": 2}),
        ({"modern": True, "note": "x"}, {"modern": True, "note": "x"}),
    ],
)
def test_options(given: Any, taken: dict[str, Any]) -> None:
    assert options_of(given, KINDS, "invite.create") == taken


@pytest.mark.parametrize("given", [[], "x", 1, False, {"uses": True}, {"uses": 1.0}, {"modern": 1}, {"other": "x"}])
def test_what_are_none(given: Any) -> None:
    with pytest.raises(MisuseError, match=r"^invite.create takes \{uses, note, modern\}$"):
        options_of(given, KINDS, "invite.create")
