"""Alpaca's trading REST through alpaca-py, with a deadline, and every outcome as a value.

alpaca-py sleeps and repeats by itself on 429 and 504, and waits for an answer for ever. Here
neither is wanted: a lost answer is *unresolved* and looked up, and waiting is the ladder's.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .intents import Place

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient

PAGE: Final = 500  # Alpaca's most
MAX_PAGES: Final = 20
OrderData: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Alpaca showed the order."""

    order_data: OrderData


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Alpaca took the request, and says no more than that."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Alpaca answered, and did not do it. `status` is HTTP's."""

    status: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """No answer, or none that says whether it was done."""

    reason: str


Answer: TypeAlias = Found | Accepted | Refused | Lost


class VenueFailed(Exception):
    """A question that needs its answer got none. `refused`: Alpaca does not take the keys."""

    def __init__(self, url: str, fault: Refused | Lost) -> None:
        self.fault = fault
        self.refused = isinstance(fault, Refused) and fault.status in (401, 403)
        super().__init__(f"{url}: {fault.reason}")


class TooManyOrders(Exception):
    """The ticker's history of orders is longer than what is read at start."""


class Venue:
    """One account's orders. One thread at a time."""

    def __init__(self, url: str, key: str, secret: str, timeout_s: float = 3.0) -> None:
        """Connect nothing yet; importing alpaca-py takes half a second."""
        from alpaca.trading.client import TradingClient  # noqa: PLC0415  (slow to import)

        self.url = url
        self._client: TradingClient = TradingClient(
            key, secret, paper=True, raw_data=True, url_override=url
        )
        # alpaca-py offers neither as a parameter of this client
        self._client._retry = 0
        session = self._client._session
        session.request = functools.partial(  # type: ignore[method-assign]
            session.request, timeout=(min(2.0, timeout_s), timeout_s)
        )

    def close(self) -> None:
        self._client._session.close()

    # -- answers as values: the ladder decides what they mean

    def place(self, place: Place) -> Answer:
        from alpaca.trading.enums import OrderSide, TimeInForce  # noqa: PLC0415
        from alpaca.trading.requests import LimitOrderRequest  # noqa: PLC0415

        request = LimitOrderRequest(
            symbol=place.ticker,
            qty=float(place.qty),
            side=OrderSide.BUY if place.kind == "entry" else OrderSide.SELL,
            time_in_force=TimeInForce.DAY,  # Alpaca may reprice GTC orders at corporate actions
            limit_price=float(place.limit_price),
            client_order_id=place.client_order_id,
        )
        return _answer(lambda: self._client.submit_order(request))

    def cancel(self, order_id: str) -> Answer:
        return _answer(lambda: self._client.cancel_order_by_id(order_id))

    def look_up(self, client_order_id: str) -> Answer:
        return _answer(lambda: self._client.get_order_by_client_id(client_order_id))

    # -- answers that are needed

    def account(self) -> OrderData:
        """Alpaca's account object.

        Raises:
            VenueFailed: no answer, or the keys are refused.
        """
        account: OrderData = self._need(self._client.get_account)
        return account

    def position(self, ticker: str) -> Decimal:
        """What the account holds of the ticker, by whomever it was bought.

        Raises:
            VenueFailed: no answer.
        """
        positions = self._need(self._client.get_all_positions)
        mine = (each["qty"] for each in positions if each["symbol"] == ticker)
        return sum(map(Decimal, mine), Decimal(0))

    def open_orders(self, ticker: str) -> list[OrderData]:
        """The ticker's open orders, of everybody on the account, at most 500.

        Raises:
            VenueFailed: no answer.
        """
        return self._list_orders(ticker, "open", None)

    def all_orders(self, ticker: str) -> list[OrderData]:
        """Every order of the ticker that Alpaca knows, newest first, page by page.

        Raises:
            VenueFailed: no answer.
            TooManyOrders: more than `MAX_PAGES` pages.
        """
        found: dict[str, OrderData] = {}
        until: str | None = None
        for _ in range(MAX_PAGES):
            page = self._list_orders(ticker, "all", until)
            fresh = [order for order in page if order["id"] not in found]
            found.update((order["id"], order) for order in fresh)
            if len(page) < PAGE or not fresh:
                return list(found.values())
            until = page[-1]["submitted_at"]
        raise TooManyOrders(f"{ticker} has more than {MAX_PAGES * PAGE:,} orders")

    def _list_orders(self, ticker: str, status: str, until: str | None) -> list[OrderData]:
        # alpaca-py's request model would cut the nanoseconds off `until`
        wanted = {"status": status, "symbols": ticker, "limit": PAGE, "direction": "desc"}
        if until is not None:
            wanted["until"] = until
        orders: list[OrderData] = self._need(lambda: self._client.get("/orders", wanted))
        return orders

    def _need(self, call: Callable[[], Any]) -> Any:
        answer = _attempt(call)
        if isinstance(answer, (Refused, Lost)):
            raise VenueFailed(self.url, answer)
        return answer


def _answer(call: Callable[[], Any]) -> Answer:
    answer = _attempt(call)
    if isinstance(answer, (Refused, Lost)):
        return answer
    return Found(order_data=answer) if isinstance(answer, dict) else Accepted()


def _attempt(call: Callable[[], Any]) -> Any:
    """The answer's JSON, or `Refused`, or `Lost`."""
    import requests  # noqa: PLC0415  (comes with alpaca-py)
    from alpaca.common.exceptions import APIError  # noqa: PLC0415

    try:
        return call()
    except APIError as error:
        status = error.status_code
        if status is None or status >= 500:
            return Lost(reason=f"HTTP {status}")  # a server's fault says nothing of the order
        return Refused(status=status, reason=_reason(status, str(error)))
    except requests.RequestException as error:
        return Lost(reason=f"{type(error).__name__}: {error}"[:200])


def _reason(status: int, body: str) -> str:
    try:
        fault = json.loads(body)
        return f"HTTP {status} {fault.get('code', '')}: {fault.get('message', '')}"
    except (ValueError, AttributeError):
        return f"HTTP {status}: {body[:200]}"
