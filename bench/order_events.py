"""The events of the benchmarks: orders as they come, created, filled in part, filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from main.trade_events import TradeEvent
from main.trade_events.names import TradeNames

NAMES: Final = TradeNames()
SYMBOLS: Final = ("AAPL", "MSFT", "XAUUSD", "BTC/USD")


def orders(count: int, tag: int) -> Iterator[TradeEvent]:
    """The events of `count // 3` orders; `tag` tells them from those of another run."""
    for number in range(count // 3):
        symbol, name, who = SYMBOLS[number % len(SYMBOLS)], f"{tag}-{number}", {"account": "PA1"}
        yield TradeEvent.create_order_created(symbol, name, "limit", 187.25, 10, sl=180.0, **who)
        part = {"filled_volume": 4, "execution_id": f"{name}-1"} | who
        yield TradeEvent.create_order_partially_filled(symbol, name, 187.25, 4, **part)
        rest = {"filled_volume": 10, "execution_id": f"{name}-2"} | who
        yield TradeEvent.create_order_filled(symbol, name, 187.25, 6, **rest)
