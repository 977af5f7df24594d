"""Why a peer or a hub is connected or not, in plain words, and what happens next."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ssb_rtc.manager import vouching
from ssb_rtc.manager.activity import activity, protected
from ssb_rtc.manager.downloads import syncing_until_s
from ssb_rtc.manager.hubs import gossiped_max, is_spare
from ssb_rtc.manager.identity import public_key
from ssb_rtc.manager.rotation import ends_s, who_waits
from ssb_rtc.manager.score import hub_terms, hubs_in_use, link_terms, peer_terms
from ssb_rtc.manager.shares import crowded_hubs, only_over
from ssb_rtc.manager.slots import Slots, count, is_near
from ssb_rtc.manager.state import ConnectionState, Hub, Link, Peer, Route, State, Term
from ssb_rtc.manager.turn import announce_timer, attempt_timer, hub_timer
from ssb_rtc.types import HubUrl, PeerId, behind

_WAYS = {
    "hub": "the hub ",
    "address": "the address ",
    "inbound": "our listener, from ",
    "lan": "the local network, at ",
}


class Explanation(msgspec.Struct, frozen=True):
    """What there is to say about one peer or hub. Sentences begin in lower case and have no full stop."""

    subject: str
    state: ConnectionState
    because: tuple[str, ...]
    """Why it is so."""
    terms: tuple[Term, ...]
    """What its score is made of: for the choice whom to dial, or whose link to keep; of a hub, which one to use."""
    next: tuple[str, ...]
    """What happens next, or what it waits for."""


def explain_peer(state: State, peer: PeerId) -> Explanation:
    """About a peer, known or not."""
    row = state.peers.get(peer)
    if row is None:
        return Explanation(peer, "DISCONNECTED", (_why_unknown(state, peer),), (), (_next_of_unknown(state, peer),))
    now_s = state.now.mono_s
    if row.link is not None:
        terms = link_terms(state, row, row.link, now_s)
        because = tuple(_about_link(state, row, row.link))
        return Explanation(peer, "CONNECTED", because, terms, (_next_of_link(state, row, row.link),))
    because = (why_not_connected(state, row, count(state)), *_about_peer(state, row))
    following = (_next_of_peer(state, row),)
    return Explanation(
        peer, row.connection_state, because, peer_terms(state, row, now_s, hubs_in_use(state)), following
    )


def explain_hub(state: State, hub: HubUrl) -> Explanation:
    """About a hub, in the table or not."""
    row = state.hubs.get(hub)
    if row is None:
        return _about_unknown_hub(state, hub)
    terms = hub_terms(state, row, state.now.wall_s)
    return Explanation(hub, row.connection_state, tuple(_about_hub(state, row)), terms, (_next_of_hub(state, row),))


def _about_unknown_hub(state: State, hub: HubUrl) -> Explanation:
    if hub not in state.vouched:
        return Explanation(hub, "DISCONNECTED", ("nobody near us vouches for it",), (), ("add it to use it",))
    found, needed = vouching.count(state, hub), state.settings.hub_witnesses
    through = "one of those whom we follow" if found == 1 else f"{found} different ones whom we follow"
    because = [f"{found} within our hops vouch for it, through {through}; it is asked when {needed} do"]
    following = "it waits for another one who vouches for it"
    ago_s = vouching.asked_s_ago(state, hub)
    if ago_s is not None:
        because.append(f"its host was asked {ago_s / 3600:.1f} h ago whether a hub is there")
        left_h = (state.settings.hub_probe_pause_s - ago_s) / 3600
        following = f"its host may be asked again in {left_h:.1f} h"
    elif found >= needed:
        following = "it enters the table within a minute, if that has room"
        if vouching.questions_left(state) <= 0:
            following = "it waits: as many hosts were asked within a day as may be asked whether a hub is there"
    return Explanation(hub, "DISCONNECTED", tuple(because), (), (following,))


def why_not_connected(state: State, row: Peer, slots: Slots) -> str:
    """The stated reason of a peer that isn't connected; empty where it is."""
    if row.link is not None:
        return ""
    if row.attempt is not None:
        return "we are dialling it" if row.attempt.dialled else "we are answering its offer"
    if state.closing:
        return "this peer is shutting down"
    if not row.routes:
        return f"no way to it is known: it waits until the peer announces itself{_who_does_not(state)}"
    if row.parked:
        return "none of its hubs is connected"
    full = slots.refuses_dial(state.settings, near=is_near(state, row), asked=row.asked)
    if full:
        return full
    if not row.asked and only_over(row, crowded_hubs(state)):
        return "enough peers of its hub are being dialled"
    return _when_dialled(state, row)


