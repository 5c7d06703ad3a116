"""The words for what cannot be had: the span has to cover what is missing."""

from __future__ import annotations

from collections import Counter
from typing import Any

from main.utils.redis.delivery import Delivery
from main.utils.redis.gap_tracker import Entry, Loss
from main.utils.redis.messages import GapMessage
from main.utils.redis.outlet import Outlet
from tests.unit.utils.redis.test_gap_tracker import order, price


def delivery() -> tuple[Delivery, Outlet]:
    outlet = Outlet(print, "all", 100, lambda _outlet: None)
    return Delivery("TICKER_UPDATES_X", outlet, Counter(), symbol="X"), outlet


def hand_over(to: Delivery, message: Any) -> None:
    to.hand_over(Entry(message, b"", message))


def test_a_gap_begins_with_the_last_price_whatever_orders_came_after_it() -> None:
    made, outlet = delivery()
    hand_over(made, price("2020-11-21T14:00:00Z", backfilled=False))
    hand_over(made, order("2020-11-21T14:00:09Z"))
    made.tell(Loss(3, "2020-11-21T14:01:00Z"), 5, "journal_expired")
    gap = outlet.staged[-1]
    assert isinstance(gap, GapMessage)
    assert (gap.from_, gap.to) == ("2020-11-21T14:00:00Z", "2020-11-21T14:01:00Z")


def test_a_gap_whose_end_nobody_knows_ends_now() -> None:
    made, outlet = delivery()
    hand_over(made, price("2020-11-21T14:00:00Z", backfilled=False))
    made.tell(Loss(None, ""), 5, "journal_expired")
    gap = outlet.staged[-1]
    assert isinstance(gap, GapMessage)
    assert gap.to >= gap.from_
    assert gap.to <= gap.timestamp
