"""All of the broker's connections to Alpaca: one per endpoint, opened when it is first needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .broker_config import BrokerConfig
from .connection import Upstream
from .connection_config import StreamState
from .frame_buffer import FrameBuffer
from .order_buffer import OrderBuffer
from .order_stream import OrderStream
from .pending_change import PendingChange
from .registry import is_crypto
from .streams import MarketStream

Action: TypeAlias = Literal["subscribe", "unsubscribe"]


_OPENING_S: Final = 0.5  # how long a stop waits for a connection that is not open yet


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a symbol is not followed."""

    reason: str
    detail: str


class Upstreams:
    """Stocks, crypto and orders."""

    def __init__(
        self,
        config: BrokerConfig,
        prices: FrameBuffer,
        orders: OrderBuffer,
        on_state: Callable[[str, StreamState], None],
        on_lost: Callable[[str, int, str], None],
    ) -> None:
        self.market: dict[str, MarketStream] = {}
        self.orders: OrderStream | None = None
        self._config, self._prices, self._orders = config, prices, orders
        self._on_state, self._on_lost = on_state, on_lost
        self._opening = threading.Lock()
        self._closing = False

    def open_market(self, name: str) -> MarketStream:
        """The connection for `stocks` or `crypto`, opened if it is not. One that is asked for
        while all are being closed refuses every change."""
        with self._opening:
            stream = self.market.get(name)
            if stream is None:
                crypto = name == "crypto"
                stream = self.market[name] = MarketStream(
                    self._config.crypto if crypto else self._config.stocks,
                    "crypto" if crypto else self._config.feed,
                    self._prices,
                    lambda state: self._on_state(name, state),
                    self._on_lost,
                )
                self._open(stream)
        return stream

    def open_orders(self) -> OrderStream:
        with self._opening:
            self.orders = OrderStream(
                self._config.orders, self._orders, lambda state: self._on_state("orders", state)
            )
            self._open(self.orders)
        return self.orders

    def _open(self, stream: Upstream) -> None:
        if self._closing:
            stream.begin_close()
        else:
            stream.start()

    def all(self) -> list[tuple[str, Upstream]]:
        streams: list[tuple[str, Upstream]] = list(self.market.items())
        if self.orders is not None:
            streams.append(("orders", self.orders))
        return streams

    def disconnects(self) -> int:
        """How many connections were lost so far. Any thread may ask."""
        return sum(stream.counters["disconnects"] for _, stream in self.all())

    def market_of(self, ticker: str) -> MarketStream:
        return self.open_market("crypto" if is_crypto(ticker) else "stocks")

    def request(
        self,
        action: Action,
        channels: Mapping[str, frozenset[str]],
        on_acknowledged: Callable[[list[str]], None] | None = None,
    ) -> list[tuple[MarketStream, PendingChange]]:
        """Ask for a change (ticker -> Alpaca's channels); each stream answers for its own."""
        by_stream: dict[MarketStream, dict[str, frozenset[str]]] = {}
        for ticker, wanted in channels.items():
            by_stream.setdefault(self.market_of(ticker), {})[ticker] = wanted
        return [
            (stream, stream.change(action, wanted, on_acknowledged=on_acknowledged))
            for stream, wanted in by_stream.items()
        ]

    def request_and_wait(
        self,
        action: Action,
        channels: Mapping[str, frozenset[str]],
        timeout_s: float,
        on_acknowledged: Callable[[list[str]], None] | None = None,
    ) -> dict[str, Rejection]:
        """Ask, and wait for the answers. Returns why, for each ticker that was not changed."""
        deadline = time.monotonic() + timeout_s
        rejections: dict[str, Rejection] = {}
        for stream, change in self.request(action, channels, on_acknowledged):
            change.wait(max(0.0, deadline - time.monotonic()))
            stream.forget(change)
            rejections.update(_rejections(change))
        return rejections

    def let_go(self, reason: str) -> None:
        """Leave Alpaca's market-data slots to another broker. Orders go on: they are not folded
        while they wait, and their stream is not bound to one slot."""
        for stream in list(self.market.values()):
            stream.let_go(reason)

    def take_again(self) -> None:
        for stream in list(self.market.values()):
            stream.take_again()

    def begin_close(self) -> None:
        with self._opening:
            self._closing = True
        for _, stream in self.all():
            stream.begin_close()

    def join(self, deadline: float) -> list[str]:
        """Wait for the threads until `deadline` (monotonic); returns those that did not end.

        One that still waits for a connection to open holds nothing, and ends by itself: it is not
        waited for as long.
        """
        soon = min(deadline, time.monotonic() + _OPENING_S)
        stuck = []
        for _, stream in self.all():
            ended = stream.join(max(0.0, soon - time.monotonic()))
            if not ended and stream.is_open:
                ended = stream.join(max(0.0, deadline - time.monotonic()))
            if not ended and stream.is_open:
                stuck.append(stream.thread_name)
        return stuck


def channels_of(ticker: str, data: Iterable[str], *, with_statuses: bool) -> frozenset[str]:
    """Kinds of data as Alpaca's channels. A followed stock's trading statuses always come too."""
    extra = {"statuses"} if with_statuses and not is_crypto(ticker) else set()
    return frozenset(data) | extra


_REASONS: Final = {
    400: "unknown_ticker",
    405: "symbol_limit",
    409: "insufficient_subscription",
    410: "insufficient_subscription",
}


def _rejections(change: PendingChange) -> dict[str, Rejection]:
    found = {
        ticker: Rejection(
            reason=_REASONS.get(code, "upstream_unavailable"),
            detail=f"Alpaca: {code} {message}" if code > 0 else f"Alpaca: {message}",
        )
        for ticker, (code, message) in change.rejected.items()
    }
    for ticker in change.open:
        detail = "Alpaca did not acknowledge it in time"
        found[ticker] = Rejection(reason="upstream_unavailable", detail=detail)
    return found
