"""The ledger's arithmetic: exact cash and quantities, and a cost basis that follows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from main.alpaca_sim.ledger import Ledger
from main.alpaca_sim.matching import Quote
from main.alpaca_sim.orders import Side
from main.alpaca_sim.wire_numbers import EXACT
from tests.unit.alpaca_sim.venue_driver import stock

AAPL = stock("AAPL")
quick = settings(max_examples=100, deadline=None, derandomize=True)

quantities = st.integers(1, 10**13).map(lambda units: Decimal(units) * Decimal("0.000000001"))
prices = st.integers(1, 10**10).map(lambda units: Decimal(units) / 10_000)
executions = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), quantities, prices), max_size=30)


def ledger() -> Ledger:
    return Ledger(Decimal(100_000), mark="mid")


@quick
@given(executions)
def test_cash_and_quantity_are_the_exact_sum_of_all_executions(
    done: list[tuple[Side, Decimal, Decimal]],
) -> None:
    books, cash, qty = ledger(), Decimal(100_000), Decimal(0)
    for side, amount, price in done:
        books.execute(AAPL, side, amount, price)
        signed = amount if side == "buy" else -amount
        cash = EXACT.subtract(cash, EXACT.multiply(signed, price))
        qty = EXACT.add(qty, signed)
    assert (books.cash, books.qty("AAPL")) == (cash, qty)
    assert (books.position("AAPL") is None) == (qty == 0)


@quick
@given(executions, st.randoms(use_true_random=False))
def test_the_order_of_executions_does_not_matter_to_cash_and_quantity(
    done: list[Any], shuffler: Any
) -> None:
    books, others = ledger(), ledger()
    for side, amount, price in done:
        books.execute(AAPL, side, amount, price)
    shuffler.shuffle(done)
    for side, amount, price in done:
        others.execute(AAPL, side, amount, price)
    assert (books.cash, books.qty("AAPL")) == (others.cash, others.qty("AAPL"))


@quick
@given(executions)
def test_the_cost_has_the_sign_of_the_quantity_and_is_nothing_when_flat(
    done: list[tuple[Side, Decimal, Decimal]],
) -> None:
    books = ledger()
    for side, amount, price in done:
        position = books.execute(AAPL, side, amount, price)
        assert (position.cost > 0) == (position.qty > 0)
        assert (position.cost < 0) == (position.qty < 0)


def test_turning_round_starts_a_new_cost_basis() -> None:
    books = ledger()
    books.execute(AAPL, "buy", Decimal(10), Decimal(100))
    position = books.execute(AAPL, "sell", Decimal(15), Decimal(120))
    assert (position.qty, position.cost, position.average_entry) == (-5, -600, 120)


def test_a_fee_comes_out_of_the_cash() -> None:
    books = ledger()
    books.execute(AAPL, "buy", Decimal(1), Decimal(100), fee=Decimal("0.25"))
    assert (books.cash, books.fees_paid) == (Decimal("99899.75"), Decimal("0.25"))


def test_bid_and_ask_can_be_the_mark() -> None:
    books = Ledger(Decimal(0), mark="bid_ask")
    books.execute(AAPL, "buy", Decimal(1), Decimal(100))
    books.see_quote("AAPL", Quote(Decimal(99), Decimal(101), Decimal(1), Decimal(1), 0))
    assert books.price_of("AAPL") == 99
    books.execute(AAPL, "sell", Decimal(2), Decimal(100))
    assert books.price_of("AAPL") == 101
