"""The tables that route actions and answers, and determinism across processes."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.state import Route
from ssb_rtc.manager.step import SLICES, TIMERS
from ssb_rtc.manager.turn import announce_timer, attempt_timer, handover_timer, hub_timer, knock_timer
from tests.manager.names import AMY, ONE

ACTIONS: tuple[Any, ...] = get_args(a.Action)
EFFECTS: tuple[Any, ...] = get_args(e.Effect)

SEED_ACTIONS = {
    "REMOTE_PEER_DID_ANNOUNCE",
    "REMOTE_PEER_DID_DISCONNECT",
    "REMOTE_PEER_CONNECTION_SUCCEEDED",
    "REMOTE_PEER_CONNECTION_FAILED",
    "DISCONNECT_FROM_REMOTE_PEER",
    "HUB_ADDRESS_ADDED",
    "HUB_ADDRESS_REMOVED",
    "HUB_CONNECTION_SUCCEEDED",
    "HUB_CONNECTION_FAILED",
}
SEED_EFFECTS = {
    "SCHEDULE_PEERS_UPDATE_TICK",
    "SCHEDULE_ANNOUNCE_TO_HUB",
    "SCHEDULE_SAVE_HUBS",
    "SCHEDULE_CONNECT_TO_REMOTE_PEER",
    "SCHEDULE_BROADCAST_KNOWN_HUBS",
    "SCHEDULE_CONNECT_TO_HUB",
}


def tag(kind: Any) -> str:
    return str(kind.__struct_config__.tag)


def test_the_names_of_the_design_note_are_there() -> None:
    assert {tag(kind) for kind in ACTIONS} >= SEED_ACTIONS
    assert {tag(kind) for kind in EFFECTS} >= SEED_EFFECTS


@pytest.mark.parametrize("kind", [*ACTIONS, *EFFECTS], ids=tag)
def test_a_record_is_named_after_its_tag(kind: Any) -> None:
    assert tag(kind).replace("_", "").lower() == kind.__name__.lower()
    assert kind.__doc__


def test_every_action_has_its_slice() -> None:
    assert set(SLICES) == set(ACTIONS)


def test_every_timer_has_its_slice() -> None:
    keys = (hub_timer(ONE), announce_timer(ONE), knock_timer(ONE), attempt_timer(AMY), handover_timer(AMY))
    assert {key.partition(":")[0] for key in keys} | {"tick", "connect", "broadcast", "save"} == set(TIMERS)


def test_every_effect_has_a_reason_and_names_its_answers() -> None:
    assert set(e.ANSWERS) == set(EFFECTS)
    for effect, answers in e.ANSWERS.items():
        assert "reason" in effect.__struct_fields__
        text = inspect.getdoc(effect) or ""
        for answer in answers:
            assert tag(answer) in text, f"{tag(effect)} does not name {tag(answer)}"
        assert answers or "Answered by nothing" in text


def test_every_action_that_is_an_answer_says_so() -> None:
    for effect, answers in e.ANSWERS.items():
        for answer in answers:
            if answer not in (a.HubConnectionLost, a.RemotePeerLinkEnded, a.HubDidLimit):
                assert tag(effect) in (inspect.getdoc(answer) or ""), f"{tag(answer)} does not name {tag(effect)}"


def test_actions_and_effects_survive_json() -> None:
    action = a.RemotePeerConnectionSucceeded(AMY, 1, Route("hub", ONE), True, 3)
    assert action.kind == "REMOTE_PEER_CONNECTION_SUCCEEDED"
    assert msgspec.json.decode(msgspec.json.encode(action), type=a.Action) == action
    effect = e.ScheduleConnectToRemotePeer(AMY, Route("hub", ONE), 3, "why")
    assert effect.kind == "SCHEDULE_CONNECT_TO_REMOTE_PEER"
    assert msgspec.json.decode(msgspec.json.encode(effect), type=e.Effect) == effect


STORY = """
import hashlib
from ssb_rtc.manager import actions as a
from tests.manager.names import HUBS, PEERS
from tests.manager.story import Story
story = Story(hubs=HUBS.values())
told = []
for round in range(6):
    for peer in list(PEERS.values())[::-1]:
        for hub in HUBS.values():
            told += story.announce(peer, hub)
    for peer in story.state.trying:
        told += story.fail(peer)
    told += story.do(a.HubAddressRemoved(sorted(story.state.hubs)[0])) if round == 4 else ()
    told += story.do(a.NetworkDidReconnect())
    story.pass_time(40)
print(hashlib.sha256(repr(told).encode()).hexdigest(), len(told))
"""


def test_the_hash_seed_of_the_process_changes_nothing() -> None:
    root = Path(__file__).parents[2]
    outputs = set()
    for hash_seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
        run = subprocess.run(
            [sys.executable, "-c", STORY], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1
