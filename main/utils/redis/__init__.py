"""The bus: ticker channels over Redis, for any consumer. It knows nothing of Alpaca."""

from .config import RedisConfig
from .constants import CHANNELS, BusNames, get_ticker_channel
from .publisher import RedisPublisher
from .subscriber import RedisSubscriber

__all__ = [
    "CHANNELS",
    "BusNames",
    "RedisConfig",
    "RedisPublisher",
    "RedisSubscriber",
    "get_ticker_channel",
]
