"""The broker: Alpaca's streams in, ticker channels out."""

from .broker import AlpacaBroker
from .broker_config import BrokerConfig
from .errors import BrokerError, BrokerNotReady, BrokerRefused

__all__ = ["AlpacaBroker", "BrokerConfig", "BrokerError", "BrokerNotReady", "BrokerRefused"]
