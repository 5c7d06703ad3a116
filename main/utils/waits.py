"""Pure: waits that grow, and the budget of REST requests. Times are seconds of one clock."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass


@dataclass
class GrowingWait:
    """Doubles from `first_s` to `cap_s`; starts small again after being quiet for `cap_s`."""

    first_s: float
    cap_s: float
    until: float = float("-inf")
    rounds: int = 0

    def grow(self, now: float) -> float:
        """Begin the next wait; returns its length."""
        if now - self.until > self.cap_s:
            self.rounds = 0
        wait_s = min(self.cap_s, self.first_s * 2.0**self.rounds)
        self.rounds = min(self.rounds + 1, 32)
        self.until = now + wait_s
        return wait_s

    def reset(self) -> None:
        self.rounds, self.until = 0, float("-inf")

    def over(self, now: float) -> bool:
        return now >= self.until


class RequestBudget:
    """No more than `per_minute` requests within any 60 seconds. Threads may share one."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._spent: deque[float] = deque()
        self._guard = threading.Lock()

    def room(self, now: float) -> int:
        """How many requests may be sent now."""
        with self._guard:
            while self._spent and self._spent[0] <= now - 60:
                self._spent.popleft()
            return max(0, self.per_minute - len(self._spent))

    def spend(self, now: float) -> None:
        with self._guard:
            self._spent.append(now)
