"""Waits that grow, and the budget of requests."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from main.utils.waits import GrowingWait, RequestBudget


def test_a_wait_doubles_up_to_its_cap() -> None:
    """And starts small again when it was quiet for long enough."""
    wait, now, waits = GrowingWait(5, 60), 0.0, []
    for _ in range(5):
        waits.append(wait.grow(now))
        assert not wait.over(now)
        now += waits[-1]
        assert wait.over(now)
    assert waits == [5, 10, 20, 40, 60]
    assert wait.grow(now + 61) == 5


def test_no_more_requests_than_the_budget_within_any_minute() -> None:
    """The window slides: it is not a bucket that refills on the minute."""
    budget = RequestBudget(3)
    for now in (0.0, 10.0, 20.0):
        assert budget.room(now) > 0
        budget.spend(now)
    assert budget.room(59.9) == 0
    assert budget.room(60.0) == 1


class _Interrupted(deque[float]):
    """Another thread runs just after the first look at the oldest request, if it is let to."""

    def __init__(self, other: threading.Thread) -> None:
        super().__init__([0.0])
        self._other = other

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if threading.current_thread() is threading.main_thread():
            self._other.start()
            self._other.join(0.05)
        return found


def test_ladders_of_one_process_share_a_budget_without_a_fault() -> None:
    """Between a look at the oldest request and its removal nobody else removes it."""
    budget = RequestBudget(3)
    other = threading.Thread(target=lambda: budget.room(100.0))
    budget._spent = _Interrupted(other)
    assert budget.room(100.0) == 3
    other.join()
