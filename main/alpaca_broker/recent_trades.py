"""Pure: the trades of the last half minute, of all tickers, so that none is published twice: Alpaca
may send one again, and a refill overlaps what was published, which Redis may have lost since."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import UNSET

from ..utils.redis.messages import BusMessage, PriceMessage

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

    def without_repeats(self, messages: Sequence[BusMessage]) -> Sequence[BusMessage]:
        """The messages but for trades that came before; the others are remembered."""
        keys = _keys(messages)
        distinct = set(keys)
        if (
            len(distinct) < len(keys)
            or not self._newer.isdisjoint(distinct)
            or not self._older.isdisjoint(distinct)
        ):
            return [m for m in messages if type(m) is not PriceMessage or not self.is_repeat(m)]
        self._newer |= distinct  # nearly always: all at once
        if len(self._newer) >= self._look_at:
            self._turn()
        return messages

    def is_repeat(self, message: PriceMessage) -> bool:
        """Whether this trade came before; if not, it is remembered."""
        if message.trade_id is UNSET:
            return False
        (key,), newer = _keys((message,)), self._newer
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


def _keys(messages: Iterable[BusMessage]) -> list[int]:
    """Of the trades among them."""
    return [
        hash((m.symbol, m.trade_id, m.exchange, m.tape, m.timestamp[:10]))
        for m in messages
        if type(m) is PriceMessage
    ]
