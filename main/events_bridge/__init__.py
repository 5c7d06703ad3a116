"""The events bridge: the broker's order messages become trade events, each once.

It follows every symbol that has orders through `TickerClient`, and publishes to the trade event
bus. The broker knows nothing of it.
"""

from .bridge import BridgeConfig, EventsBridge
from .ownership import AnotherBridge

__all__ = ["AnotherBridge", "BridgeConfig", "EventsBridge"]
