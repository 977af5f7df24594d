"""What applications rely on: the public names, the signatures of a peer's methods, and a docstring for each of them.

A change here is a change of the library's interface: write it into the change log.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

import ssb_rtc
import ssb_rtc.testing
from ssb_rtc import Peer
from ssb_rtc.testing import Clock, Swarm

NAMES = [
    "AuthorFault", "BlobId", "BlobMissing", "BlobsFull", "ConfigFault", "ConnectFailed", "Context", "Duplex",
    "FeedId", "Handler", "HubUrl",
    "Incoming", "Link", "LinkClosed", "ListenFailed", "Message", "MessageInvalid", "MisuseError", "MsgId", "Peer",
    "PeerId", "PermissionLists", "Plugin", "RemoteCallError", "Settings", "SsbRtcError", "StorageFault", "__version__",
]  # fmt: skip

TESTING_NAMES = ["Clock", "NotConverged", "Swarm", "Topology", "Way", "keys_of"]

PEER = {
    "__init__": "(folder: Path | str, settings: Settings | None = None, *, create: bool = True, online: bool = True,"
    " restored: bool = False, plugins: Iterable[Plugin] = (), now_ms: Callable[[], int] = ...,"
    " transports: Iterable[Transport] | None = None) -> None",
    "addresses": "-> list[str]",
    "blobs": "-> BlobApi",
    "block": "async (feed: FeedId, reason: str | None = None) -> Message",
    "connect": "async (address: str, *, pin: bool = False) -> Link",
    "follow": "async (feed: FeedId) -> Message",
    "get": "(key: MsgId) -> Message | None",
    "id": "-> FeedId",
    "ids_by_feed": "() -> dict[FeedId, list[MsgId]]",
    "keys": "-> Keys",
    "local_link": "() -> AsyncIterator[Link]",
    "messages": "(*, author: FeedId | None = None, type: str | None = None,"
    " links_to: MsgId | FeedId | BlobId | None = None, rel: str | None = None, private: bool | None = None,"
    " newest_first: bool = False, limit: int | None = None, old: bool = True, live: bool = False)"
    " -> AsyncGenerator[Message]",
    "publish": "async (content: JsonObject, *, to: Sequence[FeedId] = (), durable: bool = False) -> Message",
    "rpc": "(peer: str) -> Link",
    "start": "async () -> None",
    "status": "() -> JsonObject",
    "unblock": "async (feed: FeedId) -> Message",
    "unfollow": "async (feed: FeedId) -> Message",
    "unpin": "(peer: str) -> None",
}

SWARM = {
    "__init__": "(folder: Path | str, *, way: Way = 'memory', clock: Clock | None = None, introductions: bool = False)"
    " -> None",
    "befriend": "async (*peers: Peer) -> None",
    "close": "async () -> None",
    "connect": "async (*how: Topology | tuple[Peer, Peer]) -> None",
    "converged": "async (*peers: Peer, limit_s: float = 30.0) -> None",
    "cut": "async (*between: tuple[Peer, Peer]) -> None",
    "heal": "async (*between: tuple[Peer, Peer]) -> None",
    "name_of": "(peer: Peer) -> str",
    "online": "-> list[Peer]",
    "open": "-> list[Peer]",
    "partition": "async (*groups: Iterable[Peer]) -> None",
    "peer": "async (name: str, *, settings: Settings | None = None, plugins: Iterable[Callable[[], Plugin]] = (),"
    " online: bool = True) -> Peer",
    "peers": "async (*names: str, settings: Settings | None = None, plugins: Iterable[Callable[[], Plugin]] = (),"
    " online: bool = True) -> list[Peer]",
    "restart": "async (peer: Peer, *, online: bool = True) -> Peer",
    "stop": "async (peer: Peer) -> None",
    "until": "async (condition: Callable[[], object], what: str = 'it', *, limit_s: float = 30.0) -> None",
}


def public(kind: type) -> dict[str, Any]:
    """What a class itself defines for its users: its constructor, methods and properties."""
    return {
        name: member
        for name, member in vars(kind).items()
        if (name == "__init__" or not name.startswith("_"))
        and isinstance(member, types.FunctionType | property | staticmethod | classmethod)
    }


def signature(member: Any) -> str:
    """As in the tables above: without `self`, and with `...` for a default that is a function."""
    if isinstance(member, property):
        return f"-> {inspect.signature(member.fget).return_annotation}"  # type: ignore[arg-type]
    found = inspect.signature(member)
    parameters = [
        parameter.replace(default=...) if callable(parameter.default) and parameter.default is not parameter.empty
        else parameter
        for parameter in list(found.parameters.values())[1:]
    ]  # fmt: skip
    text = f"({', '.join(_spelled(parameter, parameters[:at]) for at, parameter in enumerate(parameters))})"
    return f"{'async ' if inspect.iscoroutinefunction(member) else ''}{text} -> {found.return_annotation}"


def _spelled(parameter: inspect.Parameter, before: list[inspect.Parameter]) -> str:
    text = str(parameter).replace("'" + str(parameter.annotation) + "'", str(parameter.annotation))
    text = text.replace("Ellipsis", "...")
    first_named = parameter.kind is parameter.KEYWORD_ONLY and not any(
        other.kind in (other.KEYWORD_ONLY, other.VAR_POSITIONAL) for other in before
    )
    return f"*, {text}" if first_named else text


def test_the_public_names() -> None:
    assert ssb_rtc.__all__ == NAMES
    assert ssb_rtc.testing.__all__ == TESTING_NAMES
    for name in NAMES:
        assert getattr(ssb_rtc, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Pear'"):
        ssb_rtc.Pear  # noqa: B018


@pytest.mark.parametrize(("kind", "table"), [(Peer, PEER), (Swarm, SWARM)])
def test_the_signatures(kind: type, table: dict[str, str]) -> None:
    assert {name: signature(member) for name, member in public(kind).items()} == table


def reachable() -> Iterator[tuple[str, Any]]:
    """Everything that an application gets by its public name, and what those classes hold for it."""
    for module, names in ((ssb_rtc, ssb_rtc.__all__), (ssb_rtc.testing, ssb_rtc.testing.__all__)):
        yield module.__name__, module
        for name in names:
            thing = getattr(module, name)
            if not isinstance(thing, type) and not inspect.isfunction(thing):
                continue  # an alias or a text, which has no docstring of its own
            yield name, thing
            if isinstance(thing, type):
                yield from ((f"{name}.{member}", found) for member, found in public(thing).items())


def test_everything_public_is_documented() -> None:
    # Not inspect.getdoc, which takes a base's; and a dataclass without one gets its signature.
    documents = {name: thing.__doc__ for name, thing in reachable() if not name.endswith("__init__")}
    assert len(documents) > 80
    assert [name for name, text in documents.items() if not text or text.startswith(f"{name}(")] == []


def test_the_import_is_cheap() -> None:
    """Names load when they are used: `import ssb_rtc` alone loads no network, no storage and no WebRTC."""
    loaded = "import sys, ssb_rtc; print(*(m for m in sys.modules if m.split('.')[0] in sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", loaded, "asyncio", "aiohttp", "webrtc", "sqlite3", "nacl"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == ""


def test_pytest_is_needed_for_the_fixtures_only() -> None:
    loaded = "import sys, ssb_rtc.testing; print('pytest' in sys.modules, 'webrtc' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False False"


def test_the_clocks_signature() -> None:
    assert signature(Clock.__init__) == "(now_ms: int = 1700000000000, *, tick_ms: int = 1) -> None"
