"""The control API on its own port: faults, scripted prices, the oracle, scenarios.

    GET  /                      every verb, with its parameters
    GET  /status                clock, phase, live tickers, connections, faults in force
    GET  /oracle/symbols        tickers that have traded, and how often
    GET  /oracle/trades?symbol=AAPL&after=0          what happened
    GET  /oracle/sent?symbol=AAPL[&connection=3]     what was written to subscribed connections
    GET  /oracle/orders[?after=0]                    every order event, in order
    POST /do/<verb>             the parameters as a JSON object
    POST /do/blast              prepared frames: symbols, count, per_s, per_frame, endpoint;
                                answers with a report when all is sent
    POST /scenario              a YAML scenario; it starts at once
    POST /heal                  end every fault

It speaks JSON, needs no keys, and listens on 127.0.0.1 only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from .blast import blast
from .control import UnknownVerb
from .messages import rfc3339
from .scenario import ScenarioError, parse_scenario

if TYPE_CHECKING:
    from .server import SimServer

_PAGE = 100_000


def control_app(server: SimServer) -> web.Application:
    """The aiohttp application of one simulator."""
    api = _ControlApi(server)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(
        [
            web.get("/", api.index),
            web.get("/status", api.status),
            web.get("/oracle/symbols", api.symbols),
            web.get("/oracle/trades", api.trades),
            web.get("/oracle/sent", api.sent),
            web.get("/oracle/orders", api.orders),
            web.post("/do/{verb}", api.do),
            web.post("/scenario", api.scenario),
            web.post("/heal", api.heal),
        ]
    )
    return app


class _ControlApi:
    def __init__(self, server: SimServer) -> None:
        self._server = server

    async def index(self, _: web.Request) -> web.Response:
        return _answer({"usage": (__doc__ or "").strip(), "verbs": self._server.verbs.describe()})

    async def status(self, _: web.Request) -> web.Response:
        server, sim = self._server, self._server.sim
        return _answer(
            {
                "now": rfc3339(server.now_ns()),
                "session": sim.hours.name,
                "phase": sim.market.phase,
                "live_tickers": len(list(sim.market.live)),
                "failures": [repr(error) for error in server.failures],
                "dropped": {
                    "delayed_feeds": sim.hub.dropped,
                    "delay_faults": sim.board.data_line.dropped + sim.board.event_line.dropped,
                },
                "skipped_events": sim.market.skipped,
                "connections": [asdict(info) for info in server.script.connections()],
                "faults": server.faults.active(),
                "scenario": server.player.progress(),
            }
        )

    async def symbols(self, _: web.Request) -> web.Response:
        oracle = self._server.sim.oracle
        return _answer({symbol: oracle.serial(symbol) for symbol in oracle.symbols()})

    async def trades(self, request: web.Request) -> web.Response:
        symbol, after = request.query.get("symbol", ""), _number(request.query, "after")
        trades = self._server.sim.oracle.trades(symbol)
        found = [asdict(trade) for trade in trades if trade.serial > after]
        return _answer({"symbol": symbol, "trades": found[:_PAGE]})

    async def sent(self, request: web.Request) -> web.Response:
        symbol, oracle = request.query.get("symbol", ""), self._server.sim.oracle
        connection = _number(request.query, "connection") or None
        return _answer(
            {
                "symbol": symbol,
                "connections": oracle.connections(symbol),
                "serials": oracle.sent_serials(symbol, connection)[:_PAGE],
                "trades": [asdict(t) for t in oracle.sent_trades(symbol, connection)][:_PAGE],
            }
        )

    async def orders(self, request: web.Request) -> web.Response:
        after = _number(request.query, "after")
        events = list(self._server.sim.oracle.order_events)
        return _answer({"count": len(events), "events": events[after : after + _PAGE]})

    async def do(self, request: web.Request) -> web.Response:
        verb = request.match_info["verb"]

        body = await request.read()
        if verb == "blast":
            return await self._blast(body)
        return _attempt(lambda: self._server.verbs.do(verb, _parameters(body)))

    async def _blast(self, body: bytes) -> web.Response:
        try:
            return _answer({"result": asdict(await blast(self._server, **_parameters(body)))})
        except (TypeError, ValueError, LookupError) as error:
            return _answer({"error": f"{type(error).__name__}: {error}"}, status=400)

    async def scenario(self, request: web.Request) -> web.Response:
        text = await request.text()
        return _attempt(lambda: self._server.player.play(parse_scenario(text)))

    async def heal(self, _: web.Request) -> web.Response:
        self._server.faults.heal()
        return _answer({"result": None})


def _attempt(act: Callable[[], object]) -> web.Response:
    try:
        return _answer({"result": act()})
    except UnknownVerb as error:
        return _answer({"error": str(error)}, status=404)
    except (TypeError, ValueError, LookupError, ScenarioError) as error:
        return _answer({"error": f"{type(error).__name__}: {error}"}, status=400)


def _parameters(body: bytes) -> dict[str, Any]:
    parameters = msgspec.json.decode(body) if body else {}
    if not isinstance(parameters, dict):
        raise TypeError("the parameters must be a JSON object")
    return parameters


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _answer(body: object, *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json"
    )
