"""Pure: everything that the page shows, and what of it changed since a viewer last looked.

Messages and times in, the conflated picture out. Whatever comes between two ticks is one change:
a viewer that asks four times a second gets each ticker's newest state and no more, be it one trade
or a thousand. `version` counts ticks; a row and a panel carry the version of their last change, so
that any number of viewers, fast and slow, share one board. Not thread-safe: its owner has a lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from msgspec import UNSET

from ..holders import Holder
from ..utils.redis.constants import UNROUTED
from ..utils.redis.messages import (
    BrokerStatus,
    CorrectionMessage,
    GapMessage,
    MarketStatus,
    OrderMessage,
    PriceMessage,
    StatusMessage,
)
from ..wording import account_name
from . import words
from .alerts import Alert, find_alerts
from .diagnosis import Check, Facts, World, checks, diagnose, is_followed
from .gaps import GapBook, Outage
from .market import Market, day_begins_s, usual_hours
from .orders import OrderBook
from .redis_facts import RedisFacts
from .registrations import Budget, Client, budget, by_client, count_holders
from .rows import Row

MAX_ROWS: Final = 3_000
SLOW_EVERY_S: Final = 1.0  # what a person reads as a number, not as a movement
TickerMessage = PriceMessage | OrderMessage | GapMessage | StatusMessage | CorrectionMessage


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What a viewer has not seen: rows by symbol, and which tickers are gone."""

    version: int
    rows: list[Row]
    gone: list[str]


