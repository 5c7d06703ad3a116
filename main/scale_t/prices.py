"""The newest price of one ticker: from the bus, by REST when that is stale, or given by hand."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

from ..utils.redis.messages import PriceMessage, parse_rfc3339
from .session_check import LatestTrade


class NewestPrice:
    """One thread sees prices, another takes the newest. Only those that may set the last price."""

    def __init__(self, max_age_s: float) -> None:
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._moment_ns = 0
        self._untaken: Decimal | None = None
        self._newest: Decimal | None = None
        self.by_hand = False

    def see(self, message: PriceMessage) -> None:
        """A trade from the bus; a late one never replaces a newer."""
        if message.last_eligible:
            self._set(Decimal(repr(message.price)), parse_rfc3339(message.timestamp))

    def replace(self, trade: LatestTrade) -> None:
        """The latest trade by REST."""
        self._set(trade.price, parse_rfc3339(trade.timestamp))

    def give(self, price: Decimal) -> None:
        """By hand."""
        with self._lock:
            self._untaken, self._moment_ns, self.by_hand = price, time.time_ns(), True
            self._newest = price

    def take(self) -> Decimal | None:
        """The newest price, if there is one that was not taken yet."""
        with self._lock:
            price, self._untaken = self._untaken, None
            return price

    def newest(self, now: float) -> Decimal | None:
        """The newest price, taken or not, unless it is stale."""
        return None if self.is_stale(now) else self._newest

    def age_s(self, now: float) -> float | None:
        """Seconds since it traded; `now` is the time of day, in Unix seconds."""
        with self._lock:
            return max(0.0, now - self._moment_ns / 1e9) if self._moment_ns else None

    def is_stale(self, now: float) -> bool:
        """Older than the maximum age, or there is none."""
        age_s = self.age_s(now)
        return age_s is None or age_s > self._max_age_s

    def _set(self, price: Decimal, moment_ns: int) -> None:
        with self._lock:
            if moment_ns >= self._moment_ns:
                self._untaken, self._moment_ns, self.by_hand = price, moment_ns, False
                self._newest = price
