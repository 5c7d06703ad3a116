"""Pure: what the page knows of one ticker."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ..utils.redis.messages import PriceMessage, StatusMessage
from . import words
from .diagnosis import Diagnosis

BUCKET_S: Final = 5.0  # one point of the sparkline
POINTS: Final = 60  # five minutes
YOUNG: Final = 12
RATE_MEMORY_S: Final = 3.0
FUTURE_S: Final = 60.0  # a trade that is further ahead of us has a wrong time
# The tapes' codes, as the broker reads them. All others say nothing of a halt.
HALTS: Final = ("H", "P", "2")
RESUMES: Final = ("T", "3")


@dataclass(frozen=True, kw_only=True)
class Halt:
    """Trading of a ticker is halted: why, and since when (Unix seconds)."""

    reason: str
    at_s: float


@dataclass(kw_only=True)
class Row:
    """One ticker. Times are Unix seconds; `version` is the board's when a viewer last had news."""

    symbol: str
    version: int = 0
    last: float | None = None
    last_at_s: float | None = None  # when the last trade happened
    heard_at_s: float | None = None  # when the last message came here
    tick: int = 0
    messages: int = 0
    prices: int = 0
    rate: float = 0.0
    lag_s: float | None = None
    holders: int = 0
    halt: Halt | None = None
    diagnosis: Diagnosis | None = None
    trend: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=POINTS))
    spark: str = ""
    changed: bool = True
    is_seeded: bool = False
    cells: list[Any] = field(default_factory=list)  # in the order that `live.js` knows
    _counted: int = 0

    def take_price(self, message: PriceMessage, now_s: float) -> None:
        """A trade, just published."""
        self.prices += 1
        at_s = words.unix_s(message.timestamp)
        if at_s is None or at_s > now_s + FUTURE_S:
            at_s = now_s
        if not message.backfilled:
            self.lag_s = _smooth(self.lag_s, max(0.0, now_s - at_s))
        self._note_trade(at_s)
        self._take(message.price, at_s, message.last_eligible)

    def seed(self, trades: Iterable[tuple[float, float, bool]]) -> None:
        """What the journal has, oldest first: (time, price, may it set the last price)."""
        known = dict(self.trend)
        found: dict[int, float] = {}
        for at_s, price, eligible in trades:
            newer = self.last_at_s is None or at_s > self.last_at_s
            if eligible:
                found[int(at_s // BUCKET_S)] = price
                self.last = price if newer or self.last is None else self.last
            if newer:
                self.last_at_s = at_s
        self.trend.clear()
        self.trend.extend(sorted((found | known).items()))
        self.spark, self.changed = words.points(p for _, p in self.trend), True

    def take_status(self, message: StatusMessage) -> None:
        """A halt, a resume, or something else that the tapes say of a ticker."""
        if message.code in HALTS:
            reason = words.word(message.reason_message or message.reason_code or message.message)
            self.halt = Halt(reason=reason, at_s=words.unix_s(message.timestamp) or 0.0)
        elif message.code in RESUMES:
            self.halt = None
        self.changed = True

    def seed_halt(self, messages: Iterable[object]) -> None:
        """What the journal's messages, oldest first, leave: unless something newer has come."""
        before = self.halt
        for message in messages:
            if isinstance(message, StatusMessage):
                self.take_status(message)
            elif isinstance(message, PriceMessage):
                self._note_trade(words.unix_s(message.timestamp) or 0.0)
        self.halt = before or self.halt

    def count(self, elapsed_s: float) -> None:
        """Take the messages since the last count into the rate."""
        new, self._counted = self.messages - self._counted, self.messages
        keep = math.exp(-elapsed_s / RATE_MEMORY_S)
        before = words.rate(self.rate)
        self.rate = keep * self.rate + (1 - keep) * new / elapsed_s
        self.changed |= before != words.rate(self.rate)
        if len(self.trend) < YOUNG:  # a short line looks wrong while its last point waits
            self.spark = words.points(p for _, p in self.trend)

    @property
    def change_percent(self) -> float | None:
        """Over the sparkline."""
        if len(self.trend) < 2 or not self.trend[0][1]:
            return None
        return (self.trend[-1][1] / self.trend[0][1] - 1) * 100

    def _note_trade(self, at_s: float) -> None:
        """Whoever trades is not halted: the resume may have been lost."""
        if self.halt is not None and at_s > self.halt.at_s:
            self.halt = None

    def _take(self, price: float, at_s: float, eligible: bool) -> None:
        self.last_at_s, self.changed = max(at_s, self.last_at_s or 0.0), True
        if not eligible:
            return
        if self.last is not None and price != self.last:
            self.tick = 1 if price > self.last else -1
        self.last = price
        if self._point(int(at_s // BUCKET_S), price):
            self.spark = words.points(p for _, p in self.trend)

    def _point(self, bucket: int, price: float) -> bool:
        """Whether it is a new point, rather than the newest one's change."""
        if self.trend and self.trend[-1][0] >= bucket:
            self.trend[-1] = (self.trend[-1][0], price)
            return False
        self.trend.append((bucket, price))
        return True

    def render(self) -> None:
        """Write down what viewers are sent: once for all of them."""
        found = self.diagnosis
        percent = self.change_percent
        self.cells = [
            self.symbol,
            words.price(self.last),
            self.tick,
            "" if percent is None else f"{round(percent, 2) + 0.0:+.2f}%",
            self.spark,
            words.rate(self.rate),
            words.lag(self.lag_s),
            found.state if found else "",
            found.why if found else "",
            self.holders,
            None if self.last_at_s is None else round(self.last_at_s, 1),
        ]


def _smooth(before: float | None, now: float) -> float:
    return now if before is None else 0.8 * before + 0.2 * now


def trades_of(messages: Sequence[object]) -> list[tuple[float, float, bool]]:
    """The trades among a journal's messages, as `Row.seed` wants them."""
    found = []
    for message in messages:
        if isinstance(message, PriceMessage):
            at_s = words.unix_s(message.timestamp)
            if at_s is not None:
                found.append((at_s, message.price, message.last_eligible))
    return found
