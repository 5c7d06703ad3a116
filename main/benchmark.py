"""The 20-second benchmark of a user's own machine and Redis: publisher and subscriber of the bus.

No Alpaca and no broker: invented trades go the numbered, journalled way and come back through a
subscriber in this process, which checks every `seq`. It uses a prefix of its own, and removes what
it wrote.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from .utils.redis.config import RedisConfig, Wire, pack_command
from .utils.redis.constants import BusNames
from .utils.redis.messages import PriceMessage, encode, now_rfc3339, parse_rfc3339
from .utils.redis.publisher import RedisPublisher
from .utils.redis.subscriber import RedisSubscriber

PREFIX: Final = "TICKERBUS_BENCH."
TICKERS: Final = tuple(f"BENCH{number}" for number in range(10))
BATCH: Final = 500
IN_FLIGHT: Final = 20_000  # messages that the subscriber may be behind


class BenchmarkFailed(Exception):
    """A message was missing, repeated or out of order: nothing was measured."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the result."""

    what: str
    found: str


class _Reader:
    """The subscriber's handler: counts, checks, and keeps each message's age."""

    def __init__(self) -> None:
        self.seen = 0
        self.fault = ""
        self.ages_ns: list[int] | None = None
        self._seqs = dict.fromkeys(TICKERS, 0)

    def __call__(self, message: PriceMessage) -> None:
        if message.seq != self._seqs[message.symbol] + 1:
            self.fault = f"{message.symbol}: {message.seq} after {self._seqs[message.symbol]}"
        self._seqs[message.symbol] = message.seq
        if self.ages_ns is not None:
            self.ages_ns.append(time.time_ns() - parse_rfc3339(message.timestamp))
        self.seen += 1

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + 10
        while self.seen < count and not self.fault and time.monotonic() < deadline:
            time.sleep(0.002)
        if self.fault or self.seen < count:
            raise BenchmarkFailed(self.fault or f"{count - self.seen} messages did not come")


def run_benchmark(config: RedisConfig, seconds: float = 20.0) -> Iterator[Finding]:
    """Takes about `seconds`.

    Raises:
        RedisUnavailable: Redis does not answer, or refuses.
        BenchmarkFailed: not every message came once and in order.
    """
    config = replace(config, bus_prefix=PREFIX)
    with _clean(config), RedisPublisher(config) as publisher, RedisSubscriber(config) as bus:
        publisher.open_epoch()
        reader = _Reader()
        for ticker in TICKERS:
            bus.subscribe(
                bus.names.get_ticker_channel(ticker), reader, capacity=2 * IN_FLIGHT + BATCH
            )
        bus.start_listening()
        yield _throughput(publisher, reader, seconds * 0.35)
        yield _bare_publish(config, seconds * 0.15)
        for per_s in (100, 1_000):
            yield _latency(publisher, reader, per_s, seconds * 0.25)


def _throughput(publisher: RedisPublisher, reader: _Reader, seconds: float) -> Finding:
    batch = [_trade(number) for number in range(BATCH)]
    sent, begun, cpu_s = reader.seen, time.perf_counter(), time.process_time()
    first = sent
    while time.perf_counter() - begun < seconds:
        publisher.publish_batch(batch, more=True)
        sent += BATCH
        if sent - reader.seen > IN_FLIGHT:
            reader.wait_for(sent - IN_FLIGHT // 2)
    publisher.publish_batch(())
    reader.wait_for(sent)
    count, took_s = sent - first, time.perf_counter() - begun
    cpu_us = (time.process_time() - cpu_s) / count * 1e6
    return Finding(
        what="numbered, journalled, published, read and checked",
        found=f"{count / took_s:,.0f} messages a second, {cpu_us:.1f} µs of CPU each "
        "(publisher and subscriber)",
    )


def _bare_publish(config: RedisConfig, seconds: float) -> Finding:
    channel = BusNames(PREFIX).get_ticker_channel("NOBODY")
    packed, wire = pack_command("PUBLISH", channel, encode(_trade(1))) * BATCH, Wire(config)
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        wire.send(packed)
        for _ in range(BATCH):
            wire.receive()
        count += BATCH
    wire.close()
    per_s = count / (time.perf_counter() - begun)
    return Finding(
        what="for comparison: bare PUBLISH, nobody listening", found=f"{per_s:,.0f} a second"
    )


def _latency(publisher: RedisPublisher, reader: _Reader, per_s: int, seconds: float) -> Finding:
    ages = reader.ages_ns = []
    first, begun = reader.seen, time.perf_counter()
    count = int(per_s * seconds)
    for number in range(count):
        if (early_s := begun + number / per_s - time.perf_counter()) > 0:
            time.sleep(early_s)
        publisher.publish_batch([_trade(number)])
    reader.wait_for(first + count)
    reader.ages_ns = None
    cuts = statistics.quantiles(ages, n=100)
    return Finding(
        what=f"publisher to handler, {per_s:,} messages a second",
        found=f"p50 {cuts[49] / 1_000:,.0f} µs  p99 {cuts[98] / 1_000:,.0f} µs",
    )


def _trade(number: int) -> PriceMessage:
    return PriceMessage(
        symbol=TICKERS[number % len(TICKERS)],
        timestamp=now_rfc3339(),
        price=187.25,
        volume=100,
        trade_id=number,
        exchange="V",
        conditions=("@", "I"),
        tape="C",
        feed="iex",
        last_eligible=False,
        backfilled=False,
    )


@contextmanager
def _clean(config: RedisConfig) -> Iterator[None]:
    """Nothing of ours is there before, and nothing after."""
    names = BusNames(PREFIX)
    keys = [names.BROKER_EPOCH, names.BROKER_BATCH, *map(names.ticker_log, TICKERS)]
    client = config.client()
    try:
        client.delete(*keys)
        yield
    finally:
        client.delete(*keys)
        client.close()
