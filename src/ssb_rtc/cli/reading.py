"""Reading an input that may keep us waiting, like a pipe or a terminal, so that an interrupt still ends the command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator
from typing import BinaryIO

from ssb_rtc.cli import output
from ssb_rtc.errors import MisuseError

CHUNK_BYTES = 1 << 16


def somebody_types() -> bool:
    """Whether standard input is a terminal that we may read: reading one from the background stops the process."""
    try:
        return os.tcgetpgrp(output.standard_input().fileno()) == os.getpgrp()
    except (OSError, MisuseError):
        return False


async def chunks_of(source: BinaryIO) -> AsyncIterator[bytes]:
    """The bytes of an input of which nothing has been read yet, as they come. Raises MisuseError."""
    while chunk := await _read(source.fileno()):
        yield chunk


async def _read(descriptor: int) -> bytes:
    # An executor's threads are joined before the process ends, which would wait for whoever holds the pipe open; and
    # a thread that the end of the process finds inside a buffered file would hold that file's lock.
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(data: bytes, fault: OSError | None) -> None:
        if done.done():
            return
        if fault is None:
            done.set_result(data)
        else:
            done.set_exception(
                MisuseError(f"can't read the input: {fault.strerror}; name a file, or - for standard input")
            )

    def read() -> None:
        data, fault = b"", None
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except OSError as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop is closed already: nobody waits for this any more
            loop.call_soon_threadsafe(settle, data, fault)

    threading.Thread(target=read, daemon=True, name="input").start()
    return await done
