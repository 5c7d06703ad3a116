"""The local Alpaca on its port: every stream and every REST path behind one door. Thin shell.

Everything runs on one event loop. The door listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Coroutine, Iterator
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
import structlog
from aiohttp import WSCloseCode, web

from .clock import SimClock
from .config import SimAddress, SimConfig
from .control import Verbs
from .control_api import control_app
from .faults import Faults
from .feeds import FEED_BY_PATH, Feed
from .replay import Replay, first_prices
from .replay_read import read_recording
from .scenario import parse_scenario
from .scenario_player import ScenarioPlayer
from .script import MarketScript
from .simulator import Simulator
from .sockets import DataSocket, TradingSocket
from .venue_config import Reply
from .wire import Wire, upgrade

log = structlog.get_logger(__name__)
_HOST = "127.0.0.1"
_NOT_A_STREAM = Reply(status=404, body={"message": "endpoint not found."})
_FAILED = Reply(status=500, body={"message": "internal server error occurred"})
_REASONS = {429: "too many requests.", 503: "service unavailable"}
_MAX_BODY_BYTES = 4 * 1024 * 1024


class SimServer:
    """Starts, serves, stops. All methods belong to the event loop's thread."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self.clock = SimClock(config.market.clock_start)
        self.sim = Simulator(config, self.clock.now_ns())
        self.script = MarketScript(self)
        self.faults = Faults(self, lambda action: action())
        self.verbs = Verbs(self.faults, self.script)
        self.player = ScenarioPlayer(self.verbs)
        self.failures: deque[Exception] = deque(maxlen=100)
        self.data_sockets: dict[int, DataSocket] = {}
        self.trading_sockets: dict[int, TradingSocket] = {}
        self._runner: web.AppRunner | None = None
        self._control: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._replayed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> SimAddress:
        """Listen, and let the market move.

        Raises OSError if a port is taken or a file is not there, BadRecording, ScenarioError;
        nothing is left open then.
        """
        try:
            address = await self._listen()
            self._ticker = asyncio.create_task(self._tick_forever(), name="market")
            self._begin_files()
        except BaseException:
            await self.stop()
            raise
        return address

    async def _listen(self) -> SimAddress:
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._door)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, _HOST, self.config.port)
        await self._site.start()
        control_port = await self._open_control()
        return SimAddress(
            port=self._runner.addresses[0][1],
            control_port=control_port,
            session=self.sim.hours.name,
        )

    def _begin_files(self) -> None:
        if self.config.replay is not None and not self.config.replay_waits:
            self.start_replay()
        if self.config.scenario is not None:
            text = Path(self.config.scenario).read_text(encoding="utf-8")
            self.player.play(parse_scenario(text))

    async def stop(self) -> None:
        """Close every connection cleanly and leave the port."""
        self.player.stop()
        for task in list(self._tasks):
            task.cancel()
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        wires = [data.wire for data in self.data_sockets.values()]
        wires += [trading.wire for trading in self.trading_sockets.values()]
        await asyncio.gather(*(self._say_goodbye(wire) for wire in wires))
        for runner in (self._runner, self._control):
            if runner is not None:
                await runner.cleanup()

    def listens_on(self) -> list[tuple[str, int]]:
        """The addresses of the door and of the control API."""
        runners = [runner for runner in (self._runner, self._control) if runner is not None]
        return [(str(host), int(port)) for runner in runners for host, port in runner.addresses]

    def now_ns(self) -> int:
        """The simulator's time."""
        return self.clock.now_ns()

    def step_clock(self, seconds: float) -> None:
        """Jump forward or back in time."""
        self.clock.step(seconds)
        self.sim.shift_time(int(seconds * 1e9), self.clock.now_ns())

    def later(self, action: Coroutine[None, None, None]) -> None:
        """Start something that need not be waited for."""
        task = asyncio.create_task(_quietly(action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leave_the_port(self, for_s: float) -> None:
        """Stop listening for a while. Open connections live on."""
        self.later(self._reopen_after(for_s))

    def start_replay(self) -> None:
        """Play the recording of the settings, from its beginning. Raises BadRecording."""
        config = self.config
        assert config.replay is not None
        self.replay(config.replay, speed=config.replay_speed, shift=config.replay_shift_to_now)

    def replay(self, path: str, *, speed: float = 1.0, shift: bool = True) -> int:
        """Play a recording; how many events it has. Raises BadRecording, OSError.

        Without `shift` events keep their own times, and the simulator's clock becomes theirs.
        """
        events = read_recording(path)
        start_ns, pace = self.clock.now_ns(), speed
        if not shift and speed:
            before_ns, start_ns, pace = start_ns, events[0].timestamp.ns, 1.0
            self.clock.go_on_from(start_ns, speed)
            self.sim.shift_time(start_ns - before_ns, start_ns)
        player = Replay(events, speed=pace, shift=shift, start_ns=start_ns)
        self.sim.start_replay(player, first_prices(events), start_ns)
        return len(events)

    async def _open_control(self) -> int | None:
        if self.config.control_port is None:
            return None
        self._control = web.AppRunner(control_app(self), access_log=None, shutdown_timeout=1.0)
        await self._control.setup()
        await web.TCPSite(self._control, _HOST, self.config.control_port).start()
        return int(self._control.addresses[0][1])

    async def _reopen_after(self, for_s: float) -> None:
        if self._site is None or self._runner is None:
            return
        port = self._runner.addresses[0][1]
        await self._site.stop()
        await asyncio.sleep(for_s)
        self._site = web.TCPSite(self._runner, _HOST, port)
        await self._site.start()

    async def _tick_forever(self) -> None:
        pause_s = self.config.market.tick_ms / 1000
        while True:
            with self._supervised("tick"):
                self.sim.tick(self.clock.now_ns())
            await asyncio.sleep(pause_s)

    @contextlib.contextmanager
    def _supervised(self, what: str) -> Iterator[None]:
        """A fault of the simulator's own: told, kept, and it goes on."""
        try:
            yield
        except Exception as error:
            log.exception("sim.failed", what=what)
            self.failures.append(error)

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
        body, reply = await request.read(), _FAILED
        with self._supervised(f"{request.method} {request.path}"):
            reply = self.sim.rest.request(
                request.method,
                request.path,
                _query_of(request),
                request.headers,
                body,
                self.clock.now_ns(),
            )
        return _response(reply)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        feed = FEED_BY_PATH.get(request.path)
        if feed is None and request.path != "/stream":
            return _response(_NOT_A_STREAM)
        endpoint = "trading" if feed is None else feed.name
        refusal = self.sim.streams.refuses_handshake(request.path, endpoint, self.clock.now_ns())
        if refusal is not None:
            return _response(Reply(status=refusal, body={"message": _REASONS.get(refusal, "")}))
        if feed is None:
            most = self.config.trading_connection_limit
            if most and len(self.trading_sockets) >= most:
                return _response(Reply(status=429, body={"message": _REASONS[429]}))
            return await self._serve_trading(request)
        return await self._serve_data(feed, request)

    async def _serve_data(self, feed: Feed, request: web.Request) -> web.StreamResponse:
        wire = await upgrade(request, compression=self.config.streams.compression)
        headers = request.headers
        reader = self.sim.streams.open_reader(feed, headers, wire.awake.set, self.clock.now_ns())
        handler = DataSocket(self.sim, reader, wire, self.now_ns, self._on_subscribed)
        self.data_sockets[reader.number] = handler
        try:
            with self._supervised(f"stream {feed.name}"):
                await handler.serve(headers)
        finally:
            del self.data_sockets[reader.number]
        return wire.ws

    def _on_subscribed(self) -> None:
        if self.config.replay is not None and self.config.replay_waits and not self._replayed:
            self._replayed = True
            self.start_replay()

    async def _serve_trading(self, request: web.Request) -> web.StreamResponse:
        wire = await upgrade(request, compression=self.config.streams.compression)
        packed = "application/msgpack" in request.headers.get("Content-Type", "")
        reader = self.sim.desk.open_reader("msgpack" if packed else "json", wire.awake.set)
        handler = TradingSocket(self.sim, reader, wire)
        self.trading_sockets[reader.number] = handler
        try:
            with self._supervised("stream trading"):
                await handler.serve(request.headers)
        finally:
            del self.trading_sockets[reader.number]
        return wire.ws


async def _quietly(action: Coroutine[None, None, None]) -> None:
    # A fault that comes too late for its connection is no fault.
    with contextlib.suppress(ConnectionError, RuntimeError):
        await action


def _query_of(request: web.Request) -> dict[str, str]:
    # Of a parameter that comes twice, the last wins.
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
