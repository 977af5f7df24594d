"""Runs what answers the other side's calls, each call in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from ssb_rtc.errors import LinkClosed, MisuseError, RemoteCallError, SsbRtcError
from ssb_rtc.transport.streams import Duplex, Incoming, Outgoing
from ssb_rtc.types import Json
from ssb_rtc.wire.rpc import Called, Kind

if TYPE_CHECKING:
    from ssb_rtc.transport.rpc_link import Link

Handler = Callable[..., Any]
"""async, sync: `async def h(link, *args) -> Json`; source: `def h(link, *args) -> AsyncIterator[Json | bytes]` (an
async generator); sink: `async def h(link, incoming, *args)`; duplex: `async def h(link, duplex, *args)`."""

Work = Callable[[], Coroutine[Any, Any, None]]

INTERNAL_ERROR = "internal error"


class Caller(Enum):
    """What the other end of a link is to us, which decides what it may call."""

    OWNER = "local"
    """Acts for us: a program on this machine, or whoever proved that it holds our own key."""
    PEER = "remote"
    """Somebody else."""
    GUEST = "guest"
    """Proved nothing but that it holds an invite of ours."""


class Router(Protocol):
    """Finds what answers a remote call."""

    def find(self, name: tuple[str, ...], kind: Kind, link: Link) -> Handler:
        """The handler, or RemoteCallError with the text that the caller shall hear. ASYNC stands for SYNC as well."""


class ServesNothing:
    """The router of who only calls."""

    def find(self, name: tuple[str, ...], kind: Kind, link: Link) -> Handler:
        """See Router."""
        del kind, link
        raise RemoteCallError(f"muxrpc: no such command: {'.'.join(name)}")


class Serving:
    """The running handlers of one link."""

    def __init__(self, link: Link, router: Router) -> None:
        self._link = link
        self._router = router
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._sinks: dict[int, Incoming] = {}

    def start(self, called: Called) -> None:
        """Looks the call up and runs its handler."""
        try:
            handler = self._router.find(called.name, called.kind, self._link)
        except Exception as error:
            self._answer_failure(called, error)
            return
        # The stream is known before the handler runs: its first items may stand in the same packet as the call.
        self.run(called, _RUNNERS[called.kind](self, called, handler))

    def run(self, called: Called, work: Work) -> None:
        """Runs `work` as the answer to this call; an error in it is what the caller hears."""
        task = asyncio.get_running_loop().create_task(self._guard(called, work), name=f"serve {'.'.join(called.name)}")
        self._tasks[called.request] = task
        task.add_done_callback(lambda _: self._forget(called.request))

    def _forget(self, request: int) -> None:
        self._tasks.pop(request, None)
        self._sinks.pop(request, None)

    def stop(self, request: int) -> None:
        """The caller wants no more of this source."""
        task = self._tasks.get(request)
        if task is not None:
            task.cancel()

    def cancel_all(self) -> list[asyncio.Task[None]]:
        """Cancels every handler but the one that calls this; returns those to wait for.

        A sink that has got everything may finish: JavaScript takes what it has sent for done and closes (blobs.add).
        """
        current = asyncio.current_task()
        others = {request: task for request, task in self._tasks.items() if task is not current}
        for request, task in others.items():
            if request not in self._sinks or not self._sinks[request].arrived_whole:
                task.cancel()
        return list(others.values())

    async def _guard(self, called: Called, work: Work) -> None:
        try:
            # Not a coroutine made before: a task that is cancelled before its first step would never await it.
            await work()
        except Exception as error:
            self._answer_failure(called, error)

    def _answer_failure(self, called: Called, error: Exception) -> None:
        """Tells the caller what it may know of this error; a defect of ours goes to the loop's exception handler."""
        match error:
            case RemoteCallError():
                told = error
            case LinkClosed():
                told = RemoteCallError("the stream ended")
            case _ArgumentsRefused():
                told = RemoteCallError("wrong number of arguments", name="TypeError")
            case SsbRtcError():
                # Our own errors name files and settings: none of a remote caller's business, but a local one's.
                known = self._link.local or isinstance(error, MisuseError)
                told = RemoteCallError(str(error) if known else INTERNAL_ERROR, name=type(error).__name__)
            case _:
                told = RemoteCallError(INTERNAL_ERROR)
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"the handler of {'.'.join(called.name)} failed", "exception": error}
                )
        self._link.answer_error(called, told)

    def _answer(self, called: Called, handler: Handler) -> Work:
        async def work() -> None:
            self._link.answer(called, await _begin(handler, self._link, *called.args))

        return work

    def _source(self, called: Called, handler: Handler) -> Work:
        outgoing = Outgoing(self._link, called.request)
        self._link.adopt(outgoing)

        async def work() -> None:
            values = _begin(handler, self._link, *called.args)
            try:
                async for value in values:
                    await outgoing.send(value)
                    del value  # thousands of sources that wait must not each hold their last item
            finally:
                close = getattr(values, "aclose", None)
                if close is not None:
                    await close()
            await outgoing.end()

        return work

    def _sink(self, called: Called, handler: Handler) -> Work:
        incoming = Incoming(self._link, called.request)
        self._sinks[called.request] = incoming
        return self._reading(incoming, called, handler)

    def _duplex(self, called: Called, handler: Handler) -> Work:
        return self._reading(Duplex(self._link, called.request), called, handler)

    def _reading(self, stream: Incoming, called: Called, handler: Handler) -> Work:
        self._link.adopt(stream)

        async def work() -> None:
            try:
                await _begin(handler, self._link, stream, *called.args)
            finally:
                stream.abandon()
            self._link.end_stream(called.request, None)

        return work


class _ArgumentsRefused(TypeError):
    """The handler does not take these arguments."""


def _begin(handler: Handler, *args: Json) -> Any:
    """Calls the handler; a TypeError raised by the call itself means that the remote's arguments do not fit."""
    try:
        return handler(*args)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            raise _ArgumentsRefused(str(error)) from error
        raise


_RUNNERS: dict[Kind, Callable[[Serving, Called, Handler], Work]] = {
    Kind.ASYNC: Serving._answer,
    Kind.SYNC: Serving._answer,
    Kind.SOURCE: Serving._source,
    Kind.SINK: Serving._sink,
    Kind.DUPLEX: Serving._duplex,
}
