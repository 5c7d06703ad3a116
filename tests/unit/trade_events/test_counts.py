"""Counting from many threads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from main.trade_events.counts import Counts


def test_threads_that_count_together_lose_nothing() -> None:
    counts, interval = Counts(), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: [counts.add("x") for _ in range(500)], range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert counts["x"] == 4_000
    assert dict(counts) == {"x": 4_000}
