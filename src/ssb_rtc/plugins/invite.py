"""Invites, as npm ssb-invite has them: a code that lets its holder make this peer follow them.

The code carries a seed. Its holder calls us with the key of that seed, and we know the key: such a link is a guest's,
who may call `invite.use` and nothing else. Nobody guesses a seed of 32 bytes; what limits those who try is what limits
every stranger: handshakes at once, their time, and links at once.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Mapping
from typing import ClassVar, Final, Protocol

from ssb_rtc.errors import ConnectFailed, MisuseError, RemoteCallError, SsbRtcError, TransportFault
from ssb_rtc.feeds.keys import Keys, keys_from_seed
from ssb_rtc.feeds.refs import feed_id, is_feed_id
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.plugins.feed import encode_stored
from ssb_rtc.plugins.given_codes import options_of, rows_of
from ssb_rtc.plugins.stack import reaches
from ssb_rtc.storage.contacts import PeerRecord
from ssb_rtc.storage.invites import InviteRecord, Invites
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import FeedId, Json, JsonObject, PeerId, peer_of
from ssb_rtc.wire import address as addresses
from ssb_rtc.wire.invite import SEED_BYTES, Invite, format_invite, parse_invite
from ssb_rtc.wire.ws_url import endpoint

DAY_MS: Final = 24 * 60 * 60 * 1000
DAYS: Final = 30
"""For so long a code can be used, unless its maker says otherwise. npm's last for ever."""
DAYS_MAX: Final = 10_000
USES_MAX: Final = 10_000
INVITES_MAX: Final = 1_000
"""Codes that are neither used up nor over."""
NOTE_LIMIT_CHARS: Final = 1_000
ALREADY: Final = "already following"
"""What npm ssb-invite answers to somebody whom the host follows."""


class Network(Protocol):
    """What this plugin needs of the running peer."""

    def addresses(self) -> list[str]: ...

    async def connect(self, address: str) -> JsonObject: ...

    async def visit(self, address: str, host: PeerId, keys: Keys) -> Link: ...


