"""The account's order updates."""

from __future__ import annotations

import time
from collections.abc import Callable

from .connection import Upstream
from .connection_config import ConnectionConfig, StreamState
from .market_session import Outcome
from .order_buffer import OrderBuffer
from .trading_session import TradingSession


class OrderStream(Upstream):
    """The trade-updates connection. `buffer` gets every update, decoded, and loses none."""

    def __init__(
        self,
        config: ConnectionConfig,
        buffer: OrderBuffer,
        on_state: Callable[[StreamState], None] | None = None,
    ) -> None:
        super().__init__(config, on_state)
        self._buffer = buffer
        self._trading_session = TradingSession(config.key, config.secret)
        self.last_event_ns = 0

    def _session(self) -> TradingSession:
        return self._trading_session

    def _new_session(self) -> TradingSession:
        self._trading_session = TradingSession(self.config.key, self.config.secret)
        self._trading_session.sign_in()  # here the client speaks first
        return self._trading_session

    def _receive(self, frame: bytes | str) -> list[Outcome]:
        with self._lock:
            outcomes, update = self._trading_session.receive(frame)
            self.counters["malformed"] += self._trading_session.malformed
            self._trading_session.malformed = 0
        if update is not None:
            self.last_event_ns = time.time_ns()
            self._buffer.put(update)
        return outcomes