class Board:
    """`take_…` what comes, `tick` four times a second, `changes` for each viewer."""

    def __init__(self, *, address: str, symbol_limit: int, now_s: float) -> None:
        self.rows: dict[str, Row] = {}
        self.orders, self.gaps = OrderBook(), GapBook()
        self.redis = RedisFacts(address=address)
        self.broker: BrokerStatus | None = None
        self.broker_heard_s: float | None = None
        self.clients: list[Client] = []
        self.holders: dict[str, int] = {}
        self.version = 1
        self.rate = 0.0
        self.messages = self.dropped = self.not_shown = 0
        self.all_gaps_known = True  # False: the journals are too long to be read whole
        self._limit, self._limit_told = symbol_limit, False
        self._started_s = self._slow_s = now_s
        self._counted = 0
        self._gone: dict[str, int] = {}
        self._judged_by: object = None
        self._day_s = day_begins_s(now_s)

    # -- what comes

    def take(self, message: TickerMessage, now_s: float) -> None:
        """A message of a ticker's channel, just published."""
        self.messages += 1
        row = self.row(message.symbol)
        if row is not None:
            row.messages += 1
            row.heard_at_s = now_s
        if isinstance(message, PriceMessage):
            if row is not None:
                row.take_price(message, now_s)
        elif isinstance(message, OrderMessage):
            self.orders.take(message, now_s)
        elif isinstance(message, GapMessage):
            self.gaps.take(message)
        elif isinstance(message, StatusMessage) and row is not None:
            row.take_status(message)

    def take_broker(self, status: BrokerStatus, now_s: float) -> None:
        """A heartbeat."""
        self.broker, self.broker_heard_s = status, now_s
        if isinstance(status.limits, dict) and "symbols" in status.limits:
            self._limit, self._limit_told = status.limits["symbols"], True
        for ticker in status.tickers if isinstance(status.tickers, dict) else ():
            self.row(ticker)

    def take_holders(self, holders: Iterable[Holder]) -> None:
        """All registrations, as they are now."""
        held = list(holders)
        clients, counts = by_client(held), count_holders(held)
        self.clients = clients
        for ticker in counts.keys() | self.holders.keys():
            row = self.row(ticker)
            if row is not None and row.holders != counts.get(ticker, 0):
                row.holders, row.changed = counts.get(ticker, 0), True
        self.holders = counts

    def take_redis(self, facts: RedisFacts) -> None:
        self.redis = facts

    def read_journals_again(self) -> None:
        """Something may have been missed: what is published while Redis cannot be heard."""
        for row in self.rows.values():
            row.is_seeded = False

    def row(self, symbol: str) -> Row | None:
        """The ticker's row, made if it is new. None: there are too many."""
        row = self.rows.get(symbol)
        if row is None:
            if symbol == UNROUTED or len(self.rows) >= MAX_ROWS:
                self.not_shown += 1
                return None
            # The name as it can be shown: what is no ticker's is not hidden, but bounded.
            row = self.rows.setdefault(words.word(symbol, 32), Row(symbol=words.word(symbol, 32)))
            self._gone.pop(row.symbol, None)
        return row

    # -- the picture

    def tick(self, now_s: float) -> int:
        """Four times a second: what came since the last tick becomes news. The new version."""
        self.version += 1
        if now_s - self._slow_s >= SLOW_EVERY_S or now_s < self._slow_s:
            self._tick_slowly(now_s, max(1e-3, now_s - self._slow_s))
        world = self.world(now_s)
        whole = self._is_all_else(world)
        for row in self.rows.values():
            if row.changed or whole:
                self._judge(row, world)
            if row.changed:
                row.render()
                row.version, row.changed = self.version, False
        return self.version

    def _is_all_else(self, world: World) -> bool:
        """Whether something has changed that every ticker depends on."""
        prices = world.broker and world.broker.upstream.prices.state
        judged_by = (world.broker_state, world.redis_trouble is None, prices)
        before, self._judged_by = self._judged_by, judged_by
        return before != judged_by

    def _tick_slowly(self, now_s: float, elapsed_s: float) -> None:
        self._slow_s = now_s
        self.rate = (self.messages - self._counted) / elapsed_s
        self._counted = self.messages
        world = self.world(now_s)
        for row in list(self.rows.values()):
            row.count(elapsed_s)
            self._judge(row, world)
            if self._is_forgotten(row, now_s):
                del self.rows[row.symbol]
                self._gone[row.symbol] = self.version
                if len(self._gone) > MAX_ROWS:
                    self._gone.pop(next(iter(self._gone)))
        if (day_s := day_begins_s(now_s)) != self._day_s:
            self._day_s = day_s
            self.gaps.forget_before(day_s)

    def _judge(self, row: Row, world: World) -> None:
        found = diagnose(self._facts(row), world)
        if found != row.diagnosis:
            row.diagnosis, row.changed = found, True

    def _is_forgotten(self, row: Row, now_s: float) -> bool:
        """Nobody holds it, and nothing came for long: a listing of all that ever was helps none."""
        heard_s = max(row.heard_at_s or 0.0, self._started_s)
        idle = now_s - heard_s > 600 and not row.holders
        return idle and is_followed(row.symbol, self.broker) is not True

    def changes(self, since: int) -> Changes:
        """What has changed after version `since`; all of it for 0."""
        return Changes(
            version=self.version,
            rows=[row for row in self.rows.values() if row.version > since],
            gone=[symbol for symbol, version in self._gone.items() if version >= since],
        )

    def world(self, now_s: float) -> World:
        heard_s = self.broker_heard_s
        return World(
            now_s=now_s,
            started_s=self._started_s,
            redis_trouble=self.redis.trouble,
            broker=self.broker,
            broker_age_s=None if heard_s is None else max(0.0, now_s - heard_s),
            market=self.market(now_s),
        )

    def market(self, now_s: float) -> Market:
        told = self.broker.market if self.broker else UNSET
        if not isinstance(told, MarketStatus):
            return usual_hours(now_s)
        changes_s = words.unix_s(told.changes_at)
        return Market(is_open=told.is_open, changes_s=changes_s, by_broker=changes_s is not None)

    def checks(self, symbol: str, now_s: float) -> list[Check]:
        """The way of a ticker's prices, link by link."""
        row = self.rows.get(symbol) or Row(symbol=symbol)
        return list(checks(self._facts(row), self.world(now_s)))

    def last_gap(self, symbol: str) -> Outage | None:
        return self.gaps.last_of.get(symbol)

    def budget(self) -> Budget:
        return budget(self.holders, self._limit, self._limit_told)

    def states(self) -> Mapping[str, int]:
        """How many tickers are in which state."""
        counts: dict[str, int] = {}
        for row in self.rows.values():
            state = row.diagnosis.state if row.diagnosis else ""
            counts[state] = counts.get(state, 0) + 1
        return counts

    def alerts(self, now_s: float) -> list[Alert]:
        """What needs a person's attention, the worst first."""
        return find_alerts(
            world=self.world(now_s),
            redis=self.redis,
            states=self.states(),
            budget=self.budget(),
            outages=self.gaps.outages,
            dropped=self.dropped,
        )

    def _facts(self, row: Row) -> Facts:
        return Facts(
            symbol=row.symbol,
            holders=row.holders,
            halted=row.halt.reason if row.halt else None,
            last_at_s=row.last_at_s,
            heard_at_s=row.heard_at_s,
            rate=row.rate,
            lag_s=row.lag_s,
        )

    def head(self, now_s: float) -> dict[str, Any]:
        """The page's first line."""
        world, broker = self.world(now_s), self.broker
        account = account_name(broker) if broker else None
        return {
            "state": "UNKNOWN" if world.redis_trouble else world.broker_state or "WAITING",
            "paper": None if broker is None else broker.paper,
            "account": words.word(account) if account else None,
            "is_local": bool(broker and broker.local is True),
            "orders_ready": bool(broker and broker.upstream.orders.ready),
            "redis_ok": self.redis.trouble is None,
            "address": self.redis.address,
            "market": world.market,
        }
