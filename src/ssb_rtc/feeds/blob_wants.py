"""Who wants which blob, who has it, and what to ask of whom: the gossip of ssb-blobs 2.0.1 without I/O.

Peers send each other **notes** over `blobs.createWants`: {blob id: number}. -1 is "I want it", -2 "somebody that I am
linked to wants it", and so on; a positive number is "I have it, this many bytes". Who hears a want and has the blob
answers with its size; who has it not may want it too, one hop further off, out of **sympathy**. A **push** pretends to
want what we have, until enough peers say that they have it.

Where this is narrower than ssb-blobs: a want that comes nearer replaces one further off (there, the other way round);
sizes are told to those who asked, not to everybody; and what strangers make us remember has limits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ssb_rtc.feeds.refs import is_blob_id
from ssb_rtc.types import BlobId, PeerId

SIZE_LIMIT_BYTES: Final = 5 * 1024 * 1024
"""Blobs of this size and above are not taken: `max` of ssb-blobs."""
SYMPATHY: Final = 3
"""Up to how many hops off a want may come from: `sympathy` of ssb-blobs."""
PUSH_PEERS: Final = 3
"""A push ends when this many peers have the blob: `pushy` of ssb-blobs."""

OWN: Final = -1
EMPTY_BLOB: Final = BlobId("&47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=.sha256")
"""No bytes at all: everybody has it, and nobody stores it."""

WANTS_PER_LINK_MAX: Final = 10_000
"""Wants of one link that we remember, to tell it when the blob arrives."""
SYMPATHY_PER_PEER_MAX: Final = 1_000
"""Wants that we take over from one peer; and from all together:"""
SYMPATHY_MAX: Final = 10_000
SYMPATHY_LIFE_S: Final = 3_600.0
"""A want of others is given up when this long nobody who is linked has asked."""
NOTES_PER_ITEM_MAX: Final = 1_000
NOTES_QUEUED_MAX: Final = 50_000
FETCHES_MAX: Final = 8
FETCHES_FOR_OTHERS_MAX: Final = 6
"""So that what others make us fetch never takes all places."""
FETCHES_PER_LINK_MAX: Final = 2
RETRY_S: Final = 10.0
"""How long a source that failed is left alone, doubled with each failure, up to:"""
RETRY_MAX_S: Final = 600.0
SIZE_MAX: Final = 2**53 - 1

LinkKey = int
"""Tells the links apart; two links may lead to one peer."""


@dataclass(frozen=True, slots=True)
class Notes:
    """What was understood of a remote's notes."""

    wants: list[tuple[BlobId, int]]
    """Blob and hops, below zero."""
    has: list[tuple[BlobId, int]]
    """Blob and bytes, above zero."""


def read_notes(entries: Iterable[tuple[object, object]]) -> Notes:
    """Sorts a remote's entries; what has no meaning is left out, as ssb-blobs does. Never raises."""
    notes = Notes([], [])
    for blob, number in entries:
        if type(number) is not int or not isinstance(blob, str) or not is_blob_id(blob) or blob == EMPTY_BLOB:
            continue
        if not blob.endswith(".sha256"):
            continue  # ssb-ref takes any character for the dot
        if number < 0:
            notes.wants.append((BlobId(blob), number))
        elif 0 < number <= SIZE_MAX:
            notes.has.append((BlobId(blob), number))
    return notes


@dataclass(frozen=True, slots=True)
class Fetch:
    """An order: get this blob over this link."""

    blob: BlobId
    link: LinkKey
    size: int
    """What the remote says; more bytes than that are a fault."""
    own: bool
    """For ourselves, not out of sympathy."""


class Outcome(Enum):
    """How a fetch ended."""

    ARRIVED = "arrived"
    FAILED = "failed"
    """Refused, cut or too slow: this source may be asked again later."""
    LIED = "lied"
    """Other bytes than announced: this link is not asked for the blob again."""
    NO_ROOM = "no room"
    """We can't store it: a want of others is given up, our own rests."""


