"""The local Alpaca: streams, REST, a market and a venue that an unmodified client can use.

`LocalAlpaca` runs it inside a test, `run_forever` as a process.
"""

from .config import Credentials, MarketRules, SimAddress, SimConfig, StreamRules
from .local import LocalAlpaca
from .process import run_forever

__all__ = [
    "Credentials",
    "LocalAlpaca",
    "MarketRules",
    "SimAddress",
    "SimConfig",
    "StreamRules",
    "run_forever",
]
