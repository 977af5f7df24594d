"""The joiner's side of an invitation: a code in our hands is tried until it is used, refused or over.

It is kept in the database, so it does not matter who of the two is online first. While we hold it, the inviter is
looked for eagerly at first, then ever more rarely, up to every five minutes.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from ssb_rtc.errors import ConfigFault, MisuseError, RemoteCallError, SsbRtcError
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context
from ssb_rtc.plugins.inboxes import FriendInboxes
from ssb_rtc.plugins.tasks import Tasks
from ssb_rtc.storage.contacts import HubRecord
from ssb_rtc.storage.welcomes import Welcomes
from ssb_rtc.transport.link import Link
from ssb_rtc.types import HubUrl, Json, JsonObject, PeerId, feed_of
from ssb_rtc.wire.hub_url import normalise_hub
from ssb_rtc.wire.welcome import Welcome, network_mark, parse_welcome, require_as_made

if TYPE_CHECKING:
    from ssb_rtc.runtime.network import Network

REFUSED: Final = "WelcomeRefused"
"""The name of an error that ends an invitation; with all others it is tried again."""
JOINS_MAX: Final = 32
"""Codes of others that are kept at a time."""
PAUSE_MIN_S: Final = 10.0
PAUSE_MAX_S: Final = 300.0
LOOK_S: Final = 1.0
"""How often it is looked at what keeps us from the inviter."""
REASON_LIMIT_CHARS: Final = 200
NEVER_MET: Final = "the invitation is over, and the inviter was not met in time: ask for another one"
DONE: Final = ("joined", "refused")

logger = logging.getLogger(__name__)


class Join:
    """One code in our hands, and how it goes with it."""

    def __init__(self, welcome: Welcome, added_ms: int) -> None:
        self.welcome = welcome
        self.added_ms = added_ms
        self.state = "stored"
        """stored: used at the next start; waiting, asking: under way; joined, refused: over."""
        self.text = "it is used as soon as the peer runs"
        self.accepted = False
        """The inviter follows us, and we follow it."""
        self.brought: list[HubUrl] = []
        """Hubs that came with the code in this run: where nothing comes of it, they go with it."""
        self.changed = asyncio.Event()

    def say(self, state: str, text: str) -> None:
        """How it goes now, for people."""
        if (state, text) != (self.state, self.text):
            self.state, self.text = state, text
            self.changed.set()
            self.changed = asyncio.Event()

    def told(self) -> JsonObject:
        """What `ssb-rtc join --json` prints."""
        return {"id": self.welcome.host, "state": self.state, "text": self.text, "addedMs": self.added_ms}


class Joins:
    """All of them."""

    def __init__(self, store: Welcomes, inboxes: FriendInboxes) -> None:
        self._store = store
        self._inboxes = inboxes
        self._joins: dict[PeerId, Join] = {}
        self._over: dict[PeerId, Join] = {}
        """Those that came to an end in this run, for who asks how."""
        self._network: Network | None = None
        self._asking: set[PeerId] = set()
        self._tasks = Tasks()

    def init(self, context: Context) -> None:
        """See Plugin.init."""
        self._context = context
        context.links.on_link(self._linked)
        self._inboxes.subscribe(self._inbox_known, lambda: None)
        for host, code, added_ms in self._store.joins():
            try:
                join = Join(parse_welcome(code), added_ms)
            except ConfigFault as fault:
                logger.warning("an invitation that was kept can't be read any more: %s", fault)
                self._store.drop_join(host)
            else:
                self._joins[host] = join

    def start(self, network: Network) -> None:
        """The peer is online."""
        self._network = network
        for join in list(self._joins.values()):
            self._begin(join)

    async def close(self) -> None:
        """Ends what is under way; what is kept goes on after the next start."""
        self._network = None
        await self._tasks.close()

    # --- from a code to a friend ---

    def join(self, code: str) -> JsonObject:
        """Keeps a code and uses it as soon as that can be: {id, state, text, addedMs}.

        Raises ConfigFault for what is no code, or one of another network; MisuseError for our own, for one that is
        over, and where we block the inviter; AuthorFault while we may not write.
        """
        welcome, context = parse_welcome(code), self._context
        host = welcome.host
        require_as_made(welcome, context.now_ms() / 1000)
        if welcome.network != network_mark(context.settings.network_key):
            raise ConfigFault("this invitation is for another network: start the peer with that one's --network-key")
        if feed_of(host) == context.keys.id:
            raise MisuseError("this is our own invitation: send it to somebody else")
        if welcome.is_over(context.now_ms() / 1000):
            raise MisuseError(
                "this invitation is over: ask for another one (or set this machine's clock, if today is not "
                f"{_date(context.now_ms())})"
            )
        if host in context.blocked:
            raise MisuseError(f"we block {host}, who invites: undo that first (`ssb-rtc block {host} --undo`)")
        if host not in self._joins and len(self._joins) >= JOINS_MAX:
            raise MisuseError(f"{JOINS_MAX} invitations are waiting already: `ssb-rtc join` lists them")
        context.author.require_writable()
        brought = self._keep_hubs(welcome)
        self._store.keep_join(host, code, context.now_ms())
        self._over.pop(host, None)
        join = self._joins[host] = Join(welcome, context.now_ms())
        join.brought = brought
        if self._network is not None:
            self._begin(join)
        return join.told()

    def _keep_hubs(self, welcome: Welcome) -> list[HubUrl]:
        """The hubs of a code are ours from now on; gives the new ones. Raises ConfigFault where none may be used."""
        context, fault = self._context, None
        usable: list[HubUrl] = []
        for text in welcome.hubs:
            try:
                usable.append(normalise_hub(text, allow_http=context.settings.allow_http))
            except ConfigFault as refused:
                fault = refused
        if fault is not None and not usable and not welcome.address:
            raise ConfigFault(f"the hub of this invitation can't be used: {fault}")
        fresh: list[HubUrl] = []
        for hub in usable:
            record, network = context.contacts.hub(hub), self._network
            if record is not None and record.source != "gossip":
                continue
            # One that is in use for this run, or that only others named, is wanted for good from now on.
            known = record is not None or (network is not None and hub in network.reports.hub_states())
            context.contacts.save_hub(HubRecord(hub, "user" if known else "invite", context.now_ms()))
            if network is not None:
                network.add_hub(hub, invited=not known)
            fresh += [] if known else [hub]
        return fresh

    def _drop_hubs(self, join: Join) -> None:
        """Whoever writes codes that lead nowhere has us keep no hubs."""
        still_named = {hub for other in self._joins.values() for hub in other.welcome.hubs}
        for hub in join.brought:
            record = self._context.contacts.hub(hub)
            if record is None or record.source != "invite" or hub in still_named:
                continue
            self._context.contacts.remove_hub(hub)
            if self._network is not None:
                self._network.remove_hub(hub)

    def _begin(self, join: Join) -> None:
        host = join.welcome.host
        self._inboxes.inboxes.hold_invitation(host, join.welcome.inbox)
        join.say("waiting", "looking for the inviter")
        self._tasks.spawn(self._seek(join), f"use the invitation of {host}")

    def _is_current(self, join: Join) -> bool:
        return self._joins.get(join.welcome.host) is join and self._network is not None

    async def _seek(self, join: Join) -> None:
        """Until the code is used or over; the link itself is told to `_linked`."""
        loop, host = asyncio.get_running_loop(), join.welcome.host
        began_s = loop.time()
        while self._is_current(join):
            if host in self._context.blocked or (join.accepted and not self._context.follows(feed_of(host))):
                return self._end(join, "refused", "we no longer want it")
            if not join.accepted and join.welcome.is_over(self._context.now_ms() / 1000):
                return self._end(join, "refused", NEVER_MET)
            link = next((link for link in self._context.links.live() if link.remote == host), None)
            if link is not None:
                if not join.accepted:
                    await self._use(link, join)
            else:
                await self._call_at_address(join)
                if self._network is not None:
                    self._network.expecting.seek(host, join.welcome.address or None)
            next_s = loop.time() + min(PAUSE_MAX_S, max(PAUSE_MIN_S, (loop.time() - began_s) / 10))
            while self._is_current(join) and loop.time() < next_s:
                if not join.accepted and host not in self._asking:
                    join.say("waiting", self._why(join))
                await asyncio.sleep(LOOK_S)
        return None

    async def _call_at_address(self, join: Join) -> None:
        """Has the inviter expect us, where it listens at an address: there a stranger may find no room."""
        welcome, network = join.welcome, self._network
        if not welcome.address or join.accepted or network is None:
            return
        try:
            link = await network.visit(welcome.address, welcome.host, keys_from_seed(welcome.guest_seed))
        except SsbRtcError as fault:
            logger.info("the address of an invitation: %s", fault)
            return
        try:
            await link.call("welcome.knock", self._context.keys.id)
        except SsbRtcError as fault:
            logger.info("the address of an invitation: %s", fault)
        finally:
            await link.close("the inviter knows that we come")

    def _linked(self, link: Link) -> None:
        join = self._joins.get(link.remote)
        if join is not None and not join.accepted and self._network is not None:
            self._tasks.spawn(self._use(link, join), f"use the invitation of {link.remote}")

    async def _use(self, link: Link, join: Join) -> None:
        host = join.welcome.host
        if host in self._asking or join.accepted:
            return
        self._asking.add(host)
        join.say("asking", "the inviter is there, and is asked to let us in")
        try:
            await link.call("welcome.use", base64.b64encode(join.welcome.token).decode())
            await self._accepted(join)
        except RemoteCallError as refusal:
            said = _printable(refusal.message)
            if refusal.name == REFUSED:
                self._end(join, "refused", said)
            else:
                join.say("waiting", f"the inviter could not let us in yet: {said}")
        except SsbRtcError as fault:
            join.say("waiting", f"the inviter was met, and then: {fault}; we keep trying")
        finally:
            self._asking.discard(host)

    async def _accepted(self, join: Join) -> None:
        host, context = join.welcome.host, self._context
        if not context.follows(feed_of(host)):
            await context.author.publish({"type": "contact", "contact": feed_of(host), "following": True})
        join.accepted = True
        join.say("joined", f"{host} and we follow each other now")
        context.tell(f"the invitation of {host} worked: you follow each other now")
        self._over[host] = join
        if self._inboxes.inboxes.knows(host):
            self._end(join, "joined", join.text)

    def _inbox_known(self, peer: PeerId, known: bool) -> None:
        """A friend has told where it hears friends: from now on the code is of no use to us."""
        join = self._joins.get(peer)
        if known and join is not None and join.accepted:
            self._end(join, "joined", join.text)

    def _end(self, join: Join, state: str, text: str) -> None:
        host = join.welcome.host
        if self._joins.get(host) is not join:
            return
        del self._joins[host]
        self._store.drop_join(host)
        self._inboxes.inboxes.hold_invitation(host, None)
        if state == "refused":
            self._drop_hubs(join)
        self._over[host] = join
        while len(self._over) > JOINS_MAX:
            del self._over[next(iter(self._over))]
        record = self._context.contacts.peer(host)
        if self._network is not None and not (record is not None and record.pinned):
            self._network.expecting.expect_no_more(host, None if state == "joined" else "its invitation is over")
        join.say(state, text)

    def _why(self, join: Join) -> str:
        """What keeps us from the inviter, and what to do."""
        network, welcome = self._network, join.welcome
        assert network is not None
        states = network.reports.hub_states()
        ours = [url for url in states if url in {*welcome.hubs}]
        if welcome.hubs and not any(states[url] == "CONNECTED" for url in ours):
            hub = ours[0] if ours else HubUrl(welcome.hubs[0])
            error = network.reports.hub_error(hub)
            if not error or states.get(hub) == "CONNECTING":
                return f"connecting to {hub}"
            return f"{hub}, where the inviter is to be met, is not reached ({error}): is this machine online?"
        if network.expecting.was_busy(welcome.host):
            return "the inviter is there and has no room for one more link now: we try again in a moment"
        said = network.reports.peer_error(welcome.host)
        if not said or "link within" in said or "slot" in said:
            return "the inviter does not answer: ask whether their peer runs; we keep trying"
        return f"no link to the inviter yet ({said}): we keep trying"

    # --- welcome.* for the owner ---

    async def serve_join(self, _link: Link, code: Json = None) -> Json:
        """`welcome.join`."""
        if not isinstance(code, str):
            raise MisuseError("welcome.join takes a code, as text")
        return self.join(code)

    async def serve_list(self, _link: Link) -> Json:
        """`welcome.joins`: those that wait, the oldest first."""
        return [join.told() for join in self._joins.values()]

    async def serve_forget(self, _link: Link, host: Json = None) -> Json:
        """`welcome.forget`: gives up a code of this inviter's."""
        join = self._joins.get(PeerId(host)) if isinstance(host, str) else None
        if join is None:
            raise MisuseError("no invitation of this peer is waiting; `ssb-rtc join` lists those that are")
        self._end(join, "refused", "it was given up")
        return True

    async def serve_progress(self, _link: Link, host: Json = None) -> AsyncIterator[Json]:
        """`welcome.progress`: how it goes with the code of this inviter's, until that is over."""
        if not isinstance(host, str) or not is_feed_id(host):
            raise MisuseError("welcome.progress takes a peer's id")
        while True:
            join = self._joins.get(PeerId(host)) or self._over.get(PeerId(host))
            if join is None:
                raise MisuseError("no invitation of this peer is waiting; `ssb-rtc join` lists those that are")
            changed = join.changed
            yield join.told()
            if join.state in DONE:
                return
            await changed.wait()


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text[:REASON_LIMIT_CHARS])


def _date(wall_ms: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_ms / 1000))
