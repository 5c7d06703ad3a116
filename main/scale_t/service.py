"""scale_t as a program: keys and account, the bus, its own earlier orders, the ticker, the trade.

Prices and order messages come only from the ticker's channel; orders go to Alpaca by REST. What is
rebuilt at start, and what is refused then, says `start_state.py`; what is checked before each
session, `session_check.py`.

Threads: the caller's runs the engine; `order-desk` asks Alpaca; `ticker-feed` reads the channel;
the bus has its own. All of them end with `run`.
"""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import FrameType
from typing import Any, Final

import structlog

from ..settings import Settings
from ..utils.redis.client import TickerClient
from ..utils.redis.config import RedisConfig
from ..utils.redis.errors import RedisUnavailable
from ..utils.waits import GrowingWait, RequestBudget
from .account import AccountMode, open_venue
from .config import ScaleTConfig
from .control import ControlPort
from .engine import Engine, EngineParts
from .feed import TickerFeed
from .halts import read_back
from .ladder import Ladder
from .readiness import Readiness
from .saved import Saved, StateFile, StateFileBroken
from .session import Session
from .start_state import NotUnderstood, remember, restore
from .state import cents
from .venue import TooManyOrders, UnknownTicker, Venue, VenueFailed

log: Final = structlog.get_logger("tickerbus.scale_t")

STOPPED, NOT_STARTED, MISCONFIGURED, REFUSED, LOSS_LIMIT = 0, 1, 2, 3, 4
CANCEL_WITHIN_S: Final = 2.5
NO_CRYPTO: Final = (
    "pairs of crypto are not traded yet: Alpaca takes the fee of each buy in the coin, so the "
    "account would own less than was bought, and each profit order would be refused. "
    "`plan` and `simulate` take pairs, without fees"
)
LISTEN_WITHIN_S: Final = 8.0


class _Ends(Exception):
    """`run` ends here, with this code; the reason is logged once."""

    def __init__(self, code: int, event: str, reason: object) -> None:
        self.code, self.event, self.reason = code, event, reason
        super().__init__(f"{event}: {reason}")


class _Stopped(Exception):
    """`stop` was called while starting."""


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

    def stop(self) -> None:
        """`run` returns within 5 s."""
        self._stop_asked = True
        if self.engine is not None:
            self.engine.stop()

    def run(self) -> int:
        """Trade until stopped.

        Returns:
            0 stopped or flattened, 1 the start state is not understood or the ticker is not to be
            had, 2 a setting is wrong or missing, 3 Alpaca refuses the keys, 4 its own loss limit.
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
        if self._settings.alpaca_api_key is None or self._settings.alpaca_api_secret is None:
            reason = "set ALPACA_API_KEY and ALPACA_API_SECRET"
            raise _Ends(MISCONFIGURED, "scale_t.no_keys", reason)
        if self._config.terms.is_crypto:
            raise _Ends(MISCONFIGURED, "scale_t.no_crypto", NO_CRYPTO)
        venue = open_venue(self._settings)
        try:
            mode = AccountMode.of(self._settings, self._ask(venue.account))
            log.info("scale_t.account", mode=mode.kind, account=mode.short, url=venue.url)
            return self._run_on_account(venue, mode)
        finally:
            venue.close()

    def _run_on_account(self, venue: Venue, mode: AccountMode) -> int:
        ladder = Ladder(self._terms(venue))
        config = self._config
        file = StateFile(config.state_dir, mode.number, config.client_id, config.ticker)
        try:
            file.check()
            saved = file.read()
        except StateFileBroken as error:
            raise _Ends(MISCONFIGURED, "scale_t.state_file", error) from error
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
            )
        )
        if self._stop_asked:
            engine.stop()
        try:
            with client:
                return self._run_on_bus(client, redis, engine, saved)
        except RedisUnavailable as error:
            raise _Ends(MISCONFIGURED, "scale_t.no_redis", error) from error

    def _terms(self, venue: Venue) -> Any:
        """The ladder's, with the price step of a pair, which is the asset's own."""
        terms = self._config.terms
        try:
            asset = self._ask(lambda: venue.asset(terms.ticker))
        except UnknownTicker as error:
            raise _Ends(NOT_STARTED, "scale_t.unknown_ticker", error) from error
        if not terms.is_crypto:
            return terms
        step = Decimal(str(asset.get("price_increment") or "0.01"))
        return dataclasses.replace(terms, price_step=step)

    def _run_on_bus(
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
            self._restore(engine, saved)
            return self._trade(engine, feed)
        finally:
            feed.stop(timeout_s=1.0)
            control.close()

    def _restore(self, engine: Engine, saved: Saved | None) -> None:
        ticker, config = self._config.ticker, self._config
        venue, ladder = engine.parts.venue, engine.ladder
        try:
            orders = self._ask(lambda: venue.all_orders(ticker, pause=self._pause))
            known = engine.session.saved = remember(ladder, orders, saved)
            start = known.start_price if known is not None else None
            restore(ladder, orders, config.start_price, start)
        except (NotUnderstood, TooManyOrders) as error:
            raise _Ends(NOT_STARTED, "scale_t.start_state_not_understood", error) from error
        log.info(
            "scale_t.started",
            ticker=ticker,
            max_position=str(config.terms.max_position),
            start_price=str(ladder.start_price or "first price"),
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
                self._pause(wait.grow(time.monotonic()))
        raise _Stopped

    def _pause(self, seconds: float) -> None:
        """A stop ends it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._stop_asked:
                raise _Stopped
            time.sleep(0.05)

    # -- running, and stopping in less than 5 s

    def _trade(self, engine: Engine, feed: TickerFeed) -> int:
        try:
            engine.run()
        finally:
            settled = engine.wind_up(self._config.cancel_entries_on_stop, CANCEL_WITHIN_S)
            feed.stop(timeout_s=1.0)
            engine.close(timeout_s=0.5)
        self._tell_end(engine, settled)
        if engine.failure is not None:
            raise _Ends(NOT_STARTED, "scale_t.rejected", engine.failure)
        if engine.ladder.loss_reached:
            raise _Ends(LOSS_LIMIT, "scale_t.loss_limit", engine.ladder.reason)
        return STOPPED

    def _tell_end(self, engine: Engine, settled: bool) -> None:
        book = engine.ladder.book
        if not settled:
            entries = [order.client_order_id for order in book.active("entry")]
            log.error("scale_t.entries_may_still_work", orders=entries)
        log.info(
            "scale_t.stopped",
            position=str(book.position),
            realised=cents(engine.ladder.profit().realised),
            profit_orders_working=len(book.active("profit")),
            requests=engine.counters["requests"],
        )


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
