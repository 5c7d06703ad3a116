"""The one place where an executor is put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .config import ExecutorConfig
from .event_outlet import EventBus
from .order_executor import OrderExecutor
from .trade_executor import TradeExecutor

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient


class ExecutorBuilder:
    """`ExecutorBuilder.build_from_config(config=…, client=…, event_bus=…, logger=…)`."""

    @staticmethod
    def build_from_config(
        config: ExecutorConfig | Mapping[str, Any] | None = None,
        *,
        client: TradingClient,
        event_bus: EventBus | None = None,
        logger: Any = None,
    ) -> TradeExecutor:
        """A trade executor over alpaca-py's `TradingClient`. Connects nothing yet.

        `config`: an `ExecutorConfig`, or a mapping of its names, or None for the defaults.
        `event_bus`: a `RedisEventBus` to publish to, or None; it may fail as it likes, trading goes
        on. It stays the caller's to close, after the executor. `logger`: structlog's, or a
        `logging.Logger`, or None.

        Raises:
            InvalidExecutorConfig: names all that is wrong.
        """
        checked = ExecutorConfig.of(config)
        return TradeExecutor(OrderExecutor(checked, client, event_bus, logger))
