"""The trade executor: orders over alpaca-py, and the document's events by itself.

from tickerbus.trader import ExecutorBuilder, ExecutorConfig, OrderTerms
"""

from __future__ import annotations

from ..utils.order_terms import InvalidTerms, OrderTerms, ReplaceTerms
from .config import ExecutorConfig, InvalidExecutorConfig
from .executor_builder import ExecutorBuilder
from .order_executor import OrderExecutor
from .outcome import OrderOutcome
from .trade_executor import TradeExecutor

__all__ = [
    "ExecutorBuilder",
    "ExecutorConfig",
    "InvalidExecutorConfig",
    "InvalidTerms",
    "OrderExecutor",
    "OrderOutcome",
    "OrderTerms",
    "ReplaceTerms",
    "TradeExecutor",
]
