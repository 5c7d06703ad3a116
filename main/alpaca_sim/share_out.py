"""Bounded memory that is shared evenly among tickers. Pure."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

_T = TypeVar("_T")
_LEAST = 100


class ShareOut(Generic[_T]):
    """Keeps the newest items of each ticker: at most `each`, and `total` together (0: no bound).

    The more tickers there are, the fewer are kept of each, but never fewer than a hundred.
    """

    def __init__(self, each: int, total: int = 0) -> None:
        self._each = each
        self._total = total
        self._kept: dict[str, deque[_T]] = {}

    def add(self, symbol: str, item: _T) -> None:
        """Keep an item; the oldest of this ticker make room."""
        kept = self._kept.get(symbol)
        if kept is None:
            kept = self._kept[symbol] = deque(maxlen=self._each)
        kept.append(item)
        if self._total:
            share = max(_LEAST, self._total // len(self._kept))
            while len(kept) > share:
                kept.popleft()

    def of(self, symbol: str) -> deque[_T]:
        """The ticker's items, oldest first."""
        return self._kept.get(symbol, deque())
