"""Figures for Prometheus. Only who asks for them loads its client library.

`BrokerCollector` and `MetricsServer` are the broker's; a program that reads the bus registers a
`ReaderCollector` with its own registry.
"""

from .broker import BrokerCollector
from .reader import ReaderCollector
from .server import MetricsServer

__all__ = ["BrokerCollector", "MetricsServer", "ReaderCollector"]
