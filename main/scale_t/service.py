"""scale_t as a program: keys and account, the bus, its own earlier orders, the ticker, the trade.

Prices and order messages come only from the ticker's channel; orders go to Alpaca by REST. What is
rebuilt at start, and what is refused then, says `start_state.py`; what is checked before each
session, `session_check.py`.

Threads: the caller's runs the engine; `order-desk` asks Alpaca; `ticker-feed` reads the channel;
the bus has its own. All of them end with `run`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Final

import structlog

from ..settings import Settings
from ..utils.redis.client import TickerClient
from ..utils.redis.config import RedisConfig
from ..utils.redis.errors import RedisUnavailable
from ..utils.waits import RequestBudget
from .account import AccountMode, open_venue
from .alone import AlreadyRuns, StateLock, TickerLease
from .config import ScaleTConfig
from .control import ControlPort
from .engine import Engine, EngineParts
from .feed import TickerFeed
from .halts import read_back
from .ladder import Ladder
from .readiness import Readiness
from .saved import Saved, StateFile, StateFileBroken
from .session import Session
from .starting import (
    LOSS_LIMIT,
    MISCONFIGURED,
    NOT_STARTED,
    STOPPED,
    Ends,
    Start,
    Stopped,
)
from .state import cents, plain
from .venue import Venue

log: Final = structlog.get_logger("tickerbus.scale_t")

CANCEL_WITHIN_S: Final = 2.5
STOP_WITHIN_S: Final = 4.5
LISTEN_WITHIN_S: Final = 8.0


class ScaleT:
    """One ladder on one ticker. `run` once; `stop` from any thread or from a signal handler."""

    def __init__(
        self, config: ScaleTConfig, settings: Settings, budget: RequestBudget | None = None
    ) -> None:
        """Connects nothing. `budget` is shared by the ladders of one process."""
        self._config, self._settings = config, settings
        self._budget = budget or RequestBudget(config.requests_per_minute)
        self.engine: Engine | None = None  # there is one once the account is known
        self._stop_asked = False  # a plain attribute: a signal handler must take no lock
        self._stop_by: float | None = None
        self._start = Start(config, lambda: self._stop_asked)

    def stop(self) -> None:
        """`run` returns within 5 s, whatever hangs."""
        self._stop_by = self._stop_by or time.monotonic() + STOP_WITHIN_S
        self._stop_asked = True
        if self.engine is not None:
            self.engine.stop()

    def run(self) -> int:
        """Trade until stopped.

        Returns:
            0 stopped or flattened, 1 the start state is not understood or the ticker is not to be
            had, 2 a setting is wrong or missing, or it runs already, 3 Alpaca refuses the keys,
            4 its own loss limit.
        """
        try:
            return self._run()
        except Ends as end:
            log.error(end.event, reason=str(end.reason))
            return end.code
        except Stopped:
            return STOPPED

    # -- starting, step by step

    def _run(self) -> int:
        if self._settings.alpaca_api_key is None or self._settings.alpaca_api_secret is None:
            reason = "set ALPACA_API_KEY and ALPACA_API_SECRET"
            raise Ends(MISCONFIGURED, "scale_t.no_keys", reason)
        venue = open_venue(self._settings)
        try:
            mode = AccountMode.of(self._settings, self._start.ask(venue.account))
            log.info("scale_t.account", mode=mode.kind, account=mode.short, url=venue.url)
            return self._run_on_account(venue, mode)
        finally:
            venue.close()

    def _run_on_account(self, venue: Venue, mode: AccountMode) -> int:
        config = self._config
        file = StateFile(config.state_dir, mode.number, config.client_id, config.ticker)
        lock = StateLock(file.path, config.client_id, config.ticker)
        try:
            saved = _claim(file, lock)
            return self._run_locked(venue, mode, file, saved)
        except AlreadyRuns as error:
            raise Ends(MISCONFIGURED, "scale_t.runs_already", error) from error
        finally:
            lock.release()

    def _run_locked(
        self, venue: Venue, mode: AccountMode, file: StateFile, saved: Saved | None
    ) -> int:
        config = self._config
        ladder = Ladder(self._start.terms(venue))
        redis = self._settings.redis_config(client_name=f"scale-t-{config.ticker}")
        secured = self._settings.registration_secured
        client = TickerClient(redis, config.client_id, secured=secured, lease_s=config.lease_s)
        self.engine = engine = Engine(
            EngineParts(
                ladder=ladder,
                readiness=Readiness(
                    account_names=mode.names,
                    paper=self._settings.alpaca_paper,
                    ticker=config.ticker,
                ),
                venue=venue,
                session=Session(saved, config.hours, adopts=config.adopt),
                file=file,
                budget=self._budget,
                broker=lambda: client.broker,
                max_price_age_s=config.max_price_age_s,
                account=str(mode),
            )
        )
        if self._stop_asked:
            engine.stop()
        try:
            client.open()
            return self._run_on_bus(client, redis, engine, saved)
        except RedisUnavailable as error:
            raise Ends(MISCONFIGURED, "scale_t.no_redis", error) from error
        finally:
            client.close(self._left(3.0))

    def _run_on_bus(
        self, client: TickerClient, redis: RedisConfig, engine: Engine, saved: Saved | None
    ) -> int:
        config = self._config
        lease = TickerLease(redis, config.client_id, config.ticker, engine.supersede)
        try:
            lease.take(self._start.pause)
            return self._run_alone(client, redis, engine, saved)
        finally:
            lease.close(self._left(0.5))

    def _run_alone(
        self, client: TickerClient, redis: RedisConfig, engine: Engine, saved: Saved | None
    ) -> int:
        config = self._config
        feed = TickerFeed(client, config.ticker, engine.on_message, engine.on_rejected)
        control = ControlPort(client.bus, redis, config.client_id, config.ticker, engine.on_request)
        engine.answer_with(control.answer)
        try:
            # Listening comes first: what happens while the orders are listed is not missed.
            feed.start(LISTEN_WITHIN_S)
            read_back(redis, config.ticker, engine.parts.readiness)
            self._start.restore(engine, saved)
            return self._trade(engine, feed)
        finally:
            feed.stop(self._left(1.0))
            control.close()

    # -- running, and stopping in less than 5 s

    def _left(self, most_s: float) -> float:
        """How long a step of the end may take: each has its time, and all of them together."""
        if self._stop_by is None:
            return most_s
        return max(0.05, min(most_s, self._stop_by - time.monotonic()))

    def _trade(self, engine: Engine, feed: TickerFeed) -> int:
        try:
            engine.run()
        finally:
            cancel = self._config.cancel_entries_on_stop and engine.superseded is None
            settled = engine.wind_up(cancel, self._left(CANCEL_WITHIN_S))
            feed.stop(self._left(1.0))
            engine.close(self._left(0.5))
        self._tell_end(engine, settled)
        if engine.superseded is not None:
            raise Ends(MISCONFIGURED, "scale_t.superseded", engine.superseded)
        if engine.failure is not None:
            raise Ends(NOT_STARTED, "scale_t.rejected", engine.failure)
        if engine.ladder.loss_reached:
            raise Ends(LOSS_LIMIT, "scale_t.loss_limit", engine.ladder.reason)
        return STOPPED

    def _tell_end(self, engine: Engine, settled: bool) -> None:
        book = engine.ladder.book
        entries = [order.client_order_id for order in book.active("entry")]
        if entries and not settled:
            log.error("scale_t.entries_may_still_work", orders=entries)
        owns = abs(book.position)
        if owns > engine.ladder.dust and not book.active("profit"):
            log.warning(
                "scale_t.no_exit_works", owns=plain(owns), then="start it again, or scale-t flatten"
            )
        log.info(
            "scale_t.stopped",
            position=plain(book.position),
            **_dust(engine.ladder),
            realised=cents(engine.ladder.profit().realised),
            profit_orders_working=len(book.active("profit")),
            requests=engine.counters["requests"],
        )


def _claim(file: StateFile, lock: StateLock) -> Saved | None:
    """What was saved, once nobody else on this machine may change it."""
    try:
        file.check()
        lock.take()
        return file.read()
    except StateFileBroken as error:
        raise Ends(MISCONFIGURED, "scale_t.state_file", error) from error


def _dust(ladder: Ladder) -> dict[str, str]:
    """What of a pair is owned, and too little for an order."""
    dust = ladder.dust
    return {"dust": f"{dust:f}"} if dust else {}


def run_scale_t(configs: Sequence[ScaleTConfig], settings: Settings) -> int:
    """Run one or more ladders until SIGTERM or Ctrl-C, which are taken over while they run in the
    main thread. They share one account, and its requests.

    Returns the exit code, as `ScaleT.run`; of several, the first that is not 0.
    """
    budget = RequestBudget(configs[0].requests_per_minute)
    ladders = [ScaleT(config, settings, budget) for config in configs]

    def on_signal(number: int, frame: FrameType | None) -> None:
        for each in ladders:
            each.stop()

    if threading.current_thread() is not threading.main_thread():
        return _run_all(ladders)
    before = {each: signal.signal(each, on_signal) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        return _run_all(ladders)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_all(ladders: Sequence[ScaleT]) -> int:
    if len(ladders) == 1:
        return ladders[0].run()
    codes: list[int] = [NOT_STARTED] * len(ladders)

    def work(number: int) -> None:
        codes[number] = ladders[number].run()

    threads = [
        threading.Thread(target=work, args=(number,), name=f"scale-t-{number}")
        for number in range(len(ladders))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # in steps: a signal must be heard meanwhile
    return next((code for code in codes if code), STOPPED)
