"""The single figures: dead time, refill, start-up, idling, memory, the import of the bus."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

import msgspec
import psutil

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import get_ticker_channel
from main.utils.redis.messages import PriceMessage
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.start import Start
from main.utils.redis.subscriber import RedisSubscriber

from .report import Row
from .smoke import at, dead_times, first_message, idle_cpu
from .stage import Stage

MISSED = 10_000


def import_s() -> float:
    """Seconds that `import main.utils.redis` takes, beyond an empty interpreter."""

    def run(code: str) -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
        return time.perf_counter() - begun

    pairs = [(run("import main.utils.redis"), run("pass")) for _ in range(7)]
    return statistics.median(loaded - empty for loaded, empty in pairs)


def refill_s(config: RedisConfig, shape: PriceMessage) -> float:
    """Seconds until a late joiner has 10,000 messages from the journal, in order."""
    with RedisPublisher(config) as publisher:
        publisher.open_epoch()
        one = msgspec.structs.replace(shape, symbol="REFILL")
        publisher.publish_batch([one] * MISSED)
    seqs: list[int] = []
    with RedisSubscriber(config) as bus:
        bus.start_listening()
        begun = time.perf_counter()
        bus.subscribe(
            get_ticker_channel("REFILL"),
            lambda message: seqs.append(message.seq),
            start=Start.from_id("0-0"),
            capacity=2 * MISSED,
        )
        while len(seqs) < MISSED and time.perf_counter() - begun < 20:
            time.sleep(0.002)
        took_s = time.perf_counter() - begun
    assert seqs == list(range(1, MISSED + 1)), f"{len(seqs)} came, or not in order"
    return took_s


def single_figures(shape: PriceMessage, restarts: int = 500) -> Iterator[Row]:
    """Each on a fresh Valkey."""
    with EmbeddedValkey() as valkey:
        config = RedisConfig(host="127.0.0.1", port=valkey.port)
        client = config.client()
        refills = [refill_s(config, shape) for _ in range(5) if client.flushall()]
        yield Row(
            what="10,000 missed messages refilled", found=statistics.median(refills), target=0.5,
            beyond=0.2, unit="s", at_most=True,
        )  # fmt: skip
        client.flushall()
        starts = first_message(config, 5)
        yield Row(
            what="process start to first published message", found=at(0.5, starts), target=1.5,
            unit="s", at_most=True,
        )  # fmt: skip
        client.flushall()
        yield Row(
            what="idle CPU", found=idle_cpu(valkey.port, 15) * 100, target=0.5,
            unit="% of a core", at_most=True,
        )  # fmt: skip
        client.flushall()
        times = dead_times(config, restarts, 0.0)
        yield Row(
            what=f"producer dead time, {restarts} restarts under load, p99", target=20, beyond=5,
            found=at(0.99, times) * 1_000, unit="ms", at_most=True,
        )  # fmt: skip
        client.close()
    yield Row(
        what="import main.utils.redis", found=import_s() * 1_000, target=100, unit="ms",
        at_most=True,
    )  # fmt: skip


def memory_row(stage: Stage, tickers: int) -> Row:
    """Of the broker that follows them and has just published for each."""
    found = psutil.Process(stage.broker_pid).memory_info().rss / 1_048_576
    return Row(
        what=f"memory with {tickers:,} tickers", found=found, target=150, unit="MB", at_most=True
    )