class InvitePlugin:
    """`invite.create`, `list`, `revoke` and `accept` for the owner; `invite.use` for the holder of a code."""

    name = "invite"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {
        "invite.create": "async",
        "invite.use": "async",
        "invite.accept": "async",
        "invite.list": "async",
        "invite.revoke": "async",
    }
    permissions: ClassVar[PermissionLists] = {
        "remote": [],
        "guest": ["invite.use"],
        "local": ["invite.create", "invite.accept", "invite.list", "invite.revoke"],
    }

    def __init__(self, network: Network) -> None:
        self._network = network
        self._using = asyncio.Lock()

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        self._context = context
        self._invites = Invites(context.log.database)
        # Those that are used up too: their holders hear so, and are no peers.
        context.guests.update(record.id for record in self._invites.all())
        return {
            "invite.create": self._serve_create,
            "invite.use": self._use,
            "invite.accept": self._serve_accept,
            "invite.list": self._list,
            "invite.revoke": self._revoke,
        }

    # --- giving out ---

    def create(
        self, *, uses: int = 1, note: str | None = None, external: str | None = None, days: int = DAYS,
        modern: bool = False,
    ) -> str:  # fmt: skip
        """A new code for `uses` people within `days` days. It names the host `external`, else where we listen.

        modern: in the multiserver form, also for net. note: goes into the message that follows who uses the code.
        Raises MisuseError where a number is out of range, and where nobody elsewhere could reach us.
        """
        if not 1 <= uses <= USES_MAX or not 1 <= days <= DAYS_MAX:
            raise MisuseError(f"an invite is for 1 to {USES_MAX} uses within 1 to {DAYS_MAX} days")
        if note is not None and len(note) > NOTE_LIMIT_CHARS:
            raise MisuseError(f"a note has at most {NOTE_LIMIT_CHARS} characters")
        address = self._reachable(external)
        self._tidy()
        now_ms = self._context.now_ms()
        seed = secrets.token_bytes(SEED_BYTES)
        keys = keys_from_seed(seed)
        code = format_invite(address, seed, modern=modern)
        self._invites.add(InviteRecord(keys.id, uses, 0, note, now_ms, now_ms + days * DAY_MS))
        self._context.guests.add(keys.id)
        return code

    def _reachable(self, external: str | None) -> str:
        """The address that a code names: the first that reaches furthest."""
        listening = [each for each in self._network.addresses() if each.startswith(("net:", "ws:", "wss:"))]
        if not listening:
            raise MisuseError("nobody can come with an invite: listen first, with `ssb-rtc listen net:0.0.0.0:8008`")
        if external is not None:
            return _with_host(listening[0], external)
        for scope in ("public", "local"):
            for each in listening:
                if reaches(each, scope):
                    return each
        raise MisuseError(
            "only this machine can reach the address that we listen on: listen on another one "
            "(`ssb-rtc listen net:0.0.0.0:8008`), or name what others reach us by with --external HOST"
        )

    def _tidy(self) -> None:
        """Forgets what is over, and keeps room for a new one."""
        now_ms = self._context.now_ms()
        for record in self._invites.all():
            if record.expires_ms <= now_ms:
                self._forget(record.id)
        if sum(record.usable(now_ms) for record in self._invites.all()) >= INVITES_MAX:
            raise MisuseError(
                f"there are {INVITES_MAX} unused invites already: revoke some with `ssb-rtc invite revoke`"
            )

    def _forget(self, invite: str) -> bool:
        self._context.guests.discard(invite)
        return self._invites.remove(invite)

    async def _use(self, link: Link, request: Json = None) -> Json:
        """Follows the feed that the guest names, once a use."""
        feed = request.get("feed") if isinstance(request, dict) else None
        if not isinstance(feed, str) or not is_feed_id(feed):
            raise RemoteCallError("feed to follow is missing")
        # One after another: two calls at once must not both see a feed that is not followed yet.
        async with self._using:
            return await self._follow_guest(link.remote, FeedId(feed))

    async def _follow_guest(self, invite: PeerId, feed: FeedId) -> Json:
        context = self._context
        record = self._invites.get(invite)
        if feed == context.keys.id or peer_of(feed) in context.blocked:
            raise RemoteCallError("invite not accepted")
        if feed in context.log.graph.follows(context.keys.id):
            raise RemoteCallError(ALREADY)
        if record is None or not self._invites.take(invite, context.now_ms()):
            raise RemoteCallError("invite has expired")
        content: JsonObject = {"type": "contact", "contact": feed, "following": True, "pub": True}
        if record.note:
            content["note"] = record.note
        try:
            return encode_stored(await context.author.publish(content))
        except BaseException:
            self._invites.give_back(invite)
            raise

    # --- accepting ---

    async def accept(self, code: str) -> JsonObject:
        """Uses a code: its host follows us, we follow the host, and connect to it. {id, address, connected}.

        Raises ConfigFault for what is no code, AuthorFault while we may not write, ConnectFailed when the host can't
        be reached, MisuseError when it does not accept.
        """
        invite = parse_invite(code)
        host = FeedId(feed_id(invite.key))
        context = self._context
        if host == context.keys.id:
            raise MisuseError("this is our own invite: give it to somebody else")
        if peer_of(host) in context.blocked:
            raise MisuseError(f"we block {host}, who gave out this invite: unblock them first")
        context.author.require_writable()
        await self._ask(invite, peer_of(host))
        await self._follow_host(invite, host)
        # Nobody meets on a hub for this: the address is dialled at each start, as long as we follow the host.
        record = context.contacts.peer(peer_of(host)) or PeerRecord(peer_of(host))
        context.contacts.save_peers(
            [dataclasses.replace(record, address=invite.address, last_seen_ms=context.now_ms())]
        )
        try:
            connected = bool(await self._network.connect(invite.address))
        except SsbRtcError:
            connected = False
        return {"id": host, "address": invite.address, "connected": connected}

    async def _ask(self, invite: Invite, host: PeerId) -> None:
        link = await self._network.visit(invite.address, host, keys_from_seed(invite.seed))
        try:
            await link.call("invite.use", {"feed": self._context.keys.id})
        except RemoteCallError as refusal:
            if refusal.message != ALREADY:
                raise MisuseError(f"{host} did not accept the invite: {refusal.message[:200]}") from None
        except TransportFault as fault:
            raise ConnectFailed(f"{host} did not answer to the invite: {fault}; try again later") from None
        finally:
            await link.close("the invite was used")

    async def _follow_host(self, invite: Invite, host: FeedId) -> None:
        """As npm ssb-invite does; the address is published only where it means something to everybody."""
        publish = self._context.author.publish
        if host not in self._context.log.graph.follows(self._context.keys.id):
            await publish({"type": "contact", "contact": host, "following": True, "autofollow": True})
        to = addresses.target(addresses.parse(invite.address)[0])
        if isinstance(to, addresses.NetTarget) and reaches(invite.address, "public"):
            await publish({"type": "pub", "address": {"host": to.host, "port": to.port, "key": host}})

    # --- invite.* for the owner ---

    async def _serve_create(self, _link: Link, options: Json = None, *_rest: Json) -> Json:
        if isinstance(options, int) and not isinstance(options, bool):
            options = {"uses": options}
        kinds = {"uses": int, "note": str, "external": str, "days": int, "modern": bool}
        chosen = options_of(options, kinds, "invite.create")
        if chosen.get("modern"):
            chosen["uses"] = 1  # as npm has it
        return self.create(**chosen)

    async def _serve_accept(self, _link: Link, code: Json = None, *_rest: Json) -> Json:
        if isinstance(code, dict):
            code = code.get("invite")
        if not isinstance(code, str):
            raise MisuseError("this takes an invite code, as text")
        return await self.accept(code)

    async def _list(self, _link: Link) -> Json:
        return rows_of(self._invites.all(), self._context.now_ms())

    async def _revoke(self, _link: Link, invite: Json = None) -> Json:
        if not isinstance(invite, str) or not self._forget(invite):
            raise MisuseError("there is no such invite; `ssb-rtc invite list` shows them with their ids")
        return True


def _with_host(address: str, host: str) -> str:
    """Our address with another host."""
    to = addresses.target(addresses.parse(address)[0])
    assert to.key is not None
    if not host or any(mark in host for mark in " /@~;!#") or (":" in host and host.count(":") == 1):
        raise MisuseError(f"{host!r} is no host: write a name or an address, without a port")
    host = host.removeprefix("[").removesuffix("]")
    if isinstance(to, addresses.NetTarget):
        return addresses.net_address(host, to.port, to.key)
    assert isinstance(to, addresses.WsTarget)
    return addresses.ws_address(dataclasses.replace(endpoint(to.url), host=host).url, to.key)
