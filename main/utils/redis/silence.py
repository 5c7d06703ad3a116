"""When a subscriber that heard heartbeats, and hears none any more, looks for Redis anew.

A connection can be alive and yet lead to the wrong server: one that was the primary until the
address moved away from it. Nothing on the connection says so; only the heartbeat is missing.
"""

from __future__ import annotations

from typing import Final

FIRST_S: Final = 3.0
GROWTH: Final = 2.0
MOST_S: Final = 300.0  # also a broker that is switched off for the night sends no heartbeat


class Silence:
    """Says when to look; ever more rarely, for as long as the silence lasts."""

    def __init__(self) -> None:
        self._heartbeat_at = float("-inf")
        self._look_at = float("inf")
        self._wait_s = FIRST_S

    def is_time_to_look(self, heartbeat_at: float, now: float) -> bool:
        """Both on the monotonic clock, in seconds; `heartbeat_at` is -inf before the first one."""
        if heartbeat_at > self._heartbeat_at:
            self._heartbeat_at, self._wait_s = heartbeat_at, FIRST_S
            self._look_at = heartbeat_at + FIRST_S
        if now < self._look_at:
            return False
        self._wait_s = min(self._wait_s * GROWTH, MOST_S)
        self._look_at = now + self._wait_s
        return True