@dataclass(slots=True)
class _Want:
    hops: int
    size_limit: int
    """Blobs of this size and above are not fetched for this want."""
    asked_s: float = 0.0
    counts_for: PeerId | None = None
    """Whose request we took over, None for our own."""
    sources: dict[LinkKey, int] = field(default_factory=dict)
    resting: set[LinkKey] = field(default_factory=set)
    """Sources that failed lately."""
    barred: set[LinkKey] = field(default_factory=set)
    """Those that lied."""
    failures: int = 0
    refused_size: int | None = None
    """What a remote has of it and is too great."""


@dataclass(slots=True)
class _Remote:
    peer: PeerId
    listening: bool = False
    notes: dict[BlobId, int] = field(default_factory=dict)
    """Wants of ours that it shall hear."""
    answers: dict[BlobId, int] = field(default_factory=dict)
    """Sizes that it asked for. Apart from `notes`: we may push what it wants."""
    wants: set[BlobId] = field(default_factory=set)
    """What it asked for and we had not."""
    ready: deque[BlobId] = field(default_factory=deque)
    """What it could be asked for our own sake; checked again when its turn comes."""
    ready_for_others: deque[BlobId] = field(default_factory=deque)
    getting: int = 0


class BlobWants:
    """The wants of one peer and its links. Times are seconds of a monotonic clock."""

    def __init__(
        self, *, sympathy: int = SYMPATHY, size_limit: int = SIZE_LIMIT_BYTES, push_peers: int = PUSH_PEERS
    ) -> None:
        self._sympathy = sympathy
        self._size_limit = size_limit
        self._push_peers = push_peers
        self._remotes: dict[LinkKey, _Remote] = {}
        self._wants: dict[BlobId, _Want] = {}
        self._for_others: Counter[PeerId] = Counter()
        self._pushes: dict[BlobId, set[PeerId]] = {}
        self._resting: list[tuple[float, BlobId, LinkKey]] = []
        self._running: set[BlobId] = set()
        """What is being fetched, also when it is no longer wanted."""
        self._expires_s = 0.0

    # --- what we want and have ---

    def want(self, blob: BlobId, *, size_limit: int | None = None) -> None:
        """We want this blob for ourselves, of fewer bytes than `size_limit` (default: as for all)."""
        limit = self._size_limit if size_limit is None else size_limit
        want = self._wants.get(blob)
        if want is None:
            self._wants[blob] = _Want(OWN, limit)
        else:
            was_own, want.hops, want.size_limit = want.hops == OWN, OWN, limit
            self._disown(want)
            for link in () if was_own else want.sources:
                self._queue(link, blob, want)
        self._broadcast(blob, OWN)

    def unwant(self, blob: BlobId) -> None:
        """Nobody is asked for it any more."""
        want = self._wants.pop(blob, None)
        if want is not None:
            self._disown(want)

    def is_own(self, blob: BlobId) -> bool:
        """We want it for ourselves."""
        want = self._wants.get(blob)
        return want is not None and want.hops == OWN

    def refused_size(self, blob: BlobId) -> int | None:
        """The bytes that a remote has of a wanted blob, when they are too many for us to fetch; else None."""
        want = self._wants.get(blob)
        return want.refused_size if want is not None else None

    @property
    def wanted(self) -> dict[BlobId, int]:
        """All wants now, with their hops."""
        return {blob: want.hops for blob, want in self._wants.items()}

    def push(self, blob: BlobId, holders: Iterable[PeerId] = ()) -> None:
        """Asks peers to take a blob that we have, until enough of them have it; `holders` are known to."""
        self._pushes.setdefault(blob, set()).update(holders)
        self._broadcast(blob, OWN)

    def unpush(self, blob: BlobId) -> None:
        """Ends a push."""
        self._pushes.pop(blob, None)

    @property
    def pushes(self) -> dict[BlobId, frozenset[PeerId]]:
        """The pushes that go on, and who has the blob so far."""
        return {blob: frozenset(holders) for blob, holders in self._pushes.items()}

    def arrived(self, blob: BlobId, size: int) -> None:
        """We hold this blob now: nobody is asked any more, and those who asked us are told."""
        self.unwant(blob)
        for remote in self._remotes.values():
            if blob in remote.wants:
                remote.wants.discard(blob)
                _put(remote.answers, blob, size)

    # --- links ---

    def connect(self, link: LinkKey, peer: PeerId) -> None:
        """A link to this peer is up; a second call does nothing."""
        self._remotes.setdefault(link, _Remote(peer))

    def disconnect(self, link: LinkKey) -> None:
        """The link has ended. A fetch over it is still to be reported with `fetched`."""
        self._remotes.pop(link, None)
        for want in self._wants.values():
            want.sources.pop(link, None)
            want.resting.discard(link)
            want.barred.discard(link)

    def listen(self, link: LinkKey) -> None:
        """The remote asked for our notes: it shall hear all of them."""
        remote = self._remotes[link]
        remote.listening = True
        remote.notes = {blob: want.hops for blob, want in self._wants.items()}
        remote.notes.update(dict.fromkeys(self._pushes, OWN))

    def unlisten(self, link: LinkKey) -> None:
        """The remote takes no more notes."""
        if link in self._remotes:
            self._remotes[link].listening = False
            self._remotes[link].notes = {}

    def take_notes(self, link: LinkKey) -> dict[BlobId, int]:
        """What to tell this link next, {} for nothing."""
        remote = self._remotes[link]
        if remote.answers:
            taken, remote.answers = _split(remote.answers)
        else:
            taken, remote.notes = _split(remote.notes)
        return taken

    # --- what a remote says ---

    def remote_wants(self, link: LinkKey, blob: BlobId, hops: int, size: int | None, now_s: float) -> None:
        """The remote wants a blob; `size` is what we hold of it, None when we have it not."""
        remote = self._remotes.get(link)
        if remote is None:
            return
        if size:
            _put(remote.answers, blob, size)
            return
        if len(remote.wants) < WANTS_PER_LINK_MAX:
            remote.wants.add(blob)
        self._sympathise(remote.peer, blob, hops - 1, now_s)

    def _sympathise(self, peer: PeerId, blob: BlobId, hops: int, now_s: float) -> None:
        want = self._wants.get(blob)
        if want is not None:
            want.asked_s = now_s
            if want.hops < hops and -hops <= self._sympathy:
                want.hops = hops
                self._broadcast(blob, hops)
            return
        if -hops > self._sympathy or self._for_others[peer] >= SYMPATHY_PER_PEER_MAX:
            return
        if self._for_others.total() >= SYMPATHY_MAX:
            return
        self._for_others[peer] += 1
        self._wants[blob] = _Want(hops, self._size_limit, now_s, peer)
        self._broadcast(blob, hops)

    def remote_has(self, link: LinkKey, blob: BlobId, size: int) -> bool:
        """The remote says that it has a blob. True when this is news for a push (see `pushes`)."""
        remote = self._remotes.get(link)
        if remote is None:
            return False
        want = self._wants.get(blob)
        if want is not None and size >= want.size_limit:
            want.refused_size = size
        elif want is not None and link not in want.barred:
            is_new = link not in want.sources
            want.sources[link] = size
            if is_new:
                self._queue(link, blob, want)
        holders = self._pushes.get(blob)
        if holders is None or remote.peer in holders:
            return False
        holders.add(remote.peer)
        if len(holders) >= self._push_peers:
            del self._pushes[blob]
        return True

    # --- fetching ---

    def next_fetch(self) -> Fetch | None:
        """The next blob to get, ours before those for others; it counts as begun. None: nothing can be begun now."""
        for own in (True, False):
            if len(self._running) >= (FETCHES_MAX if own else FETCHES_FOR_OTHERS_MAX):
                return None
            for link, remote in self._remotes.items():
                ready = remote.ready if own else remote.ready_for_others
                while ready and remote.getting < FETCHES_PER_LINK_MAX:
                    blob = ready.popleft()
                    want = self._wants.get(blob)
                    if want is None or blob in self._running or link not in want.sources or link in want.resting:
                        continue
                    self._running.add(blob)
                    remote.getting += 1
                    return Fetch(blob, link, want.sources[link], want.hops == OWN)
        return None

    def fetched(self, fetch: Fetch, outcome: Outcome, now_s: float) -> None:
        """A fetch has ended. After ARRIVED call `arrived` too, before or after this."""
        self._running.remove(fetch.blob)
        if fetch.link in self._remotes:
            self._remotes[fetch.link].getting -= 1
        want = self._wants.get(fetch.blob)
        if want is None:
            return
        if outcome is Outcome.NO_ROOM and want.hops != OWN:
            self.unwant(fetch.blob)
            return
        if fetch.link in want.sources and outcome is Outcome.LIED:
            del want.sources[fetch.link]
            want.barred.add(fetch.link)
        elif fetch.link in want.sources:
            rest_s = min(RETRY_S * 2.0 ** min(want.failures, 16), RETRY_MAX_S)
            want.resting.add(fetch.link)
            self._resting.append((now_s + rest_s, fetch.blob, fetch.link))
        want.failures += 1
        for link in want.sources:
            self._queue(link, fetch.blob, want)

    def tick(self, now_s: float) -> None:
        """Lets sources that failed be asked again, and gives up wants that nobody has any more. Once a second or so."""
        if self._resting:
            due = [rest for rest in self._resting if rest[0] <= now_s]
            if due:
                self._resting = [rest for rest in self._resting if rest[0] > now_s]
            for _, blob, link in due:
                want = self._wants.get(blob)
                if want is not None and link in want.resting:
                    want.resting.discard(link)
                    self._queue(link, blob, want)
        if now_s >= self._expires_s:
            self._expires_s = now_s + SYMPATHY_LIFE_S / 60
            self._expire(now_s)

    def _expire(self, now_s: float) -> None:
        old = [b for b, w in self._wants.items() if w.hops != OWN and w.asked_s + SYMPATHY_LIFE_S <= now_s]
        for blob in old:
            if blob not in self._running and not any(blob in r.wants for r in self._remotes.values()):
                self.unwant(blob)

    # --- parts ---

    def _queue(self, link: LinkKey, blob: BlobId, want: _Want) -> None:
        remote = self._remotes[link]
        (remote.ready if want.hops == OWN else remote.ready_for_others).append(blob)

    def _disown(self, want: _Want) -> None:
        """The want counts for nobody else any more."""
        if want.counts_for is not None:
            self._for_others[want.counts_for] -= 1
            if not self._for_others[want.counts_for]:
                del self._for_others[want.counts_for]
            want.counts_for = None

    def _broadcast(self, blob: BlobId, hops: int) -> None:
        for remote in self._remotes.values():
            if remote.listening:
                _put(remote.notes, blob, hops)


def _put(notes: dict[BlobId, int], blob: BlobId, number: int) -> None:
    if len(notes) < NOTES_QUEUED_MAX or blob in notes:
        notes[blob] = number


def _split(notes: dict[BlobId, int]) -> tuple[dict[BlobId, int], dict[BlobId, int]]:
    """The notes for the next item, and the rest."""
    if len(notes) <= NOTES_PER_ITEM_MAX:
        return notes, {}
    entries = list(notes.items())
    return dict(entries[:NOTES_PER_ITEM_MAX]), dict(entries[NOTES_PER_ITEM_MAX:])
