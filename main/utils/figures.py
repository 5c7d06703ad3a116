"""Pure: a histogram cheap enough for the hot path. What reads it (Prometheus) is loaded elsewhere.

One thread observes; any thread may read, and sees at worst one observation less.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

# Seconds: from a batch's round trip on one machine to a stream that is minutes behind.
LAG_BOUNDS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
BATCH_BOUNDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000)


class Histogram:
    """How often a value fell into which of the ranges that end at `bounds`."""

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(self, bounds: Sequence[float] = LAG_BOUNDS_S) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """One value. A negative one (two clocks that differ) counts as 0."""
        if value < 0:
            value = 0.0
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """Prometheus's form: (upper bound, how many are at most that), the last "+Inf"; the sum."""
        total, found = 0, []
        for bound, count in zip(
            (*map(_text, self.bounds), "+Inf"), list(self._counts), strict=True
        ):
            total += count
            found.append((bound, float(total)))
        return found, self._sum


def _text(bound: float) -> str:
    return repr(float(bound))
