"""Who listens to which channel, and what is on its way to them: a hub without its sockets. No I/O, no clock.

Posts are gathered and taken in one batch, so that a subscriber gets one write however many posts came meanwhile.
Names are raw bytes, `<app>/<channel>`, because a signalhub decodes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)

Frames = Sequence[bytes]


class RoomsFull(Exception):
    """A limit of the hub is reached; `str()` says which."""


class _Channel(Generic[S]):
    __slots__ = ("frames", "mixed", "readers")

    def __init__(self) -> None:
        self.readers: dict[S, None] = {}
        """Subscribers of this channel alone: they share one batch."""
        self.mixed: dict[S, int] = {}
        """Subscribers of several channels (or of this one several times): each has a batch of its own, in order."""
        self.frames: list[bytes] = []


class Rooms(Generic[S]):
    """The channels of one hub; `S` is whatever stands for a subscriber."""

    def __init__(
        self, *, channels_max: int, subscribers_max: int, channels_per_subscriber_max: int, heartbeat_s: float
    ) -> None:
        self._channels_max = channels_max
        self._subscribers_max = subscribers_max
        self._channels_per_subscriber_max = channels_per_subscriber_max
        self._heartbeat_s = heartbeat_s
        self._channels: dict[bytes, _Channel[S]] = {}
        self._names: dict[S, Sequence[bytes]] = {}
        self._subscriptions = 0
        self._dirty: list[_Channel[S]] = []
        self._batches: dict[S, list[bytes]] = {}
        self._beats: OrderedDict[bytes, float] = OrderedDict()

    @property
    def subscriptions(self) -> int:
        """Subscriptions now; one subscriber of three channels counts three."""
        return self._subscriptions

    @property
    def channels(self) -> int:
        """Channels with at least one subscriber."""
        return len(self._channels)

    @property
    def pending(self) -> bool:
        """Whether there is something to take."""
        return bool(self._dirty)

    def subscribe(self, subscriber: S, names: Sequence[bytes], now_s: float) -> None:
        """Let `subscriber` hear `names` (a name given twice is heard twice), from the next post on.

        What was posted before must have been taken. Raises RoomsFull, and then changes nothing.
        """
        self.check(names)
        for name in names:
            channel = self._channels.get(name)
            if channel is None:
                channel = self._channels[name] = _Channel()
                self._beats[name] = now_s + self._heartbeat_s
            if len(names) == 1:
                channel.readers[subscriber] = None
            else:
                channel.mixed[subscriber] = channel.mixed.get(subscriber, 0) + 1
        self._names[subscriber] = names
        self._subscriptions += len(names)

    def check(self, names: Sequence[bytes], waiting: int = 0) -> None:
        """Raises RoomsFull where there is no room for `names` beside `waiting` more subscriptions to come."""
        if len(names) > self._channels_per_subscriber_max:
            raise RoomsFull(f"more than {self._channels_per_subscriber_max} channels in one request")
        if self._subscriptions + waiting + len(names) > self._subscribers_max:
            raise RoomsFull(f"the hub has {self._subscribers_max} subscribers")
        fresh = {name for name in names if name not in self._channels}
        if len(self._channels) + waiting + len(fresh) > self._channels_max:
            raise RoomsFull(f"the hub has {self._channels_max} channels")

    def unsubscribe(self, subscriber: S) -> Sequence[bytes]:
        """Forget a subscriber and the channels that nobody hears any more; returns what it heard."""
        names = self._names.pop(subscriber, ())
        self._subscriptions -= len(names)
        self._batches.pop(subscriber, None)
        for name in names:
            channel = self._channels.get(name)
            if channel is None:
                continue
            channel.readers.pop(subscriber, None)
            channel.mixed.pop(subscriber, None)
            if not channel.readers and not channel.mixed:
                del self._channels[name], self._beats[name]
        return names

    def post(self, name: bytes, frame: bytes) -> int:
        """Queue `frame` for whoever hears `name` now; returns how many deliveries that makes."""
        channel = self._channels.get(name)
        return 0 if channel is None else self._queue(channel, frame)

    def beat(self, frame: bytes, now_s: float) -> None:
        """Queue the heartbeat `frame` on every channel for which it is due."""
        while self._beats:
            name, due_s = next(iter(self._beats.items()))
            if due_s > now_s:
                return
            self._beats[name] = now_s + self._heartbeat_s
            self._beats.move_to_end(name)
            self._queue(self._channels[name], frame)

    def take(self) -> Iterator[tuple[Frames, Collection[S]]]:
        """What is queued, as (frames, the subscribers that get exactly these); afterwards nothing is queued.

        Must be read to its end, and the rooms must not change meanwhile.
        """
        dirty, self._dirty = self._dirty, []
        for channel in dirty:
            frames, channel.frames = channel.frames, []
            if channel.readers:
                yield frames, channel.readers
        batches, self._batches = self._batches, {}
        for subscriber, frames in batches.items():
            yield frames, (subscriber,)

    def _queue(self, channel: _Channel[S], frame: bytes) -> int:
        if not channel.frames:
            self._dirty.append(channel)
        channel.frames.append(frame)
        deliveries = len(channel.readers)
        for subscriber, times in channel.mixed.items():
            batch = self._batches.get(subscriber)
            if batch is None:
                batch = self._batches[subscriber] = []
            batch.extend([frame] * times)
            deliveries += times
        return deliveries
