"""The table of times in docs/signalling.md has the numbers of the code."""

from __future__ import annotations

import re
from pathlib import Path

from ssb_rtc.manager.settings import Settings
from ssb_rtc.signalhub import crowd, sessions
from ssb_rtc.signalhub.carriers import SealedLimits
from ssb_rtc.signalhub.client import ClientLimits
from ssb_rtc.transport import rtc

PAGE = Path(__file__).resolve().parents[2] / "docs" / "signalling.md"
OWNERS = {
    "sessions": sessions,
    "rtc": rtc,
    "crowd": crowd,
    "SealedLimits": SealedLimits(),
    "Settings": Settings(),
    "ClientLimits": ClientLimits(),
}


def test_each_number_is_that_of_the_code() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n### Times\n")[2].partition("\nNothing hangs on")[0]
    rows = re.findall(r"^\| (?!what)(.+) \| (.+) \| (`.+`) \|$", section, flags=re.MULTILINE)
    assert len(rows) == 18
    for what, told, names in rows:
        numbers = [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*", told)]
        owned = [name.split(".") for name in re.findall(r"`(.+?)`", names)]
        assert numbers == [getattr(OWNERS[owner], name) for owner, name in owned], what
