"""The simulator's clock: from any start, true to speed unless a replay wants another."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class SimClock:
    """Nanoseconds since 1970 by this simulator. `source` is injected by tests."""

    def __init__(self, start: str | None = None, source: Callable[[], int] = time.time_ns) -> None:
        self._source = source
        self._begun_ns = source()
        self._start_ns = self._begun_ns if start is None else parse_time(start)
        self._speed = 1.0

    def now_ns(self) -> int:
        """The present moment."""
        elapsed_ns = self._source() - self._begun_ns
        if self._speed == 1.0:
            return self._start_ns + elapsed_ns
        return self._start_ns + int(elapsed_ns * self._speed)

    def step(self, seconds: float) -> None:
        """Jump forward or back."""
        self._start_ns += int(seconds * 1e9)

    def go_on_from(self, start_ns: int, speed: float = 1.0) -> None:
        """Another time, and another speed, from now on."""
        self._begun_ns, self._start_ns, self._speed = self._source(), start_ns, speed


def parse_time(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 moment or an ISO date (UTC).

    Keeps nanoseconds. Raises ValueError.
    """
    whole, nanos = _split_fraction(text.strip())
    moment = datetime.fromisoformat(whole)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + nanos


def _split_fraction(text: str) -> tuple[str, int]:
    head, dot, tail = text.partition(".")
    if not dot:
        return text, 0
    digits = tail[: next((i for i, c in enumerate(tail) if not c.isdigit()), len(tail))]
    if not digits or len(digits) > 9:
        raise ValueError(f"not a moment: {text!r}")
    return head + tail[len(digits) :], int(digits.ljust(9, "0"))
