"""The dashboard of a running peer, on the loopback of this machine: routes, and what each request must show first.

dashboard = Dashboard(port=0)
async with Peer(folder, settings, plugins=[dashboard.plugin]) as peer:
    await dashboard.start(peer)
    print(dashboard.new_url())
    ...
    await dashboard.close()
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final

from aiohttp import web
from aiohttp.typedefs import Handler as HttpHandler

import ssb_rtc
from ssb_rtc.dashboard import assets, blobs, guard, orders, streams
from ssb_rtc.dashboard.answers import HEADERS, Refused, error_answer, json_answer, status_of
from ssb_rtc.dashboard.api import Api
from ssb_rtc.dashboard.keyring import SECRET_CHARACTERS_MAX, Keyring, Session
from ssb_rtc.dashboard.live import LiveView
from ssb_rtc.errors import ListenFailed, MisuseError, SsbRtcError
from ssb_rtc.peer import Peer
from ssb_rtc.plugins.base import Context, PermissionLists
from ssb_rtc.runtime.http_connections import Connections
from ssb_rtc.transport.link import Handler, Link
from ssb_rtc.types import Json

logger = logging.getLogger(__name__)

HOST: Final = "127.0.0.1"
BODY_LIMIT_S: Final = 30.0
NO_SESSION: Final = "this page has no session: open the address that `ssb-rtc dashboard` prints"
SHUTDOWN_S: Final = 0.5
"""What is under way when the peer ends has so long."""


class DashboardPlugin:
    """`dashboard.url`: a fresh address, for whoever acts for the owner on this machine."""

    name = "dashboard"
    version = "1.0.0"
    manifest: ClassVar[Mapping[str, str]] = {"dashboard.url": "async"}
    permissions: ClassVar[PermissionLists] = {"remote": []}

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def init(self, context: Context) -> Mapping[str, Handler]:
        """See Plugin.init."""
        del context
        return {"dashboard.url": self._give_url}

    async def _give_url(self, _link: Link) -> Json:
        return self._url()


class Dashboard:
    """The server; `port` 0 takes a free one."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.plugin = DashboardPlugin(self.new_url)
        self._keyring = Keyring(time.monotonic())
        self._assets = assets.load()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._connections: Connections
        self._peer: Peer
        self._api: Api
        self._live: LiveView

    # --- life ---

    async def start(self, peer: Peer) -> None:
        """Serves this peer, which is online. Raises ListenFailed."""
        self._peer = peer
        self._api = Api(peer)
        self._live = LiveView(peer, ssb_rtc.__version__)
        app = web.Application(middlewares=[self._guard], client_max_size=orders.BODY_MAX)
        app.on_response_prepare.append(_add_headers)
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        serve = self._runner.server
        assert serve is not None
        self._connections = Connections(serve, _no_http)
        listening = _listen(self.port)
        self.port = listening.getsockname()[1]
        self._server = await asyncio.get_running_loop().create_server(self._connections, sock=listening)

    async def close(self) -> None:
        """Ends all streams and connections."""
        if self._server is not None:
            self._server.close()
            await self._live.shut()
        if self._runner is not None:
            await self._runner.cleanup()

    def new_url(self) -> str:
        """An address that opens the dashboard once. Raises MisuseError before `start`."""
        if self._server is None:
            raise MisuseError("the dashboard is not running: start the peer without --dashboard no")
        return f"{self.origin}/#token={self._keyring.new_token(time.monotonic())}"

    @property
    def origin(self) -> str:
        """Like http://127.0.0.1:8099."""
        return f"http://{HOST}:{self.port}"

    # --- routes ---

    def _routes(self) -> list[web.RouteDef]:
        api = self._api
        routes = [
            _get("/api/session", self._get_session),
            web.post("/api/session", self._post_session),
            _get("/api/events", self._events),
            _get("/api/messages", _asked(api.ask_messages)),
            _get("/api/message", _asked(api.ask_message)),
            _get("/api/why/peer", _asked(api.ask_why_peer)),
            _get("/api/why/hub", _asked(api.ask_why_hub)),
            _get("/api/settings", _asked(api.ask_settings)),
            _get("/api/joins", _asked(api.ask_joins)),
            web.post("/api/publish", _ordered(orders.Publish, api.publish)),
            web.post("/api/follow", _ordered(orders.Follow, api.follow)),
            web.post("/api/block", _ordered(orders.Block, api.block)),
            web.post("/api/about", _ordered(orders.About, api.about)),
            web.post("/api/hubs", _ordered(orders.Hubs, api.hubs)),
            web.post("/api/connect", _ordered(orders.Connect, api.connect)),
            web.post("/api/disconnect", _ordered(orders.OfPeer, api.disconnect)),
            web.post("/api/sync", _ordered(orders.Sync, api.sync)),
            web.post("/api/want", _ordered(orders.OfBlob, api.want)),
            web.post("/api/invite", _ordered(orders.Invite, api.invite)),
            web.post("/api/join", _ordered(orders.Join, api.join)),
            web.post("/api/blobs", self._post_blob),
            _get("/api/blobs/{id:.+}", self._get_blob),
        ]
        return [*routes, *(_get(path, _asset(asset)) for path, asset in self._assets.items())]

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return await streams.serve(request, self._live)

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        async with self._api.link() as link:
            return await blobs.send(request, link, request.match_info["id"])

    async def _post_blob(self, request: web.Request) -> web.Response:
        async with self._api.link() as link:
            return json_answer(await blobs.receive(request, link, self._peer.settings.blob_max))

    # --- who may ---

    @web.middleware
    async def _guard(self, request: web.Request, handler: HttpHandler) -> web.StreamResponse:
        """Refuses what is not the page's own; turns errors into answers."""
        try:
            session = self._check(request)
            if session is None:
                return await handler(request)
            with self._connections.held(request.protocol):
                return await handler(request)
        except Refused as fault:
            return error_answer(fault.status, fault.error)
        except web.HTTPException as fault:
            return _http_error(fault)
        except SsbRtcError as fault:
            return error_answer(status_of(fault), str(fault))
        except ConnectionError:
            raise  # the browser went away in the midst of an answer
        except Exception:
            logger.exception("the dashboard failed at %s %s", request.method, request.path)
            return error_answer(503, "something went wrong in the peer: its log says more")

    def _check(self, request: web.Request) -> Session | None:
        """The session that it belongs to, where it needs one. Raises Refused."""
        _refuse(guard.refuses_host(request.headers.get("Host"), self.port))
        path = request.path
        if not path.startswith("/api/"):
            return None
        if request.method == "POST":
            expected = guard.BYTES_TYPE if path == "/api/blobs" else guard.JSON_TYPE
            _refuse(guard.refuses_order(request.headers, expected))
            if path == "/api/session":
                return None
            session = self._session(request)
            if not session.knows(_word(request)):
                raise Refused(403, f"an order repeats the session's word in the header {guard.CSRF_HEADER}")
            return session
        _refuse(guard.refuses_reading(request.headers))
        session = self._session(request)
        # A server on another port of this machine is sent the cookie too, and may have kept it: it never has the word.
        if not path.startswith("/api/blobs/") and not session.knows(_word(request)):
            raise Refused(401, NO_SESSION)
        return session

    @property
    def _cookie(self) -> str:
        # Cookies know no ports: the name keeps two dashboards of one machine apart.
        return f"ssb_rtc_{self.port}"

    def _session(self, request: web.Request) -> Session:
        session = self._keyring.session(request.cookies.get(self._cookie), time.monotonic())
        if session is None:
            raise Refused(401, NO_SESSION)
        return session

    async def _get_session(self, request: web.Request) -> web.Response:
        _refuse(guard.refuses_session(request.headers))
        return json_answer({"csrf": self._session(request).csrf})

    async def _post_session(self, request: web.Request) -> web.Response:
        token = orders.read(await _body(request), orders.Exchange).token
        now_s = time.monotonic()
        opened = self._keyring.exchange(token, now_s) if len(token) <= SECRET_CHARACTERS_MAX else None
        if opened is None:
            if not self._keyring.may_fail(now_s):
                raise Refused(503, "too many addresses that are not good: wait a minute")
            raise Refused(401, "this address is used up or too old: `ssb-rtc dashboard` prints a fresh one")
        answer = json_answer({"csrf": opened.csrf})
        answer.set_cookie(self._cookie, opened.cookie, httponly=True, samesite="Strict", path="/")
        return answer


