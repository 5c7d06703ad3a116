"""Pure: the trades of the last half minute, of all tickers, so that none is published twice: Alpaca
may send one again, and a refill overlaps what was published, which Redis may have lost since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from ..utils.redis.messages import PriceMessage

KEPT_S: Final = 30.0
LEAST: Final = 4_096  # kept however old they are: a quiet market costs nothing
MOST: Final = 200_000  # in half of the memory, which then takes 16 MB


class RecentTrades:
    """Two halves of a memory: when the newer one is old or large enough, the older one goes.

    Hashes, not the trades: some 80 bytes for each. By chance a trade has the hash of one of 400,000
    others once in some 10^12 trades.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._turned_s = clock_s()
        self._newer: set[int] = set()
        self._older: set[int] = set()
        self._look_at = LEAST

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def is_repeat(self, message: PriceMessage) -> bool:
        """Whether this trade came before; if not, it is remembered."""
        trade_id = message.trade_id
        if trade_id is UNSET:
            return False
        key = hash(
            (message.symbol, trade_id, message.exchange, message.tape, message.timestamp[:10])
        )
        newer = self._newer
        if key in newer or key in self._older:
            return True
        newer.add(key)
        if len(newer) >= self._look_at:
            self._turn()
        return False

    def _turn(self) -> None:
        now_s = self._clock_s()
        if now_s - self._turned_s < KEPT_S and len(self._newer) < MOST:
            self._look_at = min(MOST, len(self._newer) + LEAST)
            return
        self._newer, self._older = set(), self._newer
        self._turned_s, self._look_at = now_s, LEAST
