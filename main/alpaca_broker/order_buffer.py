"""Order updates that wait for the order producer: never dropped, never folded.

A day's orders of one account fit into memory many times over; the counter says how many wait.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """What REST told, for the order producer. `connection` is the stream's at that time."""

    orders: list[dict[str, Any]]
    fills: Mapping[str, list[dict[str, Any]]]
    settled_before_ns: int
    connection: int
    asked_ns: int
    complete: bool = True  # False: more orders are to be looked up, in the next turn


# An update as the stream brought it, or what REST told about many orders.
OrderItem: TypeAlias = Mapping[str, Any] | Reconciliation


class OrderBuffer:
    """Any thread puts, one takes."""

    def __init__(self) -> None:
        self._updates: deque[OrderItem] = deque()
        self._ready = threading.Condition()
        self._woken = False

    def put(self, update: OrderItem) -> None:
        with self._ready:
            self._updates.append(update)
            self._ready.notify()

    def take(self, timeout_s: float) -> list[OrderItem]:
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
