"""What a strategy talks to: buy, sell, close, and wait until it is done."""

from __future__ import annotations

from decimal import Decimal
from types import TracebackType
from typing import Any, Self

from ..utils.answers import Answer
from ..utils.order_terms import OrderTerms, ReplaceTerms
from ..utils.orders import Order
from .order_executor import OrderExecutor
from .outcome import OrderOutcome


class TradeExecutor:
    """Trades by an `OrderExecutor`, which is `orders`. Any thread may call.

        with ExecutorBuilder.build_from_config(client=client, event_bus=bus) as executor:
            outcome = executor.buy("AAPL", qty=10, limit_price="189.20")
            if outcome:
                order = executor.wait(outcome, timeout_s=5)

    Numbers may be int, str or Decimal; a float is taken by its shortest spelling.
    """

    def __init__(self, orders: OrderExecutor) -> None:
        self.orders = orders

    def buy(self, symbol: str, **terms: Any) -> OrderOutcome:
        """`qty` or `notional`; a market order for the day unless the terms say else.

        The other terms are those of `OrderTerms`; `limit_price` alone makes a limit order. With a
        `name` it is sent at most once, also over restarts.

        Raises:
            InvalidTerms: all that is wrong with them; nothing was sent.
        """
        return self.execute(side="buy", symbol=symbol, **terms)

    def sell(self, symbol: str, **terms: Any) -> OrderOutcome:
        """As `buy`."""
        return self.execute(side="sell", symbol=symbol, **terms)

    def execute(self, *, name: str | None = None, **terms: Any) -> OrderOutcome:
        """An order of any terms.

        Raises:
            InvalidTerms: all that is wrong with them; nothing was sent.
        """
        return self.orders.submit(order_terms(terms), name)

    def replace(
        self, order: OrderOutcome | str, *, name: str | None = None, **changes: Any
    ) -> OrderOutcome:
        """Other terms for a working order: `qty`, `limit_price`, `stop_price`, `trail`.

        Raises:
            InvalidTerms: all that is wrong with them; nothing was sent.
        """
        terms = ReplaceTerms(**_exact(changes))
        return self.orders.replace(_order_id(order), terms, name)

    def cancel(self, order: OrderOutcome | str) -> Answer:
        """Ask the venue to cancel an order."""
        return self.orders.cancel(_order_id(order))

    def cancel_all(self, symbol: str | None = None) -> dict[str, Answer]:
        """Cancel every working order of ours.

        Raises:
            CallFailed: Alpaca does not say what works.
        """
        return self.orders.cancel_all(symbol)

    def close_position(
        self, symbol: str, qty: Decimal | str | float | None = None, name: str | None = None
    ) -> OrderOutcome | None:
        """Sell (or buy back) what the account holds of the symbol, or a part; None: nothing held.

        Raises:
            CallFailed: Alpaca does not say what is held.
            InvalidTerms: more than is held.
        """
        exact = _exact({"qty": qty})["qty"]
        return self.orders.close_position(symbol, exact, name)

    def wait(self, order: OrderOutcome | str, timeout_s: float) -> Order | None:
        """The order when it has ended, or as it is when the time is over; None at once for an
        outcome that has no order."""
        order_id = _order_id(order)
        return self.orders.wait(order_id, timeout_s) if order_id else None

    def close(self) -> list[str]:
        """End its threads; orders that work go on working."""
        return self.orders.close()

    def __enter__(self) -> Self:
        self.orders.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def order_terms(terms: dict[str, Any]) -> OrderTerms:
    """Terms as a person writes them.

    Raises:
        InvalidTerms: all that is wrong with them.
        TypeError: a term that there is not.
    """
    exact = _exact(terms)
    if "type" not in exact:
        exact["type"] = _type_of(exact)
    return OrderTerms(**exact)


def _type_of(terms: dict[str, Any]) -> str:
    prices = (terms.get("limit_price") is not None, terms.get("stop_price") is not None)
    return {(True, True): "stop_limit", (True, False): "limit", (False, True): "stop"}.get(
        prices, "market"
    )


def _exact(terms: dict[str, Any]) -> dict[str, Any]:
    """Numbers as Decimal: `0.1` is a tenth, not its nearest binary fraction."""
    numbers = {"qty", "notional", "trail"} | {name for name in terms if name.endswith("_price")}
    numbers.add("trail_percent")
    return {name: _decimal(value) if name in numbers else value for name, value in terms.items()}


def _decimal(value: Any) -> Any:
    if value is None or isinstance(value, Decimal | bool):
        return value
    try:
        return Decimal(str(value))
    except ArithmeticError:
        return value  # the terms say what is wrong with it


def _order_id(order: OrderOutcome | str) -> str:
    return order if isinstance(order, str) else order.order_id or ""
