"""Pure: what the demo's table and its verdict are made of. Messages and times in, facts out."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from .utils.redis.messages import (
    BrokerStatus,
    CorrectionMessage,
    GapMessage,
    OrderMessage,
    PriceMessage,
    StatusMessage,
)
from .wording import describe_order

TREND_POINTS: Final = 24
RATE_WINDOW_S: Final = 2.0
FILLS: Final = ("fill", "partial_fill")

BoardMessage = (
    PriceMessage | OrderMessage | GapMessage | StatusMessage | CorrectionMessage | BrokerStatus
)


@dataclass(kw_only=True)
class Row:
    """One ticker. `tick` is the last price change's direction; times are monotonic seconds."""

    ticker: str
    first: float | None = None
    last: float | None = None
    tick: int = 0
    volume: float = 0.0
    messages: int = 0
    prices: int = 0
    gaps: int = 0
    heard_at: float | None = None
    fills: int = 0
    order: str | None = None
    order_event: str | None = None
    trend: deque[float] = field(default_factory=lambda: deque(maxlen=TREND_POINTS))

    @property
    def change_percent(self) -> float | None:
        """Since the first price that was seen."""
        if self.first is None or self.last is None:
            return None
        return (self.last / self.first - 1) * 100


class Board:
    """Everything that came through Redis. Not thread-safe: its owner holds a lock."""

    def __init__(self, tickers: Iterable[str]) -> None:
        self.rows = {ticker: Row(ticker=ticker) for ticker in tickers}
        self.order_events: Counter[tuple[str, str]] = Counter()  # (client id, event)
        self.messages = 0
        self.broker: BrokerStatus | None = None
        self.broker_heard_at: float | None = None
        self._samples: deque[tuple[float, int]] = deque()

    def apply(self, message: BoardMessage, now: float) -> None:
        """Take in one message. Tickers that are not on the board are ignored."""
        if isinstance(message, BrokerStatus):
            self.broker, self.broker_heard_at = message, now
            return
        row = self.rows.get(message.symbol)
        if row is None:
            return
        self.messages += 1
        row.messages += 1
        row.heard_at = now
        if isinstance(message, PriceMessage):
            _apply_price(row, message)
        elif isinstance(message, OrderMessage):
            row.order, row.order_event = describe_order(message), message.event
            row.fills += message.event in FILLS
            owner = str(message.order_data.get("client_order_id") or "").partition(":")[0]
            self.order_events[owner, message.event] += 1
        elif isinstance(message, GapMessage):
            row.gaps += 1

    def rate(self, now: float) -> float:
        """Messages per second over the last seconds, sampled at each call."""
        self._samples.append((now, self.messages))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_WINDOW_S:
            self._samples.popleft()
        then, count = self._samples[0]
        return (self.messages - count) / (now - then) if now > then else 0.0

    def silent_tickers(self) -> list[str]:
        """The tickers of which no price has come."""
        return [row.ticker for row in self.rows.values() if not row.prices]


def _apply_price(row: Row, message: PriceMessage) -> None:
    row.prices += 1
    row.volume += message.volume
    if not message.last_eligible:
        return
    if row.last is not None and message.price != row.last:
        row.tick = 1 if message.price > row.last else -1
    row.first = message.price if row.first is None else row.first
    row.last = message.price
    row.trend.append(message.price)
