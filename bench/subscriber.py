"""CPU per message of a subscriber: `RedisSubscriber` against redis-py `listen()` and `json.loads`.

    python -m bench.subscriber [messages]

Each reader runs in a process of its own, on a real server, and its handler counts. What is measured
is that process's CPU time, all threads and the decoding included.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from multiprocessing.synchronize import Event

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import get_ticker_channel
from main.utils.redis.messages import PriceMessage, now_rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber

TICKERS = [f"T{number}" for number in range(20)]
CHANNELS = [get_ticker_channel(ticker) for ticker in TICKERS]


def read_with_the_library(port: int, messages: int, ready: Event, cpu_s: object) -> None:
    seen = 0

    def handler(_message: object) -> None:
        nonlocal seen
        seen += 1

    with RedisSubscriber(RedisConfig(host="127.0.0.1", port=port)) as bus:
        for channel in CHANNELS:
            bus.subscribe(channel, handler, capacity=1_000_000)
        bus.start_listening()
        before = time.process_time()
        ready.set()
        while seen < messages:
            time.sleep(0.02)
        cpu_s.value = time.process_time() - before  # type: ignore[attr-defined]


def read_with_redis_py(port: int, messages: int, ready: Event, cpu_s: object) -> None:
    client = RedisConfig(host="127.0.0.1", port=port, timeout_s=30).client()
    with client.pubsub() as pubsub:
        pubsub.subscribe(*CHANNELS)
        for _ in CHANNELS:
            pubsub.get_message(timeout=5)
        before = time.process_time()
        ready.set()
        for seen, message in enumerate(pubsub.listen(), start=1):
            json.loads(message["data"])
            if seen == messages:
                break
        cpu_s.value = time.process_time() - before  # type: ignore[attr-defined]


def measure(reader: object, server: EmbeddedValkey, messages: int, batch: int, rate: int) -> float:
    """CPU microseconds per message. `rate` in messages a second, 0 for as fast as it goes."""
    ready, cpu_s = multiprocessing.Event(), multiprocessing.Value("d", 0.0)
    arguments = (server.port, messages, ready, cpu_s)
    process = multiprocessing.Process(target=reader, args=arguments)  # type: ignore[arg-type]
    process.start()
    assert ready.wait(20), "the reader did not come up"
    publish(server, messages, batch, rate)
    process.join(120)
    assert process.exitcode == 0, f"the reader ended with {process.exitcode}"
    return float(cpu_s.value) / messages * 1e6


def publish(server: EmbeddedValkey, messages: int, batch: int, rate: int) -> None:
    with RedisPublisher(RedisConfig(host="127.0.0.1", port=server.port)) as publisher:
        publisher.open_epoch()
        begun = time.monotonic()
        for start in range(0, messages, batch):
            if rate and (early_s := begun + start / rate - time.monotonic()) > 0:
                time.sleep(early_s)
            publisher.publish_batch([trade(start + n) for n in range(min(batch, messages - start))])


def trade(number: int) -> PriceMessage:
    return PriceMessage(
        symbol=TICKERS[number % len(TICKERS)],
        timestamp=now_rfc3339(),
        price=100 + number % 1_000 / 100,
        volume=100,
        trade_id=number,
        exchange="V",
        conditions=["@", "I"],
        tape="C",
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


def main(messages: int = 200_000) -> None:
    print(f"{'load':<34}{'redis-py':>10}{'library':>10}{'ratio':>8}   CPU µs per message")
    with EmbeddedValkey() as server:
        for name, count, batch, rate in (
            ("as fast as it goes, batches of 500", messages, 500, 0),
            ("20,000/s, batches of 20", messages // 2, 20, 20_000),
            ("2,000/s, one by one", messages // 20, 1, 2_000),
        ):
            theirs = measure(read_with_redis_py, server, count, batch, rate)
            ours = measure(read_with_the_library, server, count, batch, rate)
            print(f"{name:<34}{theirs:>10.2f}{ours:>10.2f}{ours / theirs:>8.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
