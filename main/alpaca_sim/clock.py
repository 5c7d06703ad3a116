"""The simulator's clock: true speed, from any start, and it can be stepped (a fault)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class SimClock:
    """Nanoseconds since 1970 by this simulator. `source` is injected by tests."""

    def __init__(self, start: str | None = None, source: Callable[[], int] = time.time_ns) -> None:
        self._source = source
        self._offset_ns = 0 if start is None else parse_time(start) - source()

    def now_ns(self) -> int:
        """The present moment."""
        return self._source() + self._offset_ns

    def step(self, seconds: float) -> None:
        """Jump forward or back."""
        self._offset_ns += int(seconds * 1e9)


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
