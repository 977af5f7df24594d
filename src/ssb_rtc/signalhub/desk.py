"""Where the letters of the sealed dialect are written, sealed and opened, and where it is known to which channel each
goes: all that hangs on who we are, whose inboxes we know, and the time. No I/O.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from ssb_rtc.errors import SignalInvalid
from ssb_rtc.feeds.keys import Keys
from ssb_rtc.feeds.refs import public_key
from ssb_rtc.signalhub.carriers import Carrier, Hub, Source
from ssb_rtc.signalhub.sessions import Session
from ssb_rtc.signalhub.streams import StreamName
from ssb_rtc.types import PeerId
from ssb_rtc.wire import channels, envelope, welcome
from ssb_rtc.wire.envelope import Kind, Letter
from ssb_rtc.wire.letters import Knock


class Inboxes(Protocol):
    """The secrets of friend inboxes."""

    @property
    def own(self) -> bytes:
        """Ours, 32 bytes."""

    def of(self, peer: PeerId) -> bytes | None:
        """That of a friend who told us, or of whom an invitation in our hands is from."""

    def is_invited_by(self, peer: PeerId) -> bool:
        """Whether what `of` gives of this peer is an invitation's."""

    def codes(self) -> Mapping[str, bytes]:
        """The secrets of the inboxes of invitations of ours that are good, by the invitation's id."""


class Desk:
    """Of one identity in one network. `wall` gives seconds since 1970."""

    def __init__(
        self,
        keys: Keys,
        network_key: bytes,
        inboxes: Inboxes,
        wall: Callable[[], float],
        *,
        strangers: bool,
        clocks: int,
    ) -> None:
        """strangers: whether we show ourselves to them; clocks: of so many friends it is noted how they differ."""
        self.own = PeerId(keys.id)
        self.strangers = strangers
        self._keys = keys
        self._network_key = network_key
        self._inboxes = inboxes
        self._wall = wall
        self._clocks_max = clocks
        self._ahead_s: dict[PeerId, float] = {}
        """By how much the clocks of friends are ahead of ours, as they say: what we send them is dated so."""

    def outranks(self, peer: PeerId) -> bool:
        """Whether our key is the greater one."""
        return self._keys.public > public_key(peer)

    def is_friend(self, peer: PeerId) -> bool:
        """Whether it told us of its inbox."""
        return self._inboxes.of(peer) is not None

    # --- channels ---

    def channels(self, held: Hub) -> dict[StreamName, list[str]]:
        """Those to listen to now on a hub."""
        days = channels.days_heard(self._wall())
        own = [channels.friend_inbox(self._inboxes.own, day) for day in days]
        opened: dict[str, None] = {}
        if self.strangers:
            opened[held.open_reply] = None
            for day in days:
                opened[channels.public_inbox(self._network_key, self.own, day)] = None
                path = channels.announce_path(self._network_key, self.own, day)
                for depth in range(held.crowd.depth + 1):
                    opened[channels.announce_channel(self._network_key, path, depth)] = None
        # Whoever holds an invitation is no friend yet, and may fill what is open, not what friends use.
        for inbox in self._inboxes.codes().values():
            opened |= {channels.friend_inbox(inbox, day): None for day in days}
        return {"own": [*own, held.reply], "open": list(opened)}

    def inbox(self, peer: PeerId) -> str:
        """Where a first letter to this peer goes: its friend inbox where we know it, else the public one."""
        day, secret = channels.day_of(self.time_ms(peer) / 1000), self._inboxes.of(peer)
        if secret is not None:
            return channels.friend_inbox(secret, day)
        return channels.public_inbox(self._network_key, peer, day)

    def reply(self, held: Carrier, to: PeerId) -> bytes:
        """Where this peer is to answer: strangers in the stream that is open to all."""
        friend = not self.strangers or self.is_friend(to)
        return channels.reply_bytes(held.reply if friend else held.open_reply)

    # --- invitations ---

    def proof(self, to: PeerId, session: bytes, ephemeral: bytes) -> bytes:
        """What a knock shows where an invitation of this peer is in our hands; nothing for all others."""
        inbox = self._inboxes.of(to) if self._inboxes.is_invited_by(to) else None
        return b"" if inbox is None else welcome.proof(inbox, self.own, session, ephemeral)

    def invitation(self, letter: Letter, knock: Knock) -> str | None:
        """The id of the invitation of ours that its sender holds, as this knock proves."""
        if knock.proof:
            for code, inbox in self._inboxes.codes().items():
                ours = welcome.proof(inbox, letter.sender, letter.session, knock.ephemeral)
                if hmac.compare_digest(ours, knock.proof):
                    return code
        return None

    # --- letters ---

    def letter(self, to: PeerId, session: bytes, known: Session, kind: Kind, payload: bytes) -> Letter:
        """The next letter of this session."""
        letter = Letter(kind, self.own, session, known.sequence, self.time_ms(to), payload)
        known.sequence += 1
        return letter

    def sealed(self, to: PeerId, letter: Letter) -> str:
        """Its envelope, as a hub carries it. MisuseError where nothing can be sealed to this peer."""
        return envelope.seal(letter, self._keys, to, self._network_key, secrets.token_bytes(32))

    def announcement(self, held: Hub, kind: Kind, payload: bytes) -> tuple[str, str]:
        """What everybody may read, and its channel: (channel, body)."""
        path = channels.announce_path(self._network_key, self.own, channels.day_of(self._wall()))
        channel = channels.announce_channel(self._network_key, path, held.crowd.depth)
        letter = Letter(kind, self.own, secrets.token_bytes(envelope.SESSION_BYTES), 0, self.time_ms(), payload)
        nonce = secrets.token_bytes(envelope.NONCE_BYTES)
        return channel, envelope.seal_announcement(letter, self._keys, self._network_key, nonce)

    def opened(self, source: Source, text: str) -> Letter | None:
        """The letter in it, whose sender is proven then; None where there is none for us."""
        # Who shows nothing to strangers hears no announcements: what stands in an invitation's inbox must not lure it.
        if source == "open" and self.strangers:
            # The symmetric seal is tried first, because it costs next to nothing.
            with suppress(SignalInvalid):
                return envelope.open_announcement(text, self._network_key)
        with suppress(SignalInvalid):
            return envelope.open_envelope(text, self._keys, self._network_key)
        return None

    # --- time ---

    def is_fresh(self, letter: Letter) -> bool:
        """See wire.envelope."""
        return envelope.is_fresh(letter, self._wall() * 1000)

    def time_ms(self, to: PeerId | None = None) -> int:
        """The time, by the clock of whom it is for as far as we know it."""
        ahead_s = self._ahead_s.get(to, 0.0) if to is not None else 0.0
        return max(0, int((self._wall() + ahead_s) * 1000))

    def note_clock(self, peer: PeerId, time_ms: int) -> float | None:
        """What a friend's clock shows: by how much it is ahead of ours, where that is news; else None.

        From now on letters to it are dated so. 0 where the two agree again.
        """
        ahead_s = time_ms / 1000 - self._wall()
        if abs(ahead_s - self._ahead_s.get(peer, 0.0)) < envelope.WINDOW_S:
            return None
        if abs(ahead_s) < envelope.WINDOW_S:
            del self._ahead_s[peer]  # one of the two clocks was set right since
            return 0.0
        if peer in self._ahead_s or len(self._ahead_s) < self._clocks_max:
            self._ahead_s[peer] = ahead_s
            return ahead_s
        return None
