"""The local Alpaca on its port: every stream and every REST path behind one door. Thin shell.

Everything runs on one event loop. The door listens on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
from aiohttp import WSCloseCode, web

from .clock import SimClock
from .config import SimAddress, SimConfig
from .control import UnknownVerb, Verbs
from .control_api import control_app
from .faults import Faults
from .feeds import FEED_BY_PATH, Feed
from .replay import Replay, first_prices
from .replay_read import read_recording
from .scenario import Scenario, ScenarioError, parse_scenario
from .script import MarketScript
from .simulator import Simulator
from .sockets import DataSocket, TradingSocket, Wire, upgrade
from .venue_config import Reply

_HOST = "127.0.0.1"
_NOT_A_STREAM = Reply(status=404, body={"message": "endpoint not found."})
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
        self.data_sockets: dict[int, DataSocket] = {}
        self.trading_sockets: dict[int, TradingSocket] = {}
        self._runner: web.AppRunner | None = None
        self._control: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._scenario: Scenario | None = None
        self._steps_done = 0
        self._replayed = False
        self._scenario_failure: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ticker: asyncio.Task[None] | None = None

    async def start(self) -> SimAddress:
        """Listen, and let the market move. Raises OSError if the port is taken."""
        app = web.Application(client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._door)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, _HOST, self.config.port)
        await self._site.start()
        control_port = await self._open_control()
        self._ticker = asyncio.create_task(self._tick_forever(), name="market")
        if self.config.replay is not None and not self.config.replay_waits:
            self.start_replay()
        if self.config.scenario is not None:
            self.play(parse_scenario(Path(self.config.scenario).read_text(encoding="utf-8")))
        return SimAddress(port=self._runner.addresses[0][1], control_port=control_port)

    async def stop(self) -> None:
        """Close every connection cleanly and leave the port."""
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
            start_ns, pace = events[0].timestamp.ns, 1.0
            self.clock.go_on_from(start_ns, speed)
        player = Replay(events, speed=pace, shift=shift, start_ns=start_ns)
        self.sim.start_replay(player, first_prices(events), start_ns)
        return len(events)

    def play(self, scenario: Scenario) -> int:
        """Start a scenario; how many steps it has. Raises ScenarioError, and nothing happens."""
        for step in scenario.steps:
            try:
                self.verbs.check(step.verb, step.parameters)
            except (UnknownVerb, TypeError) as error:
                raise ScenarioError(f"{step.verb}: {error}") from error
        self._scenario, self._steps_done, self._scenario_failure = scenario, 0, None
        self.later(self._play(scenario))
        return len(scenario.steps)

    def scenario_progress(self) -> dict[str, object] | None:
        """The scenario that was started last, and how many of its steps are done."""
        if self._scenario is None:
            return None
        steps = len(self._scenario.steps)
        return {
            "name": self._scenario.name,
            "steps": steps,
            "done": self._steps_done,
            "failure": self._scenario_failure,
        }

    async def _play(self, scenario: Scenario) -> None:
        loop = asyncio.get_running_loop()
        rounds = 0
        while scenario.repeat == 0 or rounds < scenario.repeat:
            start = loop.time()
            for step in scenario.steps:
                await asyncio.sleep(max(0.0, start + step.at_s - loop.time()))
                try:
                    self.verbs.do(step.verb, step.parameters)
                except (LookupError, TypeError, ValueError) as error:
                    self._scenario_failure = f"{step.verb}: {error}"
                    return
                self._steps_done += 1
            rounds += 1
            await asyncio.sleep(0.01)

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
        endpoint = "trading" if feed is None else feed.name
        refusal = self.sim.streams.refuses_handshake(request.path, endpoint, self.clock.now_ns())
        if refusal is not None:
            return _response(Reply(status=refusal, body={"message": _REASONS.get(refusal, "")}))
        if feed is None:
            return await self._serve_trading(request)
        return await self._serve_data(feed, request)

    async def _serve_data(self, feed: Feed, request: web.Request) -> web.StreamResponse:
        wire = await upgrade(request, self.config.streams)
        headers = request.headers
        reader = self.sim.streams.open_reader(feed, headers, wire.awake.set, self.clock.now_ns())
        handler = DataSocket(self.sim, reader, wire, self.now_ns, self._on_subscribed)
        self.data_sockets[reader.number] = handler
        try:
            await handler.serve(headers)
        finally:
            del self.data_sockets[reader.number]
        return wire.ws

    def _on_subscribed(self) -> None:
        if self.config.replay is not None and self.config.replay_waits and not self._replayed:
            self._replayed = True
            self.start_replay()

    async def _serve_trading(self, request: web.Request) -> web.StreamResponse:
        wire = await upgrade(request, self.config.streams)
        packed = "application/msgpack" in request.headers.get("Content-Type", "")
        reader = self.sim.desk.open_reader("msgpack" if packed else "json", wire.awake.set)
        handler = TradingSocket(self.sim, reader, wire)
        self.trading_sockets[reader.number] = handler
        try:
            await handler.serve(request.headers)
        finally:
            del self.trading_sockets[reader.number]
        return wire.ws


async def _quietly(action: Coroutine[None, None, None]) -> None:
    # A fault that comes too late for its connection is no fault.
    with contextlib.suppress(ConnectionError, RuntimeError):
        await action


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
