"""Pure: whether what the primary has taken may count as kept, by how many replicas have it too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

REPLICATED_WITHIN_MS: Final = 200  # how long one WAIT lasts
GRACE_S: Final = 3.0  # Sentinels tell of a promotion within about a second


class ReplicaWatch:
    """A replica that has just vanished may have become the primary, and this one be a relic: for a
    moment nothing counts as kept. One that stays away is simply away, and the primary is alone."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._had_one = False
        self._missing_since_s: float | None = None

    def is_kept(self, replicas: int) -> bool:
        """`replicas` is how many have it, as WAIT says."""
        if replicas:
            self._had_one, self._missing_since_s = True, None
            return True
        now_s = self._clock_s()
        if self._missing_since_s is None:
            self._missing_since_s = now_s
        if self._had_one and now_s - self._missing_since_s < GRACE_S:
            return False
        self._had_one, self._missing_since_s = False, None
        return True