def _get(path: str, handler: HttpHandler) -> web.RouteDef:
    return web.get(path, handler, allow_head=False)


def _asset(asset: assets.Asset) -> HttpHandler:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=asset.body, headers={"Content-Type": asset.content_type})

    return handle


def _asked(ask: Callable[[Mapping[str, str]], Awaitable[Json]]) -> HttpHandler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return json_answer(await ask(request.query))

    return handle


def _ordered(kind: type[orders.T], act: Callable[[orders.T], Awaitable[Json]]) -> HttpHandler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return json_answer(await act(orders.read(await _body(request), kind)))

    return handle


def _word(request: web.Request) -> str:
    """The session's word. A browser's EventSource can set no header, so for events it stands in the query."""
    if request.path == "/api/events":
        return request.query.get("word", "") or request.headers.get(guard.CSRF_HEADER, "")
    return request.headers.get(guard.CSRF_HEADER, "")


async def _body(request: web.Request) -> bytes:
    """The body, up to orders.BODY_MAX. Raises HTTPRequestEntityTooLarge, Refused."""
    if (request.content_length or 0) > orders.BODY_MAX:
        raise Refused(413, f"a body has at most {orders.BODY_MAX} bytes")
    try:
        async with asyncio.timeout(BODY_LIMIT_S):
            return await request.read()
    except TimeoutError:
        raise Refused(400, f"the body did not come within {BODY_LIMIT_S:g} s") from None


def _refuse(refusal: guard.Refusal | None) -> None:
    if refusal is not None:
        raise Refused(refusal.status, refusal.error)


def _http_error(fault: web.HTTPException) -> web.Response:
    match fault.status:
        case 404:
            return error_answer(404, "there is nothing here")
        case 405:
            return error_answer(405, "that is not done here")
        case 413:
            return error_answer(413, f"a body has at most {orders.BODY_MAX} bytes")
        case _:
            return error_answer(fault.status, fault.reason)


def _no_http() -> web.Response:
    answer = error_answer(400, "this is no request that a browser makes")
    answer.headers.update(HEADERS)
    return answer


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        taken = error.errno == errno.EADDRINUSE
        why = "another program listens there" if taken else error.strerror
        raise ListenFailed(
            f"the dashboard can't listen on {HOST}:{port}: {why}. Choose another --dashboard PORT, or 0 for a free one."
        ) from None
    return listening