def _when_dialled(state: State, row: Peer) -> str:
    """Why not yet, and when, of a peer for whom there is a slot."""
    now_s = state.now.mono_s
    wait_s = row.ready_s - now_s
    if not row.asked and syncing_until_s(state) is not None:
        return "the first sync is under way with another peer"
    if row.refused_until_s > now_s:
        return f"somebody here disconnected from it: it is dialled in {wait_s:.0f} s"
    if row.not_before_s > now_s:
        return f"it is left alone, as one side asked for: it is dialled in {wait_s:.0f} s"
    friend = is_near(state, row)
    slow_s = state.friends_after_s if friend else state.dial_after_s
    if not row.asked and slow_s > max(now_s, row.ready_s):
        vain = state.friends_in_vain if friend else state.dials_in_vain
        return f"{vain} dials in a row came to nothing: the next is in {slow_s - now_s:.0f} s"
    return f"it is dialled in {wait_s:.0f} s" if wait_s > 0 else "it is dialled next"


def why_hub_waits(state: State, hub: Hub) -> str:
    """The stated reason of a hub that isn't connected; empty where it is."""
    if hub.connected_s is not None:
        return ""
    if hub.connection is not None:
        return "it is being connected to"
    if state.closing:
        return "this peer is shutting down"
    if is_spare(state, hub):
        return f"{gossiped_max(state)} of the hubs that others told us of are in use already"
    if hub.probe is not None:
        return "it is being asked whether it is a hub"
    wait_s = state.timers[hub_timer(hub.url)] - state.now.mono_s
    what = ("tried" if hub.is_proven else "asked") + (" again" if hub.connection_attempts else "")
    return f"it is {what} in {max(0.0, wait_s):.0f} s"


def _who_does_not(state: State) -> str:
    """What to add where it is said that a peer may announce itself: on our hubs, those of our kind may not."""
    if not state.hubs or any(hub.announces for hub in state.hubs.values()):
        return ""
    return ", as webrtc-swarm's do on our hubs, but peers like ours don't"


def _why_unknown(state: State, peer: PeerId) -> str:
    if peer in state.blocked:
        return "the peer is blocked"
    if public_key(peer) is None:
        return "that is no peer id"
    if peer == state.own:
        return "that is ourselves"
    if peer in state.inboxes and not _who_does_not(state):
        return "nothing came of our knocks: it is on none of our hubs, or has no room, or they don't carry our signals"
    if state.settings.strangers_max == 0 and peer in state.hops:
        return (
            "its inbox is not known here, as who follows us back tells it over a first link; "
            "and as no strangers are wanted, announcements on sealed hubs are not heard"
        )
    return "it has not announced itself on any of our hubs or in our local network, or was forgotten since"


def _next_of_unknown(state: State, peer: PeerId) -> str:
    if peer in state.blocked:
        return "nothing, until it is unblocked"
    if peer == state.own or public_key(peer) is None:
        return "nothing"
    knocks = [due_s for key, due_s in state.timers.items() if key.startswith("knock:")]
    if peer in state.inboxes and knocks and not _who_does_not(state):
        return f"it is knocked at in {max(0.0, min(knocks) - state.now.mono_s):.0f} s, or knocks at ours when it comes"
    if state.settings.strangers_max == 0 and peer in state.hops:
        return "somebody who is linked with both introduces us, or both welcome strangers until the first link"
    itself = "announces itself" + _who_does_not(state)
    return f"it is dialled when it {itself}, or when somebody here names an address of it"


def _about_peer(state: State, row: Peer) -> Iterator[str]:
    now_s = state.now.mono_s
    hops = state.hops.get(row.id)
    if row.id in state.pinned:
        yield "it is pinned: a link with it is wanted for good"
    yield "a stranger: we don't fetch its feed" if hops is None else f"a friend at distance {hops}"
    if row.failures:
        times = "once" if row.failures == 1 else f"{row.failures} times in a row"
        yield f"it failed {times}, the last time: {row.last_error or 'no reason was given'}"
    elif row.last_error:
        yield f"the last time: {row.last_error}"
    if row.refused_until_s > now_s:
        yield f"its own offers are refused for another {row.refused_until_s - now_s:.0f} s"
    yield from _about_routes(row, now_s)


