"""What is remembered of each session of the sealed dialect: whose it is, the keys that its letters are sealed to, and
where answers go. Bounded, expiring, without I/O.

A session belongs to one attempt with one peer. Only letters of sessions that are in here are opened beyond their
envelope, but for knocks, which begin one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ssb_rtc.types import HubUrl, PeerId
from ssb_rtc.wire.envelope import Letter

SESSIONS_MAX = 2_048
OPEN_SESSIONS_MAX = 1_024
"""Of these begun by letters to our public inbox: anybody can make up any number of names."""
SESSIONS_OF_A_PEER_MAX = 32
SESSION_LIFE_S = 120.0
"""An attempt takes 30 s; an answer may come late."""
SAID_MAX = 32
"""Of an attempt's own letters: a description, and candidates."""
LETTERS_OF_A_SESSION_MAX = 256
"""From the other side: an offer and 20 candidates, each sent again a few times."""
CROSSING_S = 10.0
"""A knock or an offer of ours that is older has been answered, refused or lost."""

Key = tuple[PeerId, str]
"""The other side, and the session as it is named above the dialect."""


@dataclass(slots=True)
class Session:
    """One session. Keys are X25519, raw; None until they are known."""

    expires_s: float
    knocked: bool
    """We began it, with a knock."""
    began_s: float
    secret: bytes | None = None
    """Ours, made for this session alone."""
    theirs: bytes | None = None
    replies: dict[HubUrl, str] = field(default_factory=dict)
    """The channels where they listen, on each hub over which this session was heard: what one of them drops comes
    over another one.
    """
    sequence: int = 0
    """Of our next letter."""
    open: bool = False
    """Begun by a letter to our public inbox."""
    repeated: set[HubUrl] = field(default_factory=set)
    """Where our knock was sent once more, because theirs crossed it or because of a clock note."""
    heard: set[int] = field(default_factory=set)
    """The sequences of their letters."""
    said: list[Callable[[HubUrl], Letter]] = field(default_factory=list)
    """What we said to them there, to be said over a hub where they are heard only later, too."""
    ours_s: float = float("-inf")
    """When we offered, as long as nobody has answered."""
    offered: str = ""
    """The SDP of their offer. It comes as a letter of its own over each hub, because each names a reply channel."""

    def first(self, sequence: int) -> bool:
        """Whether this letter of theirs is heard for the first time, and may be remembered."""
        if sequence in self.heard or len(self.heard) >= LETTERS_OF_A_SESSION_MAX:
            return False
        self.heard.add(sequence)
        return True


class Sessions:
    """The table. `now_s` is any clock that does not jump, the same in each call."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Key, Session] = OrderedDict()
        self._of_peer: dict[PeerId, int] = {}
        self._newest_ms: dict[PeerId, int] = {}
        self._offered_ms: dict[PeerId, int] = {}
        self._open = 0

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, key: Key, now_s: float) -> Session | None:
        """The session, as long as it lives."""
        self._expire(now_s)
        return self._sessions.get(key)

    def begin(self, key: Key, now_s: float, *, knocked: bool, open_: bool = False, time_ms: int = 0) -> Session | None:
        """A new session; None where there is one of that name, or no room: what is there is never pushed out.

        time_ms: of the knock that it begins with, by its sender's clock.
        """
        self._expire(now_s)
        peer = key[0]
        if key in self._sessions or self._of_peer.get(peer, 0) >= SESSIONS_OF_A_PEER_MAX:
            return None
        if len(self._sessions) >= SESSIONS_MAX or (open_ and self._open >= OPEN_SESSIONS_MAX):
            return None
        session = self._sessions[key] = Session(now_s + SESSION_LIFE_S, knocked, now_s, open=open_)
        self._open += open_
        self._newest_ms[peer] = max(time_ms, self._newest_ms.get(peer, 0))
        self._of_peer[peer] = self._of_peer.get(peer, 0) + 1
        return session

    def outdated(self, peer: PeerId, time_ms: int) -> bool:
        """Whether a knock of this time was overtaken: the peer has knocked later, and that session lives.

        Else a hub could keep a knock back, and let it take the place of one that is being answered over another hub.
        """
        return time_ms < self._newest_ms.get(peer, 0)

    def take_offer(self, peer: PeerId, time_ms: int) -> None:
        """An offer of theirs is acted on; time_ms: of that letter, by its sender's clock."""
        if peer in self._of_peer:
            self._offered_ms[peer] = max(time_ms, self._offered_ms.get(peer, 0))

    def overtaken(self, peer: PeerId, time_ms: int) -> bool:
        """Whether a knock of this time is older than an offer of theirs: it crossed ours, and that is settled.

        Else a hub that is slow could put it in the place of the offer, which is being answered.
        """
        return time_ms < self._offered_ms.get(peer, 0)

    def offering(self, peer: PeerId, now_s: float) -> Key | None:
        """The session in which an offer of ours to this peer is under way."""
        self._expire(now_s)
        if peer in self._of_peer:
            for key, session in self._sessions.items():
                if key[0] == peer and now_s - session.ours_s < CROSSING_S:
                    return key
        return None

    def crossing(self, peer: PeerId, now_s: float) -> str | None:
        """The name of a knock of ours at this peer that is under way, the newest."""
        self._expire(now_s)
        if peer not in self._of_peer:
            return None
        for (other, name), session in reversed(self._sessions.items()):
            if other == peer and session.knocked and session.theirs is None and now_s - session.began_s < CROSSING_S:
                return name
        return None

    def _expire(self, now_s: float) -> None:
        while self._sessions:
            key, session = next(iter(self._sessions.items()))
            if session.expires_s > now_s:
                return
            del self._sessions[key]
            self._open -= session.open
            self._of_peer[key[0]] -= 1
            if not self._of_peer[key[0]]:
                del self._of_peer[key[0]]
                del self._newest_ms[key[0]]
                self._offered_ms.pop(key[0], None)
