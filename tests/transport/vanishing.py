"""A process that offers a data channel, says something on it, and waits to be killed. Argument: the backend."""

from __future__ import annotations

import asyncio
import json
import sys

from ssb_rtc.wire.swarm import parse_signal, signal_to_json
from tests.transport.channels import LOOPBACK, backend


async def main() -> None:
    loop = asyncio.get_running_loop()
    channel = backend(sys.argv[1]).create(
        LOOPBACK, initiator=True, on_signal=lambda signal: print(json.dumps(signal_to_json(signal)), flush=True)
    )
    channel.start()
    while True:
        line = await loop.run_in_executor(None, sys.stdin.readline)
        signal = parse_signal(json.loads(line))
        if signal is not None:
            channel.signal(signal)
            if signal.kind == "answer":
                break
    stream = await channel.opened()
    stream.write(b"here I am")
    await asyncio.Event().wait()


asyncio.run(main())
