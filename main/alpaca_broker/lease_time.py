"""How long leases last: as long as they were given for, whatever the clock and Redis do."""

from __future__ import annotations

import time
from typing import Final

import structlog

log: Final = structlog.get_logger("tickerbus.registration")

STEP_MS: Final = 30_000  # less is the clock's own drift


class LeaseTime:
    """One thread asks it, now and then: by how much leases are to be moved."""

    def __init__(self) -> None:
        self._ahead_ms = self._measure()
        self._listened_s = time.monotonic()

    def shift_ms(self, redis_hears: bool) -> int:
        """How much later leases end than was thought when this was asked before: the clock was
        set, or Redis is away and no renewal can be heard."""
        return self._step_ms() + self._deaf_ms(redis_hears)

    def _deaf_ms(self, redis_hears: bool) -> int:
        now_s, before_s = time.monotonic(), self._listened_s
        self._listened_s = now_s
        return 0 if redis_hears else int((now_s - before_s) * 1_000)

    def _step_ms(self) -> int:
        ahead_ms = self._measure()
        step = ahead_ms - self._ahead_ms
        if abs(step) < STEP_MS:
            return 0
        self._ahead_ms = ahead_ms
        log.warning("clock.was_set", step_s=step // 1_000)
        return step

    def _measure(self) -> int:
        return now_ms() - time.monotonic_ns() // 1_000_000


def now_ms() -> int:
    """Unix time in ms, in which leases are kept."""
    return time.time_ns() // 1_000_000
