"""Order updates that wait for the order producer: never dropped, never folded.

A day's orders of one account fit into memory many times over; the counter says how many wait.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any


class OrderBuffer:
    """Any thread puts, one takes."""

    def __init__(self) -> None:
        self._updates: deque[Mapping[str, Any]] = deque()
        self._ready = threading.Condition()
        self._woken = False

    def put(self, update: Mapping[str, Any]) -> None:
        with self._ready:
            self._updates.append(update)
            self._ready.notify()

    def take(self, timeout_s: float) -> list[Mapping[str, Any]]:
        """All that waits, at once; empty after `timeout_s` without any, or when woken."""
        with self._ready:
            if not self._updates and not self._woken:
                self._ready.wait(timeout_s)
            self._woken = False
            updates = list(self._updates)
            self._updates.clear()
            return updates

    def wake(self) -> None:
        """Let the `take` that waits, or else the next one, return at once."""
        with self._ready:
            self._woken = True
            self._ready.notify_all()

    def waiting(self) -> int:
        with self._ready:
            return len(self._updates)