def _about_routes(row: Peer, now_s: float) -> Iterator[str]:
    for known in row.routes:
        yield f"known over {_told(known.route)}, heard {now_s - known.heard_s:.0f} s ago"


def _next_of_peer(state: State, row: Peer) -> str:
    if row.attempt is not None:
        left_s = state.timers[attempt_timer(row.id)] - state.now.mono_s
        return f"it is linked, or the attempt is given up in {max(0.0, left_s):.0f} s"
    if not row.routes or row.parked:
        return "it is dialled when it is heard of on a connected hub"
    wait_s = row.ready_s - state.now.mono_s
    full = count(state).refuses_dial(state.settings, near=is_near(state, row), asked=row.asked)
    when = "when a slot is free" if full else "when its turn comes"
    soonest = f", in {wait_s:.0f} s at the earliest" if wait_s > 0 else ""
    return f"it is dialled {when}{soonest}, by its score among those who are due"


def _about_link(state: State, row: Peer, link: Link) -> Iterator[str]:
    now_s = state.now.mono_s
    who = "we dialled it" if link.dialled else "it dialled us"
    yield f"linked for {now_s - link.since_s:.0f} s over {_told(link.route)}; {who}"
    hops = state.hops.get(row.id)
    yield "a stranger: we don't fetch its feed" if hops is None else f"a friend at distance {hops}"
    if row.id in state.pinned:
        yield "it is pinned: a link with it is wanted for good"
    if link.picked_randomly:
        yield "it was picked at random, against clusters"
    doing = activity(link, state.settings, now_s)
    if link.download is not None:
        yield f"{doing}: {link.download.missing} messages are missing"
    else:
        yield "busy: the peer fetches from us" if doing == "busy" else f"idle for {now_s - link.active_s:.0f} s"
    if row.rival is not None:
        yield "a second link to it is open, until it is known which one works"
    yield from _about_routes(row, now_s)


def _next_of_link(state: State, row: Peer, link: Link) -> str:
    why = protected(state, row, link)
    if activity(link, state.settings, state.now.mono_s) == "stuck":
        return "it ends as soon as there is another link"
    if why:
        return f"it stays: {why}"
    rank, waiting = who_waits(state)
    left_s = ends_s(state, link, waiting) - state.now.mono_s
    if left_s > 0:
        return f"in {left_s:.0f} s it may end, if others wait for the slot"
    return "it stays: nobody waits for the slot" if rank is None else "it may end for somebody who waits"


def _about_hub(state: State, hub: Hub) -> Iterator[str]:
    now_s = state.now.mono_s
    if hub.connected_s is not None:
        yield f"connected for {now_s - hub.connected_s:.0f} s"
    else:
        yield why_hub_waits(state, hub)
    yield "others vouch for it" if hub.source == "gossip" else f"it came from: {hub.source}"
    if hub.private:
        yield "private: it is not told to other peers"
    heard = state.heard.get(hub.url, 0)
    yield "1 peer is heard there" if heard == 1 else f"{heard} peers are heard there"
    vain = hub.connection_attempts - (hub.connection is not None)
    if hub.connected_s is None and vain:
        yield f"tried in vain {'once' if vain == 1 else f'{vain} times'} since it last did well"
    if hub.last_error:
        yield f"the last time: {hub.last_error}"


def _next_of_hub(state: State, hub: Hub) -> str:
    now_s = state.now.mono_s
    if hub.connected_s is not None:
        if not hub.announces:
            return "nothing is announced there, as it is in use for webrtc-swarm's peers: we dial those that we hear"
        if state.settings.strangers_max == 0:
            return "we announce nothing there, as no strangers are wanted"
        return f"we announce ourselves there in {max(0.0, state.timers[announce_timer(hub.url)] - now_s):.0f} s"
    if hub.connection is not None:
        left_s = state.timers[hub_timer(hub.url)] - now_s
        return f"it confirms our subscription, or is given up in {max(0.0, left_s):.0f} s"
    return "nothing" if state.closing else why_hub_waits(state, hub)


def _told(route: Route) -> str:
    between = behind(route.where)
    if between is not None:
        return f"a peer that is linked with both of us, {between}"
    return _WAYS[route.via] + route.where
