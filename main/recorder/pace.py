"""Pure: when a recorded message is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .recording import Recorded

CHUNK_NS: Final = 1_000_000


class Pace:
    """The recording's own time, so many times faster. `speed` None: as fast as it goes."""

    def __init__(self, speed: float | None, now: float) -> None:
        """`now` is the monotonic clock, in seconds: when the first message is due."""
        self._speed, self._begun = speed, now
        self._first_ns: int | None = None

    def wait_s(self, recorded_at: int, now: float) -> float:
        """How long to wait for what was recorded then; never below 0."""
        if self._speed is None:
            return 0.0
        if self._first_ns is None:
            self._first_ns = recorded_at
        due = self._begun + (recorded_at - self._first_ns) / 1e9 / self._speed
        return max(0.0, due - now)

    def in_chunks(self, rows: Iterable[Recorded], size: int) -> Iterator[list[Recorded]]:
        """Rows that go out together: due within a millisecond, and at most `size`."""
        within_ns = float("inf") if self._speed is None else CHUNK_NS * self._speed
        chunk: list[Recorded] = []
        for row in rows:
            if chunk and (len(chunk) >= size or row.recorded_at - chunk[0].recorded_at > within_ns):
                yield chunk
                chunk = []
            chunk.append(row)
        if chunk:
            yield chunk
