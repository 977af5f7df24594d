"""The settings table: flags, environment and defaults say the same."""

from __future__ import annotations

import base64

import pytest

from ssb_rtc import config
from ssb_rtc.errors import ConfigFault


def test_table_and_record_agree() -> None:
    config.check_table()


def test_a_flag_beats_the_environment_beats_the_default() -> None:
    environment = {"SSB_RTC_HOPS": "1", "SSB_RTC_HUB": "https://a.example https://b.example"}
    loaded = config.load({"hops": "3"}, environment)
    assert loaded.hops == 3
    assert loaded.hub == ("https://a.example", "https://b.example")
    assert loaded.peers_max == 8


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hops", "many"),
        ("hops", "9"),
        ("net", "70000"),
        ("network_key", "AAAA"),
        ("network_key", "*"),
        ("relay_only", "2"),
        ("storage_max", "big"),
        ("storage_max", "-1M"),
        ("storage_max", "nan"),
        ("storage_max", "5P"),
        ("rtc_backend", "pion"),
    ],
)
def test_nonsense_is_refused_with_the_names_of_flag_and_variable(name: str, text: str) -> None:
    flag = "--" + name.replace("_", "-")
    with pytest.raises(ConfigFault, match=flag):
        config.load({name: text}, {})
    with pytest.raises(ConfigFault, match="SSB_RTC_" + name.upper()):
        config.load({}, {"SSB_RTC_" + name.upper(): text})


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("0", 0), ("1500", 1500), ("20k", 20_000), ("2.5M", 2_500_000), ("5G", 5 * 10**9)]
)
def test_sizes_take_a_unit(text: str, size_bytes: int) -> None:
    assert config.load({"storage_max": text}, {}).storage_max == size_bytes


def test_secrets_are_not_shown() -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    loaded = config.load({"turn": ["turn:user:hunter2@relay.example:3478"], "hmac_key": key}, {})
    assert "hunter2" not in repr(loaded)
    assert loaded.hmac_key == bytes(range(32))
    assert "hmac" not in repr(loaded)
