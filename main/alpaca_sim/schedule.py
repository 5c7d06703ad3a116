"""What is due later: a heap of calls, run in the order of their times."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

Step = Callable[[int], None]


class Schedule:
    """Calls that wait for their time (nanoseconds). Steps at one time run in order of entry."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Step]] = []
        self._entered = 0

    def at(self, due_ns: int, step: Step) -> None:
        """Run `step(due_ns)` once time has come to `due_ns`."""
        self._entered += 1
        heappush(self._heap, (due_ns, self._entered, step))

    def next_due_ns(self) -> int | None:
        """When there is something to do, or None."""
        return self._heap[0][0] if self._heap else None

    def shift(self, by_ns: int) -> None:
        """The clock was set: what was due in a second still is. Keeps the order of everything."""
        self._heap = [(due_ns + by_ns, entered, step) for due_ns, entered, step in self._heap]

    def run_due(self, now_ns: int) -> None:
        """Run everything that is due, also what these steps make due, each at its own time."""
        while self._heap and self._heap[0][0] <= now_ns:
            due_ns, _, step = heappop(self._heap)
            step(due_ns)
