"""Pure: what comes of tickers that the producers do not follow yet: between Alpaca's
acknowledgement and their restart with the longer list."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from ..utils.redis.messages import (
    BarMessage,
    BarsGap,
    BusMessage,
    GapMessage,
    QuoteMessage,
    QuotesGap,
    now_rfc3339,
)

MOST: Final = 10_000

_GAPS: Final[Mapping[type, type[GapMessage]]] = {QuoteMessage: QuotesGap, BarMessage: BarsGap}


@dataclass
class _Lost:
    """What had no room: how many messages, and from when to when they happened."""

    count: int
    begun: str
    until: str


class EarlyMessages:
    """The oldest `MOST` are kept; of the others each ticker's gap tells."""

    def __init__(self) -> None:
        self._kept: list[BusMessage] = []
        self._lost: dict[tuple[type[GapMessage], str], _Lost] = {}

    def keep(self, message: BusMessage) -> bool:
        """Whether there was room for it."""
        if len(self._kept) < MOST:
            self._kept.append(message)
            return True
        key = (_GAPS.get(type(message), GapMessage), message.symbol)
        lost = self._lost.setdefault(key, _Lost(0, message.timestamp, message.timestamp))
        lost.count += 1
        lost.begun, lost.until = sorted((lost.begun, lost.until, message.timestamp))[::2]
        return False

    def take(self, following: Collection[str]) -> tuple[list[BusMessage], int]:
        """Those of tickers that are followed now, and how many belong to none: it was left."""
        kept, self._kept = self._kept, []
        lost, self._lost = self._lost, {}
        mine = [message for message in kept if message.symbol in following]
        left = len(kept) - len(mine)
        for (kind, symbol), what in lost.items():
            if symbol in following:
                mine.append(_gap(kind, symbol, what))
            else:
                left += what.count
        return mine, left


def _gap(kind: type[GapMessage], symbol: str, lost: _Lost) -> GapMessage:
    return kind(
        symbol=symbol,
        timestamp=now_rfc3339(),
        from_=lost.begun,
        to=lost.until,
        cause="overload",
        backfilled=False,
        lost=lost.count,
    )
