"""scale_t as a program: keys and account, the bus, its own earlier orders, the ticker, the trade.

Prices and order messages come only from the ticker's channel; orders go to Alpaca by REST, paper
only in this version. What is rebuilt at start, and what is refused then, says `start_state.py`.

Threads: the caller's runs the engine; `order-desk` sends requests; `lease-keeper` renews the
registration; the bus has its own. All of them end with `run`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import structlog

from ..settings import Settings
from ..utils.redis.config import RedisConfig
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.registration import LeaseKeeper, RegistrationClient
from ..utils.redis.subscriber import RedisSubscriber
from ..utils.waits import GrowingWait
from .config import ScaleTConfig
from .engine import Engine
from .ladder import Ladder
from .readiness import Readiness
from .start_state import NotUnderstood, restore
from .venue import TooManyOrders, Venue, VenueFailed

log: Final = structlog.get_logger("tickerbus.scale_t")

STOPPED, NOT_STARTED, MISCONFIGURED, REFUSED = 0, 1, 2, 3
CANCEL_WITHIN_S: Final = 2.5


class _Ends(Exception):
    """`run` ends here, with this code; the reason is logged once."""

    def __init__(self, code: int, event: str, reason: object) -> None:
        self.code, self.event, self.reason = code, event, reason
        super().__init__(f"{event}: {reason}")


class _Stopped(Exception):
    """`stop` was called while starting."""


class ScaleT:
    """One ladder on one ticker. `run` once; `stop` from any thread or from a signal handler."""

    def __init__(self, config: ScaleTConfig, settings: Settings) -> None:
        """Connects nothing."""
        self._config, self._settings = config, settings
        self.engine: Engine | None = None  # there is one once the account is known
        self._stop_asked = False  # a plain attribute: a signal handler must take no lock

    def stop(self) -> None:
        """`run` returns within 5 s."""
        self._stop_asked = True
        if self.engine is not None:
            self.engine.stop()

    def run(self) -> int:
        """Trade until stopped.

        Returns:
            0 stopped, 1 the start state is not understood or the ticker is not to be had,
            2 a setting is wrong or missing, 3 Alpaca refuses the keys.
        """
        try:
            return self._run()
        except _Ends as end:
            log.error(end.event, reason=str(end.reason))
            return end.code
        except _Stopped:
            return STOPPED

    # -- starting, step by step

    def _run(self) -> int:
        venue = self._open_venue()
        try:
            account = self._ask(venue.account)
            number = str(account.get("account_number") or account["id"])
            log.info("scale_t.account", mode="PAPER", account=f"…{number[-4:]}", url=venue.url)
            names = frozenset({number, str(account["id"])})
            return self._run_on_bus(venue, Readiness(account_names=names))
        finally:
            venue.close()

    def _open_venue(self) -> Venue:
        settings = self._settings
        if not settings.alpaca_paper:
            reason = "this version of scale_t trades paper only: set ALPACA_PAPER=true"
            raise _Ends(MISCONFIGURED, "scale_t.live_refused", reason)
        if settings.alpaca_api_key is None or settings.alpaca_api_secret is None:
            reason = "set ALPACA_API_KEY and ALPACA_API_SECRET"
            raise _Ends(MISCONFIGURED, "scale_t.no_keys", reason)
        key, secret = settings.alpaca_api_key, settings.alpaca_api_secret
        return Venue(settings.trading_url, key.get_secret_value(), secret.get_secret_value())

    def _run_on_bus(self, venue: Venue, readiness: Readiness) -> int:
        config = self._config
        redis = self._settings.redis_config(client_name=f"scale-t-{config.ticker}")
        ladder = Ladder(config.terms)
        self.engine = engine = Engine(ladder, readiness, venue, config.requests_per_minute)
        if self._stop_asked:
            engine.stop()
        try:
            with RedisSubscriber(redis) as bus:
                # Listening comes first: what happens while the orders are listed is not missed.
                bus.subscribe(bus.names.get_ticker_channel(config.ticker), engine.on_ticker_message)
                bus.subscribe(bus.names.BROKER_STATUS, engine.on_status)
                bus.start_listening()
                self._restore(venue, ladder)
                return self._trade(engine, redis)
        except RedisUnavailable as error:
            raise _Ends(MISCONFIGURED, "scale_t.no_redis", error) from error

    def _restore(self, venue: Venue, ladder: Ladder) -> None:
        ticker = self._config.ticker
        try:
            orders = self._ask(lambda: venue.all_orders(ticker))
            # Asked for after the orders: a sale in between makes it too small, never too large.
            account_qty = self._ask(lambda: venue.position(ticker))
            restore(ladder, orders, self._config.start_price)
            if ladder.position > max(account_qty, 0):
                told = f"it owns {ladder.position}, but the account holds {account_qty}"
                raise NotUnderstood([told])
        except (NotUnderstood, TooManyOrders) as error:
            raise _Ends(NOT_STARTED, "scale_t.start_state_not_understood", error) from error
        log.info(
            "scale_t.started",
            ticker=ticker,
            max_position=str(self._config.terms.max_position),
            start_price=str(ladder.rungs[0].entry_price) if ladder.rungs else "first price",
            held=str(ladder.position),
            working=len(ladder.working_ids()),
        )

    def _ask(self, question: Callable[[], Any]) -> Any:
        """An answer that is needed before anything else; an Alpaca that is away is waited for."""
        wait, told = GrowingWait(1.0, 30.0), False
        while not self._stop_asked:
            try:
                return question()
            except VenueFailed as error:
                if error.keys_refused:
                    raise _Ends(REFUSED, "scale_t.keys_refused", error) from error
                if not told:
                    log.warning("scale_t.alpaca_away", reason=str(error))
                told = True
                wait.grow(time.monotonic())
                while not self._stop_asked and not wait.over(time.monotonic()):
                    time.sleep(0.05)
        raise _Stopped

    # -- running, and stopping in less than 5 s

    def _trade(self, engine: Engine, redis: RedisConfig) -> int:
        config, secured = self._config, self._settings.registration_secured
        with RegistrationClient(redis, config.client_id, secured=secured) as client:
            keeper = LeaseKeeper(
                client, [config.ticker], config.lease_s, on_rejected=engine.on_rejected
            )
            keeper.start()
            try:
                engine.run()
            finally:
                settled = engine.wind_up(config.cancel_entries_on_stop, CANCEL_WITHIN_S)
                keeper.stop(timeout_s=1.0)
                engine.close(timeout_s=0.5)
        self._tell_end(engine, settled)
        if engine.failure is not None:
            raise _Ends(NOT_STARTED, "scale_t.rejected", engine.failure)
        return STOPPED

    def _tell_end(self, engine: Engine, settled: bool) -> None:
        book = engine.ladder.book
        if not settled:
            entries = [order.client_order_id for order in book.active("entry")]
            log.error("scale_t.entries_may_still_work", orders=entries)
        log.info(
            "scale_t.stopped",
            position=str(book.position),
            profit_orders_working=len(book.active("profit")),
            requests=engine.counters["requests"],
        )


def run_scale_t(config: ScaleTConfig, settings: Settings) -> int:
    """Run until SIGTERM or Ctrl-C, which are taken over while it runs in the main thread.

    Returns the exit code, as `ScaleT.run`.
    """
    scale_t = ScaleT(config, settings)
    if threading.current_thread() is not threading.main_thread():
        return scale_t.run()

    def on_signal(number: int, frame: FrameType | None) -> None:
        scale_t.stop()

    before = {each: signal.signal(each, on_signal) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        return scale_t.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
