"""Pure: how often each client may ask. A token bucket per client."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

BURST: Final = 2_000.0
PER_SECOND: Final = 50.0
_MAX_CLIENTS: Final = 10_000


class RateLimiter:
    """`admits(client_id)`: at most 2,000 requests at once, and 50 a second in the long run."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._buckets: dict[str, tuple[float, float]] = {}  # client -> (tokens, when counted)

    def admits(self, client_id: str) -> bool:
        now = self._clock_s()
        tokens, counted_s = self._buckets.pop(client_id, (BURST, now))
        tokens = min(BURST, tokens + (now - counted_s) * PER_SECOND)
        admitted = tokens >= 1
        # Put back last: the client that was silent for longest is forgotten first.
        self._buckets[client_id] = (tokens - admitted, now)
        if len(self._buckets) > _MAX_CLIENTS:
            del self._buckets[next(iter(self._buckets))]
        return admitted
