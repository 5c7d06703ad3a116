"""A reader's figures, for the program that reads: register it with your own Prometheus registry.

    figures = ReaderCollector(bus)
    prometheus_client.REGISTRY.register(figures)
    bus.subscribe(bus.names.BROKER_STATUS, figures.observe)

and call `figures.observe(message)` in the handler of your tickers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..utils.figures import Histogram
from ..utils.redis.messages import BrokerStatus, PriceMessage, parse_rfc3339
from .families import counter, counters, histogram

# A message's lag takes microseconds to find out: some a second are enough for a histogram.
SAMPLE_EVERY_S: Final = 0.05
HANDLED: Final = "handled"


class Reader(Protocol):
    """A `RedisSubscriber`, or what counts as it does."""

    @property
    def counters(self) -> Mapping[str, int]: ...

    @property
    def skipped(self) -> Mapping[str, int]: ...


class ReaderCollector(Collector):
    """Counts what one reader counts, and how late messages reach its handlers."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._trade_lag, self._hop = Histogram(), Histogram()
        self._next_s = 0.0

    def observe(self, message: Any) -> None:
        """A message has reached its handler. Most are not looked at: see SAMPLE_EVERY_S."""
        if type(message) is BrokerStatus:
            # Made in the moment it was sent, and sent in order: the hop through Redis.
            self._hop.observe(_age_s(message.timestamp))
            return
        now_s = time.monotonic()
        if now_s < self._next_s or type(message) is not PriceMessage or message.backfilled:
            return
        self._next_s = now_s + SAMPLE_EVERY_S
        self._trade_lag.observe(_age_s(message.timestamp))

    def describe(self) -> list[Metric]:
        """Nothing: registering reads no reader."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        counted = dict(self._reader.counters)
        handled = counted.pop(HANDLED, 0)
        yield counter("reader_messages", "Messages that handlers were given.", handled)
        says = "What else happened to the reader: holes, refills, reconnects, handler errors."
        events = {(name,): float(number) for name, number in counted.items()}
        yield counters("reader_events", says, ["event"], events)
        says = "Messages that the policy `latest` replaced by newer ones."
        yield counter("reader_skipped_messages", says, sum(self._reader.skipped.values()))
        says = "From a trade to its handler, over all hops; sampled."
        yield histogram("trade_to_reader_seconds", says, self._trade_lag)
        says = (
            "From the broker to the reader through Redis: each heartbeat, with its own timestamp."
        )
        yield histogram("broker_to_reader_seconds", says, self._hop)


def _age_s(timestamp: str) -> float:
    return (time.time_ns() - parse_rfc3339(timestamp)) / 1e9
