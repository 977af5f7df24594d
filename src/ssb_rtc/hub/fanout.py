"""The one loop that a hub spends its time in: the same bytes to everybody on a channel."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ssb_rtc.hub.connection import Connection


def deliver(frames: Sequence[bytes], readers: Iterable[Connection]) -> None:
    """One write for each of `readers`, straight to its socket where nothing waits before it.

    asyncio's transport takes 1.3 us more for the same, a sixth of all that a delivery costs; uvloop's half of that.
    Whatever the socket does not take, or any error of it, is the transport's to deal with.
    """
    chunked = frames[0] if len(frames) == 1 else b"".join(frames)
    size_bytes, write = len(chunked), os.write
    for reader in readers:
        descriptor = reader.descriptor
        if descriptor < 0 and (descriptor := reader.way_past()) < 0:
            reader.hear(frames)
            continue
        try:
            sent_bytes = write(descriptor, chunked)
        except OSError:
            sent_bytes = 0
        if sent_bytes != size_bytes:
            reader.hear_rest(chunked[sent_bytes:])
