"""The recorder as a program: killed at any moment, ended by a signal, started again."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from main.utils.redis.messages import now_rfc3339, parse_rfc3339
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.recorder.conftest import Programs, rows_of
from tests.integration.utils.redis.conftest import price

pytestmark = pytest.mark.integration

AT_MOST_MISSING_S = 5.0


class Market(threading.Thread):
    """Publishes a trade every 10 ms, until it is stopped."""

    def __init__(self, publisher: RedisPublisher) -> None:
        super().__init__(name="market")
        self.count = 0
        self._publisher, self._stop_asked = publisher, threading.Event()

    def run(self) -> None:
        while not self._stop_asked.wait(0.01):
            self._publisher.publish_batch([price_now()])
            self.count += 1

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()


def price_now() -> object:
    trade = price()
    fields = {name: getattr(trade, name) for name in trade.__struct_fields__}
    return type(trade)(**fields | {"timestamp": now_rfc3339()})


@pytest.fixture
def market(publisher: RedisPublisher) -> Iterator[Market]:
    publisher.publish_batch([price_now()])  # type: ignore[list-item]
    market = Market(publisher)
    market.start()
    yield market
    if market.is_alive():
        market.stop()


def recorded(folder: Path) -> list[int]:
    return [row.seq for row in rows_of(folder)]


@pytest.mark.slow
def test_killed_again_and_again_it_misses_at_most_5_s_each_time_and_nothing_in_the_end(
    program: Programs, market: Market, tmp_path: Path
) -> None:
    """After each kill the file opens as it lies there, also for a program that is not ours."""
    folder = tmp_path / "recordings"
    rng = random.Random(6)
    for _ in range(2):
        recorder = program("record")
        recorder.wait_for_line("Recording into", 60)
        (day,) = wait_for(lambda: list(folder.glob("*.parquet")), 30)
        before = len(recorded(day)) if any(day.glob("part-*.parquet")) else 0
        wait_for(
            lambda day=day, before=before: (
                any(day.glob("part-*.parquet"))  # type: ignore[misc]
                and len(recorded(day)) > before
            ),
            40,
        )
        time.sleep(rng.uniform(0, 2.5))  # any moment: between two flushes, or in one
        recorder.signal(signal.SIGKILL)
        killed_ns = time.time_ns()
        assert recorder.exit_code() == -signal.SIGKILL
        table = pq.read_table(day)
        newest = max(row.payload for row in rows_of(day)[-1:])
        age_s = (killed_ns - parse_rfc3339(newest.split('"timestamp":"')[1][:30])) / 1e9
        assert age_s < AT_MOST_MISSING_S
        assert table.num_rows == len(recorded(day))
    recorder = program("record")
    recorder.wait_for_line("Recording into", 60)
    wait_for(lambda: len(recorded(day)) > table.num_rows, 40)
    market.stop()
    wait_for(lambda: recorded(day)[-1] == market.count + 1, 40)
    recorder.signal(signal.SIGTERM)
    asked_at = time.monotonic()
    assert recorder.exit_code() == 0
    assert time.monotonic() - asked_at < 5
    seqs = recorded(day)
    assert seqs == list(range(seqs[0], market.count + 2))
    assert recorder.lines[-1].startswith("Recorded ")
    assert "gaps" not in recorder.lines[-1]
    assert len(list(day.glob("part-*.parquet"))) == 1


def test_a_second_program_for_the_folder_says_so(program: Programs, market: Market) -> None:
    first = program("record")
    first.wait_for_line("Recording into", 60)
    second = program("record")
    assert second.exit_code() == 2
    assert second.lines == [
        "another recorder writes into recordings: give this one --into elsewhere"
    ]
    first.signal(signal.SIGINT)
    assert first.exit_code() == 0
