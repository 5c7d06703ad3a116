"""Connection slots and rate limits. Pure: the caller brings the time."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass


class Slots:
    """How many connections a key may have; one that ended uncleanly keeps its slot for a while."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, int] = defaultdict(int)
        self._zombies: dict[str, list[int]] = defaultdict(list)

    def acquire(self, key: str, now_ns: int) -> bool:
        """Take a slot, if one is free."""
        if self._limit and self.taken(key, now_ns) >= self._limit:
            return False
        self._open[key] += 1
        return True

    def release(self, key: str, free_at_ns: int = 0) -> None:
        """Give the slot back, now or at a later moment."""
        self._open[key] -= 1
        if free_at_ns:
            self._zombies[key].append(free_at_ns)

    def hold(self, key: str, until_ns: int) -> None:
        """Take a slot for nobody until then (a fault)."""
        self._zombies[key].append(until_ns)

    def taken(self, key: str, now_ns: int) -> int:
        """Slots in use, those not yet reaped included."""
        self._zombies[key] = [until for until in self._zombies[key] if until > now_ns]
        return self._open[key] + len(self._zombies[key])

    def shift(self, by_ns: int) -> None:
        """The clock was stepped."""
        for key, moments in self._zombies.items():
            self._zombies[key] = [moment + by_ns for moment in moments]

    def reap(self) -> None:
        """Free every slot that only a dead connection holds."""
        self._zombies.clear()


@dataclass(frozen=True)
class RateVerdict:
    """Whether one more is allowed, and what Alpaca's X-RateLimit headers say."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """Alpaca's headers; none where there is no limit."""
        if not self.limit:
            return {}
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.reset_s),
        }


class RateWindow:
    """At most `limit` in any window of `window_s` seconds; 0 is no limit."""

    def __init__(self, limit: int, window_s: float = 60.0) -> None:
        self._limit = limit
        self._window_ns = int(window_s * 1e9)
        self._seen: deque[int] = deque()

    def shift(self, by_ns: int) -> None:
        """The clock was stepped."""
        self._seen = deque(moment + by_ns for moment in self._seen)

    def take(self, now_ns: int) -> RateVerdict:
        """Count one, unless the window is full."""
        if not self._limit:
            return RateVerdict(True, 0, 0, 0)
        while self._seen and self._seen[0] <= now_ns - self._window_ns:
            self._seen.popleft()
        allowed = len(self._seen) < self._limit
        if allowed:
            self._seen.append(now_ns)
        first = self._seen[0] if self._seen else now_ns
        reset_s = -(-(first + self._window_ns) // 1_000_000_000)
        return RateVerdict(allowed, self._limit, self._limit - len(self._seen), reset_s)
