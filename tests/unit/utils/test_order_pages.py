"""A long history of orders, read page by page as Alpaca lists it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from main.utils.order_pages import OrderPages, TooManyOrders
from main.utils.redis.messages import parse_rfc3339, rfc3339

SIZE = 5
FIRST_NS = parse_rfc3339("2026-11-20T15:00:00Z")


def order(number: int, moment: int | None) -> dict[str, Any]:
    submitted_at = None if moment is None else rfc3339(FIRST_NS + moment)
    return {"id": f"o-{number}", "submitted_at": submitted_at}


def read(orders: list[dict[str, Any]], *, until_counts: bool, **options: Any) -> OrderPages:
    """As Alpaca lists them: newest first, those that were not submitted before all others."""

    def moment_ns(each: dict[str, Any]) -> float:
        told = each["submitted_at"]
        return float("inf") if told is None else parse_rfc3339(told)

    listed = sorted(orders, key=moment_ns, reverse=True)
    pages, until = OrderPages("AAPL", size=SIZE, **options), "2100-01-01T00:00:00Z"
    while True:
        end_ns = parse_rfc3339(until)
        page = [
            each
            for each in listed
            if each["submitted_at"] is None
            or moment_ns(each) < end_ns
            or (until_counts and moment_ns(each) == end_ns)
        ]
        told = pages.take(page[:SIZE])
        if told is None:
            return pages
        until = told


@pytest.mark.parametrize("until_counts", [True, False])
@pytest.mark.parametrize("count", [0, 4, 5, 6, 23])
def test_none_is_missed_at_the_edge_of_a_page(count: int, until_counts: bool) -> None:
    """Whether `until` itself still counts or not; orders of one bracket share their moment."""
    orders = [order(number, number // 3 * 1_000) for number in range(count)]
    found = read(orders, until_counts=until_counts).orders
    assert sorted(each["id"] for each in found) == sorted(each["id"] for each in orders)
    assert len(found) == count


def test_a_page_that_ends_with_an_order_without_a_moment_is_not_the_last() -> None:
    """The oldest that has one tells where to go on."""
    pages = OrderPages("AAPL", size=3)
    assert pages.take([order(1, 9), order(2, 5), order(3, None)]) == rfc3339(FIRST_NS + 6)
    assert pages.take([order(2, 5), order(4, 1)]) is None
    assert [each["id"] for each in pages.orders] == ["o-1", "o-2", "o-3", "o-4"]


@pytest.mark.parametrize("moment", [7, None])
def test_a_history_that_cannot_be_read_on_is_not_taken_for_whole(moment: int | None) -> None:
    """More than a page of one moment, or of none: an incomplete memory would trade wrongly."""
    with pytest.raises(TooManyOrders, match="none that are older"):
        read([order(number, moment) for number in range(SIZE + 3)], until_counts=False)


def test_more_pages_than_allowed_are_told() -> None:
    """By name and number."""
    orders = [order(number, random.randrange(10**9)) for number in range(40)]
    with pytest.raises(TooManyOrders, match="AAPL has more than 10 orders"):
        read(orders, until_counts=False, max_pages=2)
