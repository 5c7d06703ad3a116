"""A seeded storm: whatever happens to Redis, each handler has every message or its exact loss."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable

import pytest

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.batch import JournalBounds
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import GapMessage
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import (
    Publishers,
    Recorder,
    Subscribers,
    order,
    price,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TICKERS = ("AAPL", "MSFT", "TSLA")
STORM_S = 6.0


class SlowRecorder(Recorder):
    def __call__(self, message: object) -> None:
        super().__call__(message)
        if len(self) % 20 == 0:
            time.sleep(0.005)


def last_seq(recorder: Recorder, ticker: str) -> int:
    own = (m for m in reversed(recorder.messages) if m.symbol == ticker and m.seq)  # type: ignore[attr-defined]
    return int(next(own).seq)  # type: ignore[attr-defined]


def publish_until(stop: threading.Event, publisher: RedisPublisher, rng: random.Random) -> None:
    number = 0
    while not stop.wait(rng.choice([0, 0.001, 0.02])):
        batch = []
        for _ in range(rng.choice([1, 5, 50, 300])):
            number += 1
            make = order if rng.random() < 0.02 else price
            batch.append(make(rng.choice(TICKERS), number))
        publisher.publish_batch(batch)


def faults(server: EmbeddedValkey, config: RedisConfig) -> list[Callable[[], object]]:
    def kill() -> None:
        server.kill()
        server.start()

    def freeze() -> None:
        os.kill(server.pid, signal.SIGSTOP)
        time.sleep(0.7)  # shorter and longer freezes than this have tests of their own
        os.kill(server.pid, signal.SIGCONT)

    def cut(kind: str) -> None:
        client = config.client()
        client.client_kill_filter(_type=kind, skipme=True)
        client.close()

    def empty() -> None:
        client = config.client()
        client.flushall()
        client.close()

    return [lambda: cut("pubsub"), lambda: cut("normal"), kill, freeze, empty]


@pytest.mark.parametrize("seed", [1, 2])
def test_in_a_storm_every_message_is_handed_over_once_or_counted_as_lost(
    own_valkey: EmbeddedValkey,
    own_config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    seed: int,
) -> None:
    rng = random.Random(seed)
    bounds = JournalBounds(max_per_ticker=rng.choice([200, 20_000]))
    publisher = publisher_on(own_config, bounds)
    recorders = [(Recorder(), 10_000), (SlowRecorder(), 100), (Recorder(), 50)]
    for recorder, capacity in recorders:
        bus = subscriber_on(own_config)
        for ticker in TICKERS:
            bus.subscribe(CHANNELS.get_ticker_channel(ticker), recorder, capacity=capacity)
        bus.start_listening()
    publisher.publish_batch([price(ticker) for ticker in TICKERS])
    for recorder, _ in recorders:  # who has nothing yet cannot count what it is missing
        wait_for(lambda r=recorder: len({m.symbol for m in r.messages}) == len(TICKERS), 20)
    stop = threading.Event()
    thread = threading.Thread(target=publish_until, args=(stop, publisher, random.Random(seed)))
    thread.start()
    ends_at = time.monotonic() + STORM_S
    while time.monotonic() < ends_at:
        rng.choice(faults(own_valkey, own_config))()
        stop.wait(rng.uniform(0.05, 0.6))
    stop.set()
    thread.join()
    publisher.publish_batch([price(ticker) for ticker in TICKERS])
    for recorder, _ in recorders:
        for ticker, last in publisher.seqs().items():
            wait_for(lambda r=recorder, t=ticker, n=last: last_seq(r, t) == n, 20, f"seed {seed}")
            own = [m for m in recorder.messages if m.symbol == ticker]  # type: ignore[attr-defined]
            seqs = [m.seq for m in own if not isinstance(m, GapMessage)]  # type: ignore[attr-defined]
            assert seqs == sorted(set(seqs)), f"seed {seed}: repeated or out of order"
            lost = sum(m.lost or 0 for m in own if isinstance(m, GapMessage))
            assert len(seqs) + lost == last, f"seed {seed}: {last - len(seqs) - lost} in silence"
