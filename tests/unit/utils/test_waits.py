"""Waits that grow, and the budget of requests."""

from __future__ import annotations

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
