"""The local Alpaca on its port: every stream and every REST path behind one door. Thin shell.

Everything runs on one event loop. The door listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import parse_qsl

import msgspec
from aiohttp import WSCloseCode, web

from .clock import SimClock
from .config import SimAddress, SimConfig
from .feeds import FEED_BY_PATH, Feed
from .simulator import Simulator
from .sockets import DataSocket, TradingSocket, Wire, upgrade
from .venue_config import Reply

_HOST = "127.0.0.1"
_NOT_A_STREAM = Reply(status=404, body={"message": "endpoint not found."})
_MAX_BODY_BYTES = 4 * 1024 * 1024


class SimServer:
    """Starts, serves, stops. All methods belong to the event loop's thread."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self.clock = SimClock(config.market.clock_start)
        self.sim = Simulator(config, self.clock.now_ns())
        self.data_sockets: dict[int, DataSocket] = {}
        self.trading_sockets: dict[int, TradingSocket] = {}
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> SimAddress:
        """Listen, and let the market move. Raises OSError if the port is taken."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._door)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, _HOST, self.config.port).start()
        self._ticker = asyncio.create_task(self._tick_forever(), name="market")
        return SimAddress(port=self._runner.addresses[0][1], control_port=None)

    async def stop(self) -> None:
        """Close every connection cleanly and leave the port."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        wires = [data.wire for data in self.data_sockets.values()]
        wires += [trading.wire for trading in self.trading_sockets.values()]
        await asyncio.gather(*(self._say_goodbye(wire) for wire in wires))
        if self._runner is not None:
            await self._runner.cleanup()

    def now_ns(self) -> int:
        """The simulator's time."""
        return self.clock.now_ns()

    async def _tick_forever(self) -> None:
        pause_s = self.config.market.tick_ms / 1000
        while True:
            self.sim.tick(self.clock.now_ns())
            await asyncio.sleep(pause_s)

    async def _say_goodbye(self, wire: Wire) -> None:
        wire.thaw()
        with contextlib.suppress(TimeoutError, ConnectionError, RuntimeError):
            async with asyncio.timeout(1.0):
                await wire.close(WSCloseCode.GOING_AWAY)
                return
        wire.reset()

    async def _door(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._stream(request)
        now_ns = self.clock.now_ns()
        reply = self.sim.rest.request(
            request.method,
            request.path,
            _query_of(request),
            request.headers,
            await request.read(),
            now_ns,
        )
        return _response(reply)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        feed = FEED_BY_PATH.get(request.path)
        if feed is None and request.path != "/stream":
            return _response(_NOT_A_STREAM)
        if not self.sim.allow_handshake(request.path, self.clock.now_ns()):
            return _response(Reply(status=429, body={"message": "too many requests."}))
        if feed is None:
            return await self._serve_trading(request)
        return await self._serve_data(feed, request)

    async def _serve_data(self, feed: Feed, request: web.Request) -> web.StreamResponse:
        wire = await upgrade(request, self.config.streams)
        headers = request.headers
        reader = self.sim.open_reader(feed, headers, wire.awake.set, self.clock.now_ns())
        handler = DataSocket(self.sim, reader, wire, self.now_ns)
        self.data_sockets[reader.number] = handler
        try:
            await handler.serve(headers)
        finally:
            del self.data_sockets[reader.number]
        return wire.ws

    async def _serve_trading(self, request: web.Request) -> web.StreamResponse:
        wire = await upgrade(request, self.config.streams)
        packed = "application/msgpack" in request.headers.get("Content-Type", "")
        reader = self.sim.desk.open_reader("msgpack" if packed else "json", wire.awake.set)
        handler = TradingSocket(self.sim, reader, wire)
        self.trading_sockets[reader.number] = handler
        try:
            await handler.serve()
        finally:
            del self.trading_sockets[reader.number]
        return wire.ws


def _query_of(request: web.Request) -> dict[str, str]:
    # Last wins. Read by hand: a `+` in a time's offset must stay what the client meant.
    return dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))


def _response(reply: Reply) -> web.Response:
    if reply.body is None:
        return web.Response(status=reply.status, headers=reply.headers)
    return web.Response(
        status=reply.status,
        body=msgspec.json.encode(reply.body),
        headers=reply.headers,
        content_type="application/json",
    )
