"""Alpaca's REST as scale_t needs it: orders through `OrderCalls`, and what to check before."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from ..utils.answers import Answer, OrderData
from ..utils.order_calls import CallFailed as VenueFailed
from ..utils.order_calls import OrderCalls, TooManyOrders
from ..utils.order_terms import OrderTerms, PositionIntent
from .intents import Place

_INTENTS: Final[dict[tuple[str, str], PositionIntent]] = {
    ("entry", "buy"): "buy_to_open",
    ("profit", "sell"): "sell_to_close",
    ("entry", "sell"): "sell_to_open",
    ("profit", "buy"): "buy_to_close",
}
__all__ = ["TooManyOrders", "Venue", "VenueFailed"]


class Venue:
    """One account's orders. One thread at a time."""

    def __init__(self, url: str, key: str, secret: str, timeout_s: float = 3.0) -> None:
        """Connect nothing yet; importing alpaca-py takes half a second."""
        self.url = url
        self._calls = OrderCalls.connect(url, key, secret, timeout_s=timeout_s)

    def close(self) -> None:
        self._calls.close()

    # -- answers as values: the ladder decides what they mean

    def place(self, place: Place) -> Answer:
        terms = OrderTerms(
            symbol=place.ticker,
            side=place.side,
            qty=place.qty,
            type="market" if place.limit_price is None else "limit",
            time_in_force=place.time_in_force,
            limit_price=place.limit_price,
            # Alpaca itself then refuses an order that would cross zero.
            position_intent=None if "/" in place.ticker else _INTENTS[place.kind, place.side],
        )
        return self._calls.submit(terms, place.client_order_id)

    def cancel(self, order_id: str) -> Answer:
        return self._calls.cancel(order_id)

    def look_up(self, client_order_id: str) -> Answer:
        return self._calls.look_up(client_order_id)

    # -- answers that are needed: all of these raise VenueFailed

    def account(self) -> OrderData:
        """Alpaca's account object."""
        return self._calls.account()

    def position(self, ticker: str) -> Decimal:
        """What the account holds of the ticker, by whomever it was bought; negative when short."""
        found = self._calls.position(ticker)
        return Decimal(0) if found is None else Decimal(str(found["qty"]))

    def open_orders(self, ticker: str) -> list[OrderData]:
        """The ticker's open orders, of everybody on the account, at most 500."""
        return self._calls.open_orders(ticker)

    def all_orders(self, ticker: str) -> list[OrderData]:
        """Every order of the ticker that Alpaca knows, newest first.

        Raises:
            TooManyOrders: more than is read.
        """
        return self._calls.all_orders(ticker)
