"""TickerBus: one Alpaca connection, a Redis channel for every ticker.

    from tickerbus import PriceMessage, TickerClient

The names below are loaded when they are first used, and never bring the broker or Alpaca's
libraries with them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .utils.redis.broker_watch import BrokerView
    from .utils.redis.client import TickerClient
    from .utils.redis.config import RedisConfig
    from .utils.redis.constants import CHANNELS, BusNames, get_ticker_channel
    from .utils.redis.errors import (
        BusError,
        IllegalUse,
        InvalidTicker,
        RedisUnavailable,
        RegistrationRejected,
    )
    from .utils.redis.messages import (
        BarMessage,
        BrokerStatus,
        CorrectionMessage,
        GapMessage,
        OrderMessage,
        PriceMessage,
        QuoteMessage,
        RegistrationReply,
        StatusMessage,
    )
    from .utils.redis.publisher import RedisPublisher
    from .utils.redis.registration import LeaseKeeper, NoBroker, RegistrationClient
    from .utils.redis.stream import Stream
    from .utils.redis.subscriber import RedisSubscriber

__version__ = "0.1.0"

_HOMES = {
    "BrokerView": "broker_watch",
    "TickerClient": "client",
    "RedisConfig": "config",
    "CHANNELS": "constants",
    "BusNames": "constants",
    "get_ticker_channel": "constants",
    "BusError": "errors",
    "IllegalUse": "errors",
    "InvalidTicker": "errors",
    "RedisUnavailable": "errors",
    "RegistrationRejected": "errors",
    "BarMessage": "messages",
    "BrokerStatus": "messages",
    "CorrectionMessage": "messages",
    "GapMessage": "messages",
    "OrderMessage": "messages",
    "PriceMessage": "messages",
    "QuoteMessage": "messages",
    "RegistrationReply": "messages",
    "StatusMessage": "messages",
    "RedisPublisher": "publisher",
    "LeaseKeeper": "registration",
    "NoBroker": "registration",
    "RegistrationClient": "registration",
    "Stream": "stream",
    "RedisSubscriber": "subscriber",
}

__all__ = [
    "BarMessage",
    "BrokerStatus",
    "BrokerView",
    "BusError",
    "BusNames",
    "CHANNELS",
    "CorrectionMessage",
    "GapMessage",
    "IllegalUse",
    "InvalidTicker",
    "LeaseKeeper",
    "NoBroker",
    "OrderMessage",
    "PriceMessage",
    "QuoteMessage",
    "RedisConfig",
    "RedisPublisher",
    "RedisSubscriber",
    "RedisUnavailable",
    "RegistrationClient",
    "RegistrationRejected",
    "RegistrationReply",
    "StatusMessage",
    "Stream",
    "TickerClient",
    "get_ticker_channel",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f".utils.redis.{home}", __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
