"""The manager's settings: every number of its policy, with its default and where that comes from."""

from __future__ import annotations

import msgspec

from ssb_rtc.errors import ConfigFault

_ABOVE_ZERO = (
    "tick_s",
    "attempt_timeout_s",
    "peer_backoff_s",
    "hub_timeout_s",
    "routes_max",
    "lan_routes_max",
    "vouched_max",
    "hub_backoff_s",
    "hub_backoff_min_s",
    "announce_s",
    "announces_per_min",
    "knock_s",
    "introduce_s",
    "handover_s",
    "stall_s",
    "save_retry_s",
)


class Settings(msgspec.Struct, frozen=True):
    """Policy numbers. Raises ConfigFault where one has no meaning."""

    peers_max: int = 8
    """Links at a time, attempts included. A few are enough for gossip to spread; each costs memory and NAT state."""
    inbound_reserved: int = 2
    """Of these, kept free of our own dialling, so that a newcomer finds somebody who takes it."""
    strangers_max: int = 3
    """Links and attempts with peers whose feeds we don't replicate, once there are any whose feeds we do."""
    attempts_max: int = 3
    """Own attempts at a time."""
    inbound_attempts_max: int = 3
    """Offers being answered at a time, so that offers that lead nowhere can't use up our own attempts."""
    handovers_max: int = 2
    """Attempts beyond `peers_max` to peers that are connected already, and second links while one replaces the other;
    as many attempts to friends who displace strangers.
    """
    handover_s: float = 10.0
    """How long a second link to a peer may stay beside the first: a ping of 5 s for each, and a little time."""
    random_picks: int = 2
    """Links of our own dialling to peers picked at random, against clusters in which everybody knows the same few."""
    lifetime_s: float = 1_800.0
    """How old a link grows, +-`jitter`, before a full house may end it for somebody who waits."""
    explore_s: float = 300.0
    """A full house where a friend waits changes one link, picked at random, after so long without any change; sooner
    while the house is young, after half the time that it has stood. Else groups of friends who fill each other's slots
    stay apart. 0 switches it off.
    """
    lifetime_min_s: float = 300.0
    """Where several friends wait, a link's time is divided by the root of their number, yet it lasts so long."""
    rotate_s: float = 60.0
    """A full house ends at most one link in this time, so that it never loses its neighbours at once."""
    rotation_hold_s: float = 600.0
    """How long a peer whose time was over stays away, so that others get their turn: at most as long as it was here."""
    displace_s: float = 60.0
    """A peer that has no link at all may take the place of a stranger at most so often."""
    stall_s: float = 30.0
    """A download that brings fewer than `download_floor` messages in this time is stuck. Replication itself asks
    elsewhere after 10 s; a link is given up later than a feed is moved.
    """
    download_floor: int = 10
    download_max_s: float = 1_800.0
    """How long downloading protects a link while others wait."""
    stuck_hold_s: float = 300.0
    """How long a peer that was stuck is not dialled."""
    initial_sync_patience_s: float = 60.0
    """In the initial sync another peer is dialled after so long without progress."""
    initial_sync_max_s: float = 600.0
    """The same, whatever progress there is: who trickles must not keep all others out."""
    attempt_timeout_s: float = 30.0
    """ICE needs up to 15 s on slow ways, signalling and the handshake come on top."""
    peer_backoff_s: float = 5.0
    """The pause after a first failure; it doubles with each one, +-`jitter`."""
    peer_backoff_max_s: float = 3600.0
    dials_in_vain: int = 8
    """Dials in a row that may come to nothing before we slow down: where everybody is full, asking helps nobody."""
    dial_pause_s: float = 1.0
    """The pause after one more such dial; it doubles with each, up to `dial_pause_max_s`, +-`jitter`."""
    dial_pause_max_s: float = 300.0
    dial_pause_friends_max_s: float = 30.0
    """The same for friends: their names can be announced by anybody, and the real one must not wait for long."""
    peer_failures_max: int = 10
    """Failures in a row after which a peer is forgotten until it announces itself again."""
    healthy_s: float = 60.0
    """A link or a hub that lasted so long has made up for earlier failures."""
    clean_close_hold_s: float = 30.0
    """The pause after a remote closed in good order and named no time."""
    duplicate_hold_s: float = 5.0
    """The pause after a link closed as a duplicate: the other one is about to show."""
    disconnect_hold_s: float = 600.0
    """How long a peer that somebody here disconnected from is held off."""
    hold_max_s: float = 3600.0
    """The most that a remote's not-before, or a hub's Retry-After, is believed."""
    busy_s: float = 60.0
    """When a peer that found us full is told to try again, +-`jitter`."""
    busy_friend_max_s: float = 300.0
    """Who is busy again and again is asked ever more rarely, up to `hold_max_s`; a friend not more rarely than this."""
    busy_answering_s: float = 5.0
    """The same where only too many offers came at once."""
    check_link_s: float = 6.0
    """A link is pinged at most so often because somebody claims to be its other end; a ping itself takes up to 5 s."""
    known_peers_max: int = 1_000
    routes_max: int = 8
    blocked_max: int = 100_000
    friends_known_max: int = 100_000
    pinned_max: int = 64
    lan_ttl_s: float = 150.0
    """Silence on the local network after which an address that was heard there is forgotten."""
    lan_routes_max: int = 2
    """Of the ways to one peer, so many were heard on the local network: who makes up more crowds out no other way."""
    turns_s: float = 2.0
    """Those who dial a stranger that has announced itself to a crowd spread over this time."""
    announcement_ttl_s: float = 1_800.0
    """Silence after which a peer is forgotten: three announcements of a quiet one."""
    hubs_max: int = 32
    hub_timeout_s: float = 30.0
    hub_backoff_s: float = 30.0
    """A hub is tried again after a random time up to this; the span doubles with each failure."""
    hub_backoff_max_s: float = 600.0
    hub_backoff_offline_max_s: float = 120.0
    """The same while we are on no hub at all, and nobody can find us."""
    hub_backoff_min_s: float = 0.5
    announce_s: float = 30.0
    """The pause between announcements while we have no link; it doubles while we have some, +-`jitter`."""
    announce_max_s: float = 600.0
    """The longest pause between announcements, when all slots are taken or the hub is crowded."""
    announces_per_min: float = 20.0
    """Announcements that a hub should carry for all its peers together: the more peers we hear, the rarer ours are."""
    announce_reconnect_s: float = 300.0
    """After a reconnect, a hub gets an extra announcement at most so often."""
    knocks_max: int = 60
    """Friends that are knocked at on a hub in one go: a hub bears one knock a second, and twenty at once."""
    knock_s: float = 900.0
    """The pause between knocks at friends who are not linked; it doubles with each round, +-`jitter`."""
    knock_max_s: float = 21_600.0
    inboxes_max: int = 10_000
    introducers_max: int = 2
    """Linked peers that are asked at a time to pass on knocks. 0 switches that off."""
    introductions_max: int = 8
    """Friends who are not linked that they are asked for in one round; the next round asks for others."""
    introduce_delay_s: float = 5.0
    """After a link has opened or ended: what a hub brings comes first."""
    introduce_s: float = 60.0
    """The shortest pause between rounds; it doubles with each while our links stay the same, +-`jitter`."""
    introduce_max_s: float = 3_600.0
    hub_failures_max: int = 10
    """Failures in a row after which a hub that only others told us of is forgotten."""
    hub_witnesses: int = 2
    """How many within our hops have to vouch for a hub before it is probed, through as many direct follows."""
    vouched_max: int = 256
    """Hubs for which others vouch."""
    gossiped_hubs_max: int = 4
    """Of the hubs that others told us of, so many are connected at most, and no more than there are others."""
    hub_probe_spread_s: float = 3_600.0
    """A hub that others told us of is asked within this time, so that not all who heard of it come at once."""
    hub_probe_urgent_s: float = 30.0
    """The same while we are on no hub at all."""
    hub_probe_pause_s: float = 86_400.0
    """A host is asked at most so often whether a hub is there."""
    hub_probes_max: int = 32
    """Hosts that are asked in that time, whatever others name; twice as many on a day on which we were on no hub."""
    broadcast_delay_s: float = 5.0
    """Changes of the hub table within this time go out as one broadcast."""
    pass_on_delay_s: float = 120.0
    """The same for what others say of hubs: 30 lists an hour, which is what a peer takes."""
    save_retry_s: float = 60.0
    tick_s: float = 10.0
    """How often links are looked at: which have had their time, which are stuck, which are healthy."""
    sweep_s: float = 60.0
    """How often the whole table of peers is gone through for what has gone stale."""
    jitter: float = 0.3

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ConfigFault(f"{name} is {value}: it takes a number from 0 up")
        if self.jitter >= 1:
            raise ConfigFault(f"jitter is {self.jitter}: it takes a number from 0 up to, not including, 1")
        for name in _ABOVE_ZERO:
            if getattr(self, name) == 0:
                raise ConfigFault(f"{name} is 0: it takes more than 0")

    @property
    def outbound_max(self) -> int:
        """Links and attempts of our own dialling: all but the reserved ones, yet one at least where any is allowed."""
        return max(self.peers_max - self.inbound_reserved, min(self.peers_max, 1))
