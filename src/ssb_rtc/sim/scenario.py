"""Scenarios: who takes part, what goes wrong, and which bounds hold, written down before a run (`scenarios.toml`)."""

from __future__ import annotations

import tomllib
from importlib import resources

import msgspec

from ssb_rtc.errors import ConfigFault
from ssb_rtc.manager.settings import Settings
from ssb_rtc.sim.faults import FAULTS
from ssb_rtc.sim.stories import STORIES


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: what it does not know, it refuses."""


class Bounds(_Table, frozen=True, kw_only=True):
    """What has to hold; 0 leaves something unchecked."""

    converged_s: float
    """After the healing everybody who can be reached holds everything within this time."""
    linked_s: float = 0.0
    """Whoever starts is linked within this time."""
    hub_requests_s: float = 0.0
    """What a hub carries a second, in its busiest ten seconds."""
    reconnects_pair_h: float = 0.0
    """How often two peers open a link to each other within an hour."""
    dials_pair_min: float = 0.0
    """How often one peer offers a connection to another one within a minute."""
    honest_link: bool = False
    """In the end each honest peer has a link to an honest one."""
    connected_mesh: bool = False
    """In the end the links make one mesh of all honest peers."""


class Scenario(_Table, frozen=True, kw_only=True):
    """One scenario."""

    what: str
    """What it is about, in a sentence."""
    peers: int
    hubs: int
    hubs_least: int = 1
    hubs_each: int = 2
    """The fewest and the most hubs that a peer is on at first."""
    follows: int = 0
    """How many others each peer follows, near it on a ring; 0 is everybody."""
    far: float = 0.0
    """Which share of these is far away instead."""
    messages: int = 20
    """How many a feed has at the start, at most."""
    rate_s: float = 500.0
    """How many messages a second the best link carries; the worst carries a tenth of that."""
    published_per_h: float = 12.0
    """How often each peer writes, until the convergence begins."""
    start_s: float = 30.0
    """Everybody starts within this time; 0 is all at once."""
    in_turn: bool = False
    """One after the other in it, at equal distances, rather than at random."""
    faults_s: float
    """How long the faults last."""
    healing_s: float = 60.0
    """How long it then takes until all is whole again."""
    faults: dict[str, float] = {}
    """What may go wrong and how strongly, from 0 to 1; see `faults.FAULTS`."""
    every_fault: bool = False
    """Otherwise each seed switches a random half of them off."""
    javascript: float = 0.0
    """Which share of the peers are as npm webrtc-swarm has them."""
    hostile: float = 0.0
    """Which share is hostile, beyond `peers`: 0.5 is as many again."""
    announcing: bool = True
    """Otherwise nobody says on a hub that it is there: friends, who know each other's inboxes, knock."""
    newcomers: int = 0
    """How many more start late, in the second half of the faults."""
    story: str = ""
    """A course of events of its own: see `stories.STORIES`."""
    actions_s: float = 0.0
    """How many actions a second from hubs each peer has the CPU for; the rest is dropped. 0 is any number."""
    settings: dict[str, float] = {}
    """Settings of the managers that are not the default."""
    bounds: Bounds

    def __post_init__(self) -> None:
        if self.peers < 2 or self.hubs < 1:
            raise ConfigFault("a scenario needs two peers and a hub at least")
        if self.story not in STORIES:
            raise ConfigFault(f"there is no story {self.story}; there are {', '.join(filter(None, STORIES))}")
        for name, strength in self.faults.items():
            if name not in FAULTS:
                raise ConfigFault(f"there is no fault {name}; there are {', '.join(FAULTS)}")
            if not 0 <= strength <= 1:
                raise ConfigFault(f"the fault {name} has the strength {strength}: it takes a number from 0 to 1")
        self.manager_settings()

    def manager_settings(self) -> Settings:
        """The settings that each manager gets."""
        known = Settings.__struct_fields__
        for name in self.settings:
            if name not in known:
                raise ConfigFault(f"the manager has no setting {name}")
        return msgspec.convert(self.settings, Settings, strict=False)


def parse(text: str) -> dict[str, Scenario]:
    """The scenarios of a TOML text, by name. Raises ConfigFault."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigFault(f"that is no TOML: {fault}") from fault
    return {name: _scenario(name, table) for name, table in tables.items()}


def _scenario(name: str, table: object) -> Scenario:
    try:
        return msgspec.convert(table, Scenario)
    except (msgspec.ValidationError, ConfigFault) as fault:
        raise ConfigFault(f"scenario {name}: {fault}") from fault


def scenarios() -> dict[str, Scenario]:
    """Those that come with the package."""
    return parse(resources.files("ssb_rtc.sim").joinpath("scenarios.toml").read_text(encoding="utf-8"))


def scenario(name: str) -> Scenario:
    """One of them. Raises ConfigFault where there is none of that name."""
    known = scenarios()
    if name not in known:
        raise ConfigFault(f"there is no scenario {name}; there are {', '.join(known)}")
    return known[name]
