"""Invitations that work without a port that others can reach: a code to send by chat (wire.welcome).

    inviter: welcome.create -> code            joiner: welcome.join(code)
    the joiner knocks at the code's inbox, and proves that it holds the code
    the inviter makes room for it and answers, though it may show nothing to strangers
    joiner: welcome.use(token), over a link with its own identity -> the inviter follows it, and it follows the inviter

Here is the inviter's side; that of the joiner is plugins.joins. docs/invitations.md says who can do what.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from ssb_rtc.errors import MisuseError, RemoteCallError, SsbRtcError
from ssb_rtc.feeds.keys import keys_from_seed
from ssb_rtc.feeds.refs import is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.given_codes import options_of, rows_of
from ssb_rtc.plugins.inboxes import FriendInboxes
from ssb_rtc.plugins.joins import REFUSED, Joins
from ssb_rtc.plugins.stack import reaches
from ssb_rtc.plugins.tasks import Tasks
from ssb_rtc.signalhub.admission import BucketTable
from ssb_rtc.storage.welcomes import WelcomeRecord, Welcomes
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, HubUrl, Json, JsonObject, PeerId, feed_of, peer_of
from ssb_rtc.wire.hub_url import has_credentials, hub_host, is_loopback, normalise_hub, speaks_swarm
from ssb_rtc.wire.welcome import (
    DAYS_MAX,
    HUBS_MAX,
    SECRET_BYTES,
    TEXT_BYTES_MAX,
    Welcome,
    format_welcome,
    network_mark,
    token_hash,
)

if TYPE_CHECKING:
    from ssb_rtc.runtime.network import Network

DAY_MS: Final = 24 * 60 * 60 * 1000
DAYS: Final = 7
USES_MAX: Final = 1_000
CODES_MAX: Final = 16
"""Each that is heard takes a channel or two on each hub, and a hub allows 64 in one subscription."""
NOTE_LIMIT_CHARS: Final = 200
EXPECTED_S: Final = 60.0
"""Whoever proved that it holds a code has so long to come and use it."""
EXPECTED_MAX: Final = 8
KNOCKS_PER_HOUR: Final = 60
KNOCKS_AT_ONCE: Final = 10
"""With each code: who passes it on to a crowd gets no more of us than this."""
TRIES_PER_HOUR: Final = 20
TRIES_AT_ONCE: Final = 5
"""Of each peer to use a token, good or not."""
SWEEP_S: Final = 60.0

UNKNOWN: Final = "this invitation is not known here: it was taken back, or is over; ask for another one"
USED_UP: Final = "this invitation was used already: ask for another one"
OVER: Final = "this invitation is over: ask for another one"
TOO_OFTEN: Final = "too many attempts: try again in an hour"
LATER: Final = "the inviter can't write to its feed now: it is tried again"

logger = logging.getLogger(__name__)


class WelcomePlugin:
    """`welcome.create`, `list`, `revoke`, `join`, `joins`, `forget` and `progress` for the owner; `welcome.use` for
    peers; `welcome.knock` for who calls an address and proves nothing but that it holds a code.
    """

    name = "welcome"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "welcome.create": "async",
        "welcome.list": "async",
        "welcome.revoke": "async",
        "welcome.join": "async",
        "welcome.joins": "async",
        "welcome.forget": "async",
        "welcome.progress": "source",
        "welcome.use": "async",
        "welcome.knock": "async",
    }
    permissions: ClassVar[PermissionLists] = {
        "remote": ["welcome.use"],
        "guest": ["welcome.knock"],
        "local": [name for name in manifest if name not in ("welcome.use", "welcome.knock")],
    }

    def __init__(self, store: Welcomes, inboxes: FriendInboxes) -> None:
        self._store = store
        self._inboxes = inboxes
        self.joins = Joins(store, inboxes)
        self._network: Network | None = None
        self._expected: dict[PeerId, asyncio.TimerHandle] = {}
        self._were_here: set[PeerId] = set()
        """Those of them who had a link before."""
        self._knocks = BucketTable(KNOCKS_PER_HOUR / 3600, KNOCKS_AT_ONCE, 4 * CODES_MAX)
        self._tries = BucketTable(TRIES_PER_HOUR / 3600, TRIES_AT_ONCE, 1_000)
        self._using = asyncio.Lock()
        self._tasks = Tasks()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._settle()
        self.joins.init(context)
        return {
            "welcome.create": self._serve_create,
            "welcome.list": self._list,
            "welcome.revoke": self._revoke,
            "welcome.join": self.joins.serve_join,
            "welcome.joins": self.joins.serve_list,
            "welcome.forget": self.joins.serve_forget,
            "welcome.progress": self.joins.serve_progress,
            "welcome.use": self._use,
            "welcome.knock": self._knock,
        }

    async def start(self, network: Network) -> None:
        """The peer is online: holders of our codes are heard, and codes in our hands are used."""
        self._network = network
        network.expecting.on_invited(self._on_invited)
        self._tasks.spawn(self._sweep(), "sweep invitations")
        self.joins.start(network)

    async def close(self) -> None:
        """See plugins.base.Closing."""
        self._network = None
        for timer in self._expected.values():
            timer.cancel()
        await self._tasks.close()
        await self.joins.close()

    # --- giving out ---

    def create(self, *, uses: int = 1, days: int = DAYS, note: str | None = None) -> JsonObject:
        """A new code for `uses` people within `days` days: {code, id, uses, expiresMs, hubs, address, running}.

        note: for our own list alone. Raises MisuseError where a number is out of range, where there are too many codes,
        and where nobody could meet us.
        """
        if not 1 <= uses <= USES_MAX or not 1 <= days <= DAYS_MAX:
            raise MisuseError(f"an invitation is for 1 to {USES_MAX} people within 1 to {DAYS_MAX} days")
        if note is not None and len(note) > NOTE_LIMIT_CHARS:
            raise MisuseError(f"a note has at most {NOTE_LIMIT_CHARS} characters")
        hubs = self._hubs()
        address = self._address(hubs=bool(hubs))
        if not hubs and not address:
            raise MisuseError(
                "there is no place yet where a friend could meet us: add a hub that both can reach "
                "(`ssb-rtc hubs add https://...`), then share again"
            )
        self._settle()
        if len(self._inboxes.inboxes.codes()) >= CODES_MAX:
            raise MisuseError(
                f"there are {CODES_MAX} invitations already: take some back with `ssb-rtc share revoke ID`, or "
                "make one for several people with --uses"
            )
        context = self._context
        last_day = context.now_ms() // DAY_MS + days
        code = Welcome(
            network_mark(context.settings.network_key), context.keys.public, secrets.token_bytes(SECRET_BYTES),
            last_day, hubs, address,
        )  # fmt: skip
        text = format_welcome(code)
        guest, expires_ms = keys_from_seed(code.guest_seed).id, (last_day + 1) * DAY_MS
        self._store.add(
            WelcomeRecord(
                code.id, token_hash(code.token), code.inbox, guest, uses, 0, note, context.now_ms(), expires_ms
            )
        )
        self._settle()
        told: JsonObject = {"code": text, "id": code.id, "uses": uses, "expiresMs": expires_ms}
        return {**told, "hubs": list(hubs), "address": address or None, "running": self._network is not None}

    def _hubs(self) -> tuple[str, ...]:
        """The hubs that a code names: those that are connected first, those of this machine only where there is no
        other.
        """
        context, network = self._context, self._network
        rows = {record.url: record for record in context.contacts.hubs()}
        named = [normalise_hub(url, allow_http=context.settings.allow_http) for url in context.settings.hub]
        fit: list[HubUrl] = [*named, *(url for url, record in rows.items() if record.source != "gossip")]
        connected: set[HubUrl] = set()
        if network is not None:
            states = network.reports.hub_states()
            connected = {url for url, state in states.items() if state == "CONNECTED"}
            fit = list(states)
        fit = [
            url
            for url in fit
            if not (url in rows and rows[url].private)
            and not (speaks_swarm(url) or has_credentials(url) or len(url) > TEXT_BYTES_MAX)
        ]
        learnt = {url for url, record in rows.items() if record.source == "gossip"}
        known = sorted(dict.fromkeys(fit), key=lambda url: (url not in connected, url in learnt))
        far = [url for url in known if not is_loopback(hub_host(url))]
        return tuple((far or known)[:HUBS_MAX])

    def _address(self, *, hubs: bool) -> str:
        """The address that a code names, if any: where everybody can reach us, else, without hubs, where our own
        network can.
        """
        listening = self._network.addresses() if self._network is not None else []
        dialled = [each for each in listening if each.startswith(("net:", "ws:", "wss:"))]
        for scope in ("public",) if hubs else ("public", "local"):
            for each in dialled:
                if reaches(each, scope) and len(each) <= TEXT_BYTES_MAX:
                    return each
        return ""

    def _settle(self) -> None:
        """Forget what is over; listen for holders of what is not."""
        now_ms, codes = self._context.now_ms(), {}
        for record in self._store.all():
            if now_ms >= record.expires_ms:
                self._store.remove(record.id)
            if record.heard(now_ms):
                codes[record.id] = record.inbox
                self._context.guests.add(record.guest)
            else:
                self._context.guests.discard(record.guest)
        if self._inboxes.inboxes.replace_codes(codes) and self._network is not None:
            self._network.own_inbox_changed()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._settle()

    # --- who comes with a code ---

    def _on_invited(self, peer: PeerId, code: str) -> None:
        """A knock proves that this peer holds a code of ours. Its letter is signed: it is nobody else."""
        context = self._context
        if peer in context.blocked or context.follows(feed_of(peer)):
            return  # whom we follow is welcome anyway
        fresh = peer not in self._expected
        if fresh and (len(self._expected) >= EXPECTED_MAX or not self._knocks.take(code, context.now_s())):
            return
        self._expect(peer)

    def _expect(self, peer: PeerId) -> None:
        if self._network is None:
            return
        known = self._expected.pop(peer, None)
        if known is None:
            self._network.expecting.expect(peer)
            if any(link.remote == peer for link in self._context.links.live()):
                self._were_here.add(peer)
        else:
            known.cancel()
        self._expected[peer] = asyncio.get_running_loop().call_later(EXPECTED_S, self._let_go, peer)

    def _let_go(self, peer: PeerId) -> None:
        """It had its time: a friend stays, and whoever did not use its code is like any other."""
        timer = self._expected.pop(peer, None)
        if timer is not None:
            timer.cancel()
        if timer is not None and self._network is not None and not self._is_pinned(peer):
            # A caller of an address only says who comes: that must not cost anybody a link that there was before.
            stays = peer in self._were_here or feed_of(peer) in self._context.wanted
            self._network.expecting.expect_no_more(peer, None if stays else "it did not use its invitation")
        self._were_here.discard(peer)

    def _is_pinned(self, peer: PeerId) -> bool:
        """Whether the owner wants a link with it for good."""
        record = self._context.contacts.peer(peer)
        return record is not None and record.pinned

    async def _knock(self, link: Link, feed: Json = None) -> Json:
        """Somebody who called our address with the key of a code says under which identity it is about to come."""
        if not isinstance(feed, str) or not is_feed_id(feed):
            raise RemoteCallError("welcome.knock takes a peer's id")
        record = next((each for each in self._store.all() if each.guest == link.remote), None)
        if record is not None and record.heard(self._context.now_ms()):
            self._on_invited(peer_of(FeedId(feed)), record.id)
        return True

    async def _use(self, link: Link, token: Json = None) -> Json:
        """Follows the peer that shows the token of a code, once a use. True where we follow it now."""
        try:
            raw = base64.b64decode(token, validate=True) if isinstance(token, str) and len(token) <= 64 else b""
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:
            raise RemoteCallError("welcome.use takes 32 bytes in base64", name=REFUSED)
        # One after another: two calls at once must not both see a peer that is not followed yet.
        async with self._using:
            try:
                await self._welcome(link.remote, raw)
            except RemoteCallError as refusal:
                if refusal.name == REFUSED:
                    # After the answer is out.
                    asyncio.get_running_loop().call_later(1.0, self._let_go, link.remote)
                raise
        return True

    async def _welcome(self, peer: PeerId, token: bytes) -> None:
        context, now_ms = self._context, self._context.now_ms()
        if not self._tries.take(peer, context.now_s()):
            raise RemoteCallError(TOO_OFTEN)
        if context.follows(feed_of(peer)):
            return  # its answer was lost, or we follow it anyway
        record = self._record_of(token)
        if peer in context.blocked or feed_of(peer) == context.keys.id:
            raise RemoteCallError(UNKNOWN, name=REFUSED)
        if now_ms >= record.expires_ms:
            raise RemoteCallError(OVER, name=REFUSED)
        if not self._store.take(record.id, now_ms):
            raise RemoteCallError(USED_UP, name=REFUSED)
        try:
            await context.author.publish({"type": "contact", "contact": feed_of(peer), "following": True})
        except SsbRtcError as fault:
            self._store.give_back(record.id)
            logger.warning("an invitation could not be used by %s: %s", peer, fault)
            raise RemoteCallError(LATER) from None
        except BaseException:
            self._store.give_back(record.id)
            raise
        self._settle()
        note = f" ({record.note})" if record.note else ""
        context.tell(f"{peer} used your invitation {record.id}{note}: you follow it")

    def _record_of(self, token: bytes) -> WelcomeRecord:
        """The code with this token. All are compared, in the same time whichever it is."""
        hashed, found = token_hash(token), None
        for record in self._store.all():
            if hmac.compare_digest(record.token_hash, hashed):
                found = record
        if found is None:
            raise RemoteCallError(UNKNOWN, name=REFUSED)
        return found

    # --- welcome.* for the owner ---

    async def _serve_create(self, _link: Link, options: Json = None) -> Json:
        return self.create(**options_of(options, {"uses": int, "days": int, "note": str}, "welcome.create"))

    async def _list(self, _link: Link) -> Json:
        return rows_of(self._store.all(), self._context.now_ms())

    async def _revoke(self, _link: Link, code: Json = None) -> Json:
        record = next((each for each in self._store.all() if each.id == code), None)
        if record is None:
            raise MisuseError("there is no such invitation; `ssb-rtc share list` shows them with their ids")
        self._store.remove(record.id)
        self._context.guests.discard(record.guest)
        self._settle()
        return True
