"""The local Alpaca inside a test or another program: a named thread with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from .blast import BlastReport, blast
from .config import SessionPhase, SimAddress, SimConfig
from .faults import Faults
from .oracle import Oracle
from .order_desk import RaceOutcome
from .scenario import parse_scenario
from .script import MarketScript, StreamInfo
from .server import SimServer

_T = TypeVar("_T")
_START_S = 10.0
_STOP_S = 5.0


class SimulatorFailed(RuntimeError):
    """The simulator had errors of its own; the first is the cause. Report it."""

    def __init__(self, count: int) -> None:
        super().__init__(f"the local Alpaca had {count} errors of its own")
        self.count = count


class LocalAlpaca:
    """`with LocalAlpaca(SimConfig(...)) as sim:` serves until the block ends.

    Every method may be called from any thread; each is done when it returns.
    """

    def __init__(self, config: SimConfig | None = None) -> None:
        self.config = config or SimConfig()
        self.address = SimAddress(port=0, control_port=None)
        self._server: SimServer | None = None
        self._loop = asyncio.new_event_loop()
        self._started: Future[SimAddress] = Future()
        self._ended: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="local-alpaca", daemon=True)

    def start(self) -> Self:
        """Listen. Raises what went wrong, OSError for a port that is taken."""
        self._thread.start()
        self.address = self._started.result(_START_S)
        return self

    def stop(self) -> None:
        """Close every connection, leave the ports, end the thread. Raises TimeoutError."""
        if self._thread.is_alive() and self._ended is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_STOP_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the local Alpaca did not end within {_STOP_S} s")

    def check(self) -> None:
        """Raises SimulatorFailed if the simulator itself has had an error (a bug of its own)."""
        if self._server is not None and self._server.failures:
            raise SimulatorFailed(len(self._server.failures)) from self._server.failures[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None:
            self.check()

    # Where it listens

    @property
    def url(self) -> str:
        """Base of every REST call; the same as `rest_url`."""
        return self.address.rest_url

    @property
    def rest_url(self) -> str:
        """Base of every REST call."""
        return self.address.rest_url

    @property
    def data_stream_url(self) -> str:
        """The stock stream (IEX feed)."""
        return self.address.data_stream_url

    @property
    def crypto_stream_url(self) -> str:
        """The crypto stream."""
        return self.address.crypto_stream_url

    @property
    def trading_stream_url(self) -> str:
        """The account's order updates."""
        return self.address.trading_stream_url

    @property
    def control_url(self) -> str | None:
        """The control API."""
        return self.address.control_url

    def stream_url(self, feed: str) -> str:
        """The stock stream of one feed: iex, sip, delayed_sip or test."""
        return self.address.stream_url(feed)

    # What happens on the market

    def trade(
        self,
        symbol: str,
        price: float,
        size: float = 100,
        *,
        conditions: Sequence[str] = ("@",),
        exchange: str = "V",
        timestamp_ns: int | None = None,
    ) -> int:
        """A trade happens now. Its serial in the oracle."""
        return self.call(
            lambda s: s.trade(
                symbol,
                price,
                size,
                conditions=tuple(conditions),
                exchange=exchange,
                timestamp_ns=timestamp_ns,
            )
        )

    def quote(
        self, symbol: str, bid: float, ask: float, *, bid_size: float = 100, ask_size: float = 100
    ) -> None:
        """The best bid and ask change now; orders may fill."""
        self.call(lambda s: s.quote(symbol, bid, ask, bid_size=bid_size, ask_size=ask_size))

    def burst(self, symbol: str, count: int) -> list[int]:
        """`count` trades of the walk at once. Their serials."""
        return self.call(lambda s: s.burst(symbol, count))

    def blast(
        self,
        symbols: Sequence[str],
        *,
        count: int,
        per_s: float,
        per_frame: int = 100,
        endpoint: str = "iex",
    ) -> Future[BlastReport]:
        """Prepared trades at up to 500,000 a second, to every connection that follows them all.

        Returns at once; the report comes when all is sent.
        """
        return asyncio.run_coroutine_threadsafe(
            blast(
                self._live,
                symbols,
                count=count,
                per_s=per_s,
                per_frame=per_frame,
                endpoint=endpoint,
            ),
            self._loop,
        )

    def set_rate(self, symbol: str, trades_per_s: float) -> None:
        """How often a ticker trades by itself from now on."""
        self.call(lambda s: s.set_rate(symbol, trades_per_s))

    def correct(self, symbol: str, serial: int, price: float) -> None:
        """The trade with this serial turns out to have had another price."""
        self.call(lambda s: s.correct(symbol, serial, price))

    def cancel_trade(self, symbol: str, serial: int) -> None:
        """The trade with this serial is cancelled."""
        self.call(lambda s: s.cancel(symbol, serial))

    def halt(self, symbol: str) -> None:
        """Trading in a ticker halts; a status tells it."""
        self.call(lambda s: s.halt(symbol))

    def resume(self, symbol: str) -> None:
        """Trading resumes."""
        self.call(lambda s: s.resume(symbol))

    def set_session(self, phase: SessionPhase | None) -> None:
        """Open or close the stock market by hand: closed, pre, regular, post; None: its hours."""
        self.call(lambda s: s.set_session(phase))

    def replay(self, path: str, *, speed: float = 1.0, shift: bool = True) -> int:
        """Play a recording (CSV, JSON lines, Alpaca's REST JSON); how many events it has."""
        return self.call(lambda s: s.replay(path, speed=speed, shift=shift))

    def play(self, scenario: str) -> int:
        """Start a YAML scenario; how many steps it has. Raises ScenarioError."""
        parsed = parse_scenario(scenario)
        return self.call(lambda s: s.server.player.play(parsed))

    # What happens to the account

    def order_by_hand(self, **fields: object) -> str:
        """An order from Alpaca's app, with the fields of POST /v2/orders. Its id."""
        return self.call(lambda s: s.account.order_by_hand(fields))

    def inject_order_event(self, order_id: str, event: str) -> None:
        """Let an event happen to an order, whatever the market does."""
        self.call(lambda s: s.account.inject_order_event(order_id, event))

    def lose_race(self, outcome: RaceOutcome, order_id: str | None = None) -> None:
        """How the next cancel or replace goes wrong: fill, partial_fill, refuse, late_fill."""
        self.call(lambda s: s.account.lose_race(outcome, order_id))

    def split(self, symbol: str, new_per_old: float) -> None:
        """A split overnight."""
        self.call(lambda s: s.account.split(symbol, new_per_old))

    def rename(self, symbol: str, new_symbol: str) -> None:
        """A ticker's new name overnight."""
        self.call(lambda s: s.account.rename(symbol, new_symbol))

    # What a test may ask

    @property
    def oracle(self) -> Oracle:
        """What really happened. Reading is safe while the market moves; each call is a snapshot."""
        return self._live.sim.oracle

    @property
    def faults(self) -> Faults:
        """Everything that can go wrong upstream."""
        return Faults(self._live, lambda action: self.call(lambda _: action()))

    def connections(self) -> list[StreamInfo]:
        """The open stream connections."""
        return self.call(lambda s: s.connections())

    def call(self, action: Callable[[MarketScript], _T]) -> _T:
        """Run something on the simulator's own thread and wait for it."""
        done: Future[_T] = Future()
        script = self._live.script

        def run() -> None:
            try:
                done.set_result(action(script))
            except Exception as error:
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(_START_S)

    @property
    def _live(self) -> SimServer:
        if self._server is None:
            raise RuntimeError("the local Alpaca is not running")
        return self._server

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        self._ended = asyncio.Event()
        server: SimServer | None = None
        try:
            server = self._server = SimServer(self.config)
            self._started.set_result(await server.start())
        except Exception as error:
            self._started.set_exception(error)
            return
        await self._ended.wait()
        await server.stop()
