"""A shared notebook: whoever follows each other writes into it and corrects it, online or not, and all see the same.

    python examples/notebook.py alice --net 8008
    python examples/notebook.py bob --net 8009 --join 'net:127.0.0.1:8008~shs:...'

Then type:  add buy milk  |  edit 1 buy oat milk  |  list  |  follow @...=.ed25519
"""

import argparse
import asyncio
import contextlib
import sys

from ssb_rtc import FeedId, Message, Peer, Settings, SsbRtcError


class Notebook:
    """Lines in the order in which they were first written. Who edits last, wins, on every machine."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._first: dict[str, Message] = {}
        self._newest: dict[str, Message] = {}

    async def watch(self) -> None:
        """Takes in what is there, then what comes, from us and from everybody whom we follow."""
        async for message in self._peer.messages(type="notebook", live=True):
            text, line = message.content.get("text"), message.content.get("line", message.key)
            if not isinstance(text, str) or not isinstance(line, str):
                continue  # anybody may write anything under this type
            if line == message.key:
                self._first[line] = message
            rank = (message.timestamp_ms, message.key)
            newest = self._newest.get(line)
            if newest is None or rank > (newest.timestamp_ms, newest.key):
                self._newest[line] = message
                print(f"  {message.author[:6]} wrote: {text}", flush=True)

    def lines(self) -> list[str]:
        """The ids of all lines: those of the messages that began them."""
        return sorted(self._first, key=lambda line: (self._first[line].timestamp_ms, line))

    async def obey(self, command: str, rest: str) -> None:
        """Does what was typed."""
        match command:
            case "add":
                await self._peer.publish({"type": "notebook", "text": rest})
            case "edit":
                number, _, text = rest.partition(" ")
                await self._peer.publish({"type": "notebook", "text": text, "line": self.lines()[int(number) - 1]})
            case "follow":
                await self._peer.follow(FeedId(rest))
            case "list":
                for place, line in enumerate(self.lines(), 1):
                    print(f"{place}. {self._newest[line].content['text']}", flush=True)
            case _:
                print(__doc__, flush=True)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="where this notebook is kept")
    parser.add_argument("--net", type=int, metavar="PORT", help="the port that others can join at")
    parser.add_argument("--join", action="append", default=[], metavar="ADDRESS", help="share with who is there")
    given = parser.parse_args()
    async with Peer(given.folder, Settings(net=given.net)) as peer, asyncio.TaskGroup() as tasks:
        print("I am", peer.id, *peer.addresses, flush=True)
        notebook = Notebook(peer)
        watching = tasks.create_task(notebook.watch())
        for address in given.join:
            await peer.follow(FeedId((await peer.connect(address)).remote))
        typed = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(typed), sys.stdin)
        while line := await typed.readline():
            command, _, rest = line.decode().strip().partition(" ")
            try:
                await notebook.obey(command, rest)
            except (SsbRtcError, ValueError, IndexError) as error:
                print(f"that did not work: {error}", flush=True)
        watching.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
