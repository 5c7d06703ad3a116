"""The executor's requests within a minute, counted by all of its threads."""

from __future__ import annotations

import threading

from ..utils.waits import RequestBudget


class Budget(RequestBudget):
    """A `RequestBudget` that threads share."""

    def __init__(self, per_minute: int) -> None:
        super().__init__(per_minute)
        self._lock = threading.Lock()

    def room(self, now: float) -> int:
        with self._lock:
            return super().room(now)

    def spend(self, now: float) -> None:
        with self._lock:
            super().spend(now)
