"""The trade event bus: orders, positions, trades, risk and signals over Redis.

    from tickerbus.trade_events import EventBusFactory, TradeEvent, TradeEventType

redis-py is imported when the bus is first used, not with this package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import InvalidTradeEvent, PublishRefused, RebuildFailed, TradeEventError
from .events import TradeEvent
from .factory import EventBusFactory
from .ids import event_id_of
from .kinds import TradeEventType

if TYPE_CHECKING:
    from .bus import RedisEventBus
    from .receipts import Receipt

_LAZY = {"RedisEventBus": "bus", "Receipt": "receipts"}

__all__ = [
    "EventBusFactory",
    "InvalidTradeEvent",
    "PublishRefused",
    "RebuildFailed",
    "Receipt",
    "RedisEventBus",
    "TradeEvent",
    "TradeEventError",
    "TradeEventType",
    "event_id_of",
]


def __getattr__(name: str) -> Any:
    home = _LAZY.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".{home}", __name__), name)
    globals()[name] = found
    return found
