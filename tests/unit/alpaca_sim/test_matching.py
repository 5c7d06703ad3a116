"""Which orders a quote reaches, at what price, and how much of them."""

from __future__ import annotations

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.alpaca_sim.matching import (
    Quote,
    RestingOrders,
    executable_qty,
    execution_price,
    partial_qty,
    tick_of,
)
from main.alpaca_sim.orders import Order
from tests.unit.alpaca_sim.venue_driver import crypto, stock

NOTHING = Decimal(0)
quick = settings(max_examples=100, deadline=None, derandomize=True)


def quote(bid: object, ask: object) -> Quote:
    return Quote(Decimal(str(bid)), Decimal(str(ask)), Decimal(1), Decimal(1), 0)


def order(number: int = 1, **fields: Any) -> Order:
    defaults: dict[str, Any] = {
        "seq": number,
        "id": str(number),
        "client_order_id": str(number),
        "asset": stock("AAPL"),
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "qty": Decimal(10),
        "created_ns": 0,
    }
    return Order(**{**defaults, **fields})


def limit(number: int, side: str, price: object) -> Order:
    return order(number, side=side, type="limit", limit_price=Decimal(str(price)))


@pytest.mark.parametrize(
    ("side", "price", "paid"),
    [("buy", "101", "100"), ("buy", "99", None), ("sell", "98", "99"), ("sell", "99.5", None)],
)
def test_a_limit_gets_the_quote_or_nothing(side: str, price: str, paid: str | None) -> None:
    found = execution_price(limit(1, side, price), quote(99, 100), NOTHING)
    assert found == (None if paid is None else Decimal(paid))


def test_a_side_without_price_trades_nothing() -> None:
    assert execution_price(order(), quote(99, 0), NOTHING) is None
    assert execution_price(order(side="sell"), quote(0, 100), NOTHING) is None


def test_money_buys_what_it_buys_rounded_down() -> None:
    spending = order(qty=None, notional=Decimal(100))
    assert executable_qty(spending, Decimal(3)) == Decimal("33.333333333")


@quick
@given(st.integers(1, 10**6), st.integers(0, 2**32))
def test_a_part_of_whole_shares_is_whole_and_leaves_some(wanted: int, seed: int) -> None:
    part = partial_qty(Decimal(wanted), Random(seed))
    assert part == part.to_integral_value()
    assert part == 1 == wanted or 1 <= part < wanted


@quick
@given(st.integers(2, 10**12), st.integers(0, 2**32))
def test_a_part_of_a_fraction_has_nine_decimals_at_most(units: int, seed: int) -> None:
    wanted = Decimal(units) * Decimal("0.000000001")
    part = partial_qty(wanted, Random(seed))
    assert 0 < part <= wanted
    assert part % Decimal("0.000000001") == 0


def test_the_tick_is_finer_below_a_dollar_and_for_crypto() -> None:
    assert tick_of(Decimal("1.00"), is_crypto=False) == Decimal("0.01")
    assert tick_of(Decimal("0.99"), is_crypto=False) == Decimal("0.0001")
    assert tick_of(Decimal(60_000), is_crypto=True) == Decimal("0.000000001")
    assert order(asset=crypto("BTC/USD")).is_crypto


prices = st.integers(9_900, 10_100).map(lambda cents: Decimal(cents) / 100)
waiting = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), prices), max_size=30)


@quick
@given(waiting, prices)
def test_a_quote_takes_out_exactly_what_it_reaches_oldest_first(
    orders: list[tuple[str, Decimal]], price: Decimal
) -> None:
    resting = RestingOrders()
    made = [limit(number, side, at) for number, (side, at) in enumerate(orders)]
    for each in made:
        resting.rest(each)
    at = quote(price - Decimal("0.05"), price)
    reached = resting.take_reached(at)
    assert reached == [each for each in made if execution_price(each, at, NOTHING) is not None]
    assert all(not each.is_resting for each in reached)
    assert all(each.is_resting for each in made if each not in reached)
    assert resting.take_reached(at) == []


def test_an_ended_order_is_not_taken_and_one_that_came_back_is_taken_once() -> None:
    resting = RestingOrders()
    ended, back = limit(1, "buy", 100), limit(2, "buy", 100)
    resting.rest(ended)
    resting.rest(back)
    ended.is_resting = False
    back.is_resting = False
    resting.rest(back)
    assert resting.take_reached(quote(99, 99.5)) == [back]


def test_stops_wait_on_the_other_side_of_the_market() -> None:
    resting = RestingOrders()
    buy = order(1, type="stop", stop_price=Decimal(105))
    sell = order(2, type="stop", side="sell", stop_price=Decimal(95))
    resting.rest(buy)
    resting.rest(sell)
    assert resting.take_reached(quote(99, 100)) == []
    assert resting.take_reached(quote(104, 105)) == [buy]
    assert resting.take_reached(quote(95, 96)) == [sell]


def test_orders_that_came_and_went_are_not_kept() -> None:
    resting = RestingOrders()
    stays = limit(0, "buy", 50)
    resting.rest(stays)
    for number in range(1, 10_000):
        gone = limit(number, "buy", 60)
        resting.rest(gone)
        gone.is_resting = False
    assert len(resting.buy_limits) < 200
    assert resting.take_reached(quote(40, 41)) == [stays]
