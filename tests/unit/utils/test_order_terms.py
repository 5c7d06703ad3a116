"""What an order asks for: checked before it leaves, exact on the wire."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.utils.order_terms import InvalidTerms, OrderTerms, ReplaceTerms


def test_numbers_leave_as_exact_strings() -> None:
    """No float, no exponent, nothing cut."""
    terms = OrderTerms(
        symbol="BTC/USD",
        side="buy",
        qty=Decimal("0.000000001"),
        type="limit",
        limit_price=Decimal("1E+2"),
    )
    body = terms.fields("bot:1")
    assert (body["qty"], body["limit_price"]) == ("0.000000001", "100")
    assert body["client_order_id"] == "bot:1"
    assert "order_class" not in body


def test_a_bracket_carries_its_legs() -> None:
    """As Alpaca's page names them."""
    terms = OrderTerms(
        symbol="AAPL",
        side="buy",
        qty=Decimal(1),
        order_class="bracket",
        take_profit_price=Decimal("110"),
        stop_loss_price=Decimal("90"),
        stop_loss_limit_price=Decimal("89.5"),
    )
    body = terms.fields("bot:1")
    assert body["take_profit"] == {"limit_price": "110"}
    assert body["stop_loss"] == {"stop_price": "90", "limit_price": "89.5"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"qty": None}, "qty or notional is required"),
        ({"notional": Decimal(5)}, "only one of qty or notional is accepted"),
        ({"qty": Decimal(0)}, "qty must be > 0, not 0"),
        ({"qty": Decimal("NaN")}, "qty must be > 0, not NaN"),
        ({"qty": 1.5}, "qty must be a Decimal, not float"),
        ({"side": "hold"}, "side must be one of buy, sell, not 'hold'"),
        ({"type": "limit"}, "a limit order needs a limit_price"),
        ({"limit_price": Decimal(5)}, "a market order takes no limit_price"),
        ({"type": "trailing_stop"}, "needs one of trail_price or trail_percent"),
        ({"order_class": "bracket"}, "needs take_profit_price and stop_loss_price"),
        ({"stop_loss_price": Decimal(5)}, "need an order_class"),
        ({"symbol": " "}, "symbol is missing"),
    ],
)
def test_terms_that_cannot_be_sent_are_refused_by_name(
    changes: dict[str, Any], problem: str
) -> None:
    """Before anything leaves."""
    with pytest.raises(InvalidTerms, match=problem.replace("|", r"\|")):
        OrderTerms(**({"symbol": "AAPL", "side": "buy", "qty": Decimal(1)} | changes))


def test_all_faults_are_named_at_once() -> None:
    """Not one after the other."""
    with pytest.raises(InvalidTerms) as raised:
        OrderTerms(symbol="", side="x", qty=Decimal(-1), type="y")  # type: ignore[arg-type]
    assert len(raised.value.problems) == 4


@pytest.mark.parametrize("name", ["", "x" * 129, "bot:\n1"])
def test_an_id_that_alpaca_would_not_take_is_refused(name: str) -> None:
    """128 printable characters at most."""
    with pytest.raises(InvalidTerms, match="1 to 128 printable"):
        OrderTerms(symbol="AAPL", side="buy", qty=Decimal(1)).fields(name)


def test_an_order_of_other_terms_does_not_fit() -> None:
    """Whoever used our id before may have meant another order."""
    terms = OrderTerms(symbol="BTC/USD", side="buy", qty=Decimal("1.5"))
    order = {"symbol": "BTCUSD", "side": "buy", "qty": "1.50", "notional": None}
    assert terms.fit(order)
    for change in ({"symbol": "ETHUSD"}, {"side": "sell"}, {"qty": "1"}, {"notional": "5"}):
        assert not terms.fit(order | change)


def test_a_replacement_names_only_what_changes() -> None:
    """And its own new id."""
    assert ReplaceTerms(limit_price=Decimal("99.5")).fields("bot:2") == {
        "client_order_id": "bot:2",
        "limit_price": "99.5",
    }


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "nothing is to change"),
        ({"qty": Decimal("1.5")}, "qty must be whole shares, not 1.5"),
        ({"limit_price": Decimal(-1)}, "limit_price must be > 0"),
        ({"time_in_force": "soon"}, "time_in_force must be one of"),
    ],
)
def test_a_replacement_that_cannot_be_sent_is_refused(
    changes: dict[str, Any], problem: str
) -> None:
    """Alpaca would say the same, a request later."""
    with pytest.raises(InvalidTerms, match=problem):
        ReplaceTerms(**changes)
