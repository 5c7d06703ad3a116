"""The demo: the stack, and an independent consumer that watches and judges the whole road."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group

from .board import Board, BoardMessage
from .stack import PartFailed, Stack, StackConfig
from .table import Heading, broker_state, draw
from .utils.redis.registration import LeaseKeeper, RegistrationClient
from .utils.redis.subscriber import RedisSubscriber

PING_EVERY_S = 1.0
LEASE_S = 60
REGISTER_S = 15.0
FIRST_PRICE_S = 5.0
KEEPER_PARTING_S = 0.2
ABOVE_MARKET = 0.10  # dollars
GOOD_STATES = ("RUNNING", "DEGRADED")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One part of the road. `worked` is None when it was not tried."""

    part: str
    worked: bool | None
    detail: str


class Demo:
    """`start`, `picture` while it runs, `checks`, `stop`. All from the main thread."""

    def __init__(
        self,
        config: StackConfig,
        say: Callable[[str], None],
        hear: Callable[[str, str], None] | None = None,
    ) -> None:
        self.stack = Stack(config, say, hear)
        self.board = Board(config.tickers)
        self._config = config
        self._lock = threading.Lock()
        self._subscriber: RedisSubscriber | None = None
        self._client: RegistrationClient | None = None
        self._keeper: LeaseKeeper | None = None
        self._pinged_at, self._redis_answers = 0.0, False

    def start(self) -> None:
        """Bring everything up and register the demo's tickers.

        Raises:
            PartFailed: a part did not come up, or the broker rejected a ticker.
            The errors of `Stack.start`. Call `stop` in every case.
        """
        self.stack.start()
        self._subscribe()
        self._register()
        self.stack.start_consumer(self._buying_price())

    def _subscribe(self) -> None:
        self._subscriber = RedisSubscriber(self.stack.redis)
        names = self._subscriber.names
        for channel in (*map(names.get_ticker_channel, self.board.rows), names.BROKER_STATUS):
            self._subscriber.subscribe(channel, self._take)
        self._subscriber.start_listening()

    def _register(self) -> None:
        secured = self._config.settings.registration_secured
        client = RegistrationClient(self.stack.redis, client_id_of("demo"), secured=secured)
        self._client = client
        deadline = time.monotonic() + REGISTER_S
        waiting = list(self.board.rows)
        while waiting:
            rejected = [
                reply
                for reply in client.register(waiting, LEASE_S, timeout_s=REGISTER_S)
                if reply.status == "rejected"
            ]
            for reply in rejected:
                if reply.reason != "upstream_unavailable" or time.monotonic() > deadline:
                    told = reply.detail or reply.reason
                    raise PartFailed(f"the broker rejected {reply.ticker}: {told}")
            waiting = [reply.ticker for reply in rejected if reply.ticker]
        self._keeper = LeaseKeeper(client, self.board.rows, lease_s=LEASE_S)
        self._keeper.start()

    def _buying_price(self) -> str | None:
        """A little above the market, so that the first rung is bought while the viewer looks."""
        trading = self._config.trading
        if trading is None or not self.stack.trades:
            return None
        row = self.board.rows[trading.ticker]
        deadline = time.monotonic() + FIRST_PRICE_S
        while row.last is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return None if row.last is None else f"{row.last + ABOVE_MARKET:.2f}"

    def _take(self, message: BoardMessage) -> None:
        with self._lock:
            self.board.apply(message, time.monotonic())

    def runs(self) -> bool:
        """Whether every part still lives. Asks Redis too, now and then, for the table."""
        self._ping(time.monotonic())
        return not self.stack.deaths()

    def picture(self, width: int, hint: str = "") -> Group:
        """The table as it is now, for a terminal of `width` columns."""
        now = time.monotonic()
        heading = Heading(
            account=self.stack.account_short,
            paper=self.stack.paper,
            redis=self.stack.redis.address.removesuffix("/0"),
            redis_answers=self._redis_answers,
            hint=hint,
        )
        with self._lock:
            return draw(self.board, heading, now, self.board.rate(now), width)

    def _ping(self, now: float) -> None:
        if self._subscriber is not None and now - self._pinged_at >= PING_EVERY_S:
            self._pinged_at, self._redis_answers = now, self._subscriber.ping()

    def checks(self) -> list[Check]:
        """What of the road worked until now."""
        with self._lock:
            return [
                *self._part_checks(),
                self._price_check(),
                self._order_check("new"),
                self._order_check("fill"),
            ]

    def _part_checks(self) -> list[Check]:
        now = time.monotonic()
        state = broker_state(self.board, now)
        deaths = self.stack.deaths()
        answers = "answers" if self._redis_answers else "is silent"
        return [
            Check(part="parts", worked=not deaths, detail="; ".join(deaths) or "all are running"),
            Check(
                part="Redis",
                worked=self._redis_answers,
                detail=f"{self.stack.redis.address} {answers}",
            ),
            Check(part="broker", worked=state in GOOD_STATES, detail=state),
        ]

    def _price_check(self) -> Check:
        rows, silent = self.board.rows, self.board.silent_tickers()
        total = sum(row.prices for row in rows.values())
        gaps = sum(row.gaps for row in rows.values())
        heard = f"{len(rows) - len(silent)} of {len(rows)} tickers"
        came = f"{total:,} prices of {heard} came through Redis, {gaps} gaps"
        missing = f"; none of {', '.join(silent)}" if silent else ""
        return Check(part="prices", worked=not silent, detail=came + missing)

    def _order_check(self, event: str) -> Check:
        part = f"order {event}"
        trading = self._config.trading
        if trading is None or not self.stack.trades:
            return Check(part=part, worked=None, detail="nothing trades on your account")
        count = self.board.order_events[trading.client_id, event]
        detail = f"{count} of {trading.client_id} on {trading.ticker} came through Redis"
        return Check(part=part, worked=count > 0, detail=detail)

    def stop(self) -> None:
        """End everything within five seconds."""
        try:
            if self._keeper is not None:
                # Not unregistered: the broker ends with us, or the lease does.
                self._keeper.stop(unregister=False, timeout_s=KEEPER_PARTING_S)
            if self._client is not None:
                self._client.close()
            if self._subscriber is not None:
                self._subscriber.close()
        finally:
            self._keeper = self._client = self._subscriber = None
            self.stack.stop()


def failures(checks: Sequence[Check]) -> list[Check]:
    """The checks of what was tried and did not work."""
    return [check for check in checks if check.worked is False]


def client_id_of(program: str) -> str:
    """`demo@<host>`: who registers, with nothing that a client id may not hold."""
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "-" for c in _host())
    return f"{program}@{allowed}"[:64]


def _host() -> str:
    return socket.gethostname() or "localhost"
