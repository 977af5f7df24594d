"""Runs a golden script: actions that a person wrote, and below each the effects that the manager answered with.

    # a comment
    set peers_max=2                     settings, before anything else
    > HUB_ADDRESS_ADDED hub=one         an action; the lines under it are its effects
      SCHEDULE_CONNECT_TO_HUB hub=one connection=1 | the hub was added to the table
    > wait 30                           time passes, and timers expire on the way
    > peers                             the read side's view
    > hubs
    > why amy                           why a peer, or a hub, is connected or not

Peers and hubs are named as in tests/manager/names.py; `attempt=now` and `connection=now` are the numbers under way. A
tick is left out where it does nothing but arm the next one. Run with UPDATE_TRACES=1 to write the answers anew, then
read the difference.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import msgspec

from ssb_rtc.manager import actions as a
from ssb_rtc.manager import effects as e
from ssb_rtc.manager.explain import explain_hub, explain_peer
from ssb_rtc.manager.settings import Settings
from ssb_rtc.manager.state import Now, Route, State, initial
from ssb_rtc.manager.step import step
from ssb_rtc.manager.view import hubs_view, peers_view
from tests.manager.names import HUBS, ME, PEERS, START

ACTIONS = {kind.__struct_config__.tag: kind for kind in get_args(a.Action)}
NAMES: dict[str, str] = {value: name for table in (PEERS, HUBS) for name, value in table.items()}
_TERSE = re.compile("|".join(re.escape(value) for value in NAMES))


class Script:
    """A state, a clock, and the words for both."""

    def __init__(self, settings: Settings) -> None:
        self.state: State = initial(ME, seed=1, settings=settings, now=START)
        self.elapsed_s = 0.0

    def run(self, command: str) -> list[str]:
        """The lines that answer a command."""
        words = command.split()
        match words[0]:
            case "wait":
                return self._wait(float(words[1]))
            case "peers":
                return [_view_line(view.id, view, ("reason", "last_error")) for view in peers_view(self.state)]
            case "why":
                return self._why(words[1])
            case "hubs":
                return [_view_line(view.url, view, ("last_error",)) for view in hubs_view(self.state)]
            case kind:
                return self._step(self._action(kind, words[1:]))

    def _why(self, name: str) -> list[str]:
        told = explain_peer(self.state, PEERS[name]) if name in PEERS else explain_hub(self.state, HUBS[name])
        terms = ", ".join(f"{term.name} {term.value:+.1f}" for term in told.terms)
        lines = [f"because {line}" for line in told.because]
        lines += [f"score: {terms}", *(f"next: {line}" for line in told.next)]
        return [told.state, *map(_terse, lines)]

    def _action(self, kind: str, words: list[str]) -> a.Action:
        fields: dict[str, Any] = {"kind": kind}
        for word in words:
            name, _, text = word.partition("=")
            match name, text:
                case "route", _:
                    via, _, where = text.partition("/")
                    fields[name] = {"via": via, "where": HUBS.get(where, where)}
                case "hops", _:
                    pairs = [pair.split(":") for pair in text.split(",")]
                    fields[name] = [(PEERS[peer], None if hops == "none" else int(hops)) for peer, hops in pairs]
                case "hubs", _:
                    fields[name] = [_vouched(words) for words in text.split(",")]
                case "attempt", "now":
                    attempt = self.state.peers[fields["peer"]].attempt
                    assert attempt is not None, f"there is no attempt now: {words}"
                    fields[name] = attempt.id
                case (("connection" | "probe"), "now"):
                    fields[name] = getattr(self.state.hubs[fields["hub"]], name)
                case _, "true" | "false":
                    fields[name] = text == "true"
                case _:
                    fields[name] = PEERS.get(text) or HUBS.get(text) or text.replace("_", " ")
        action: a.Action = msgspec.convert(fields, ACTIONS[kind], strict=False)
        return action

    def _step(self, action: a.Action) -> list[str]:
        now = Now(START.mono_s + self.elapsed_s, START.wall_s + self.elapsed_s)
        self.state, effects = step(self.state, action, now)
        return [self._line(effect) for effect in effects]

    def _wait(self, duration_s: float) -> list[str]:
        until_s = self.elapsed_s + duration_s
        lines = []
        while self.state.timers:
            due_s, key = min((due_s, key) for key, due_s in self.state.timers.items())
            if due_s - START.mono_s > until_s:
                break
            self.elapsed_s = max(self.elapsed_s, due_s - START.mono_s)
            answers = self._step(a.TimerExpired(key, due_s))
            if key != "tick" or len(answers) > 1:
                lines += [f"{self.elapsed_s:.1f} s: {_terse(key)}", *(f"  {line}" for line in answers)]
        self.elapsed_s = until_s
        return lines

    def _line(self, effect: e.Effect) -> str:
        words = [effect.kind]
        for name in effect.__struct_fields__:
            value = getattr(effect, name)
            if name == "due_mono_s":
                words.append(f"in {value - START.mono_s - self.elapsed_s:.1f} s")
            elif name == "key":
                words.append(_terse(value))
            elif name == "terms":
                continue  # the reason tells them
            elif name != "reason" and value is not None:
                words.append(f"{name}={_word(value)}")
        return f"{' '.join(words)} | {_terse(effect.reason)}"


def _vouched(text: str) -> tuple[str, list[tuple[str, str]]]:
    """`two:amy+carol/bob`: Amy vouches for hub two, and so does Carol, whom Bob follows."""
    hub, _, names = text.partition(":")
    pairs = [name.partition("/") for name in names.split("+") if name]
    return HUBS[hub], [(PEERS[signer], PEERS[through or signer]) for signer, _, through in pairs]


def _word(value: object) -> str:
    match value:
        case Route(via=via, where=where):
            return f"{via}/{_terse(where)}"
        case msgspec.Struct():
            return "/".join(_word(getattr(value, name)) for name in value.__struct_fields__)
        case tuple():
            return ",".join(_word(item) for item in value)
        case float():
            return f"{value:.1f}"
        case _:
            return _terse(str(value))


def _view_line(name: str, view: msgspec.Struct, texts: tuple[str, ...]) -> str:
    words = [NAMES[name]]
    for field in view.__struct_fields__[1:]:
        value = getattr(view, field)
        if field in texts or value is None or value in ((), "", 0) or field.endswith("wall_s"):
            continue
        words.append(str(value) if field == "state" else f"{field}={_word(value)}")
    tail = "; ".join(_terse(text) for text in (getattr(view, field) for field in texts) if text)
    return f"{' '.join(words)} | {tail}"


def _terse(text: str) -> str:
    return _TERSE.sub(lambda found: NAMES[found.group()], text)


def answered(path: Path) -> tuple[str, str]:
    """A script's text as it is, and as it should be."""
    text = path.read_text()
    settings: dict[str, float] = {}
    script: Script | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("set "):
            settings |= {name: float(value) for name, _, value in (word.partition("=") for word in line.split()[1:])}
        if line.startswith("> "):
            script = script or Script(msgspec.convert(settings, Settings, strict=False))
            lines += [line, *(f"  {answer}".rstrip() for answer in script.run(line[2:]))]
        elif not line.startswith("  "):
            lines.append(line)
    return text, "\n".join(lines) + "\n"
