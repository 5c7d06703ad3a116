"""Alpaca's trading REST through alpaca-py's `TradingClient`, with deadlines, outcomes as values.

alpaca-py sleeps and repeats by itself on 429 and 504, waits for an answer for ever, and raises when
a new version of Alpaca answers with a word that it does not know, although the order was taken.
None of that is wanted where an answer decides whether an order exists. So the calls go through a
private copy of the client: raw answers, no repeats, a timeout. The caller's client stays as it is.
"""

from __future__ import annotations

import copy
import functools
import json
import time
import uuid
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from .answers import Accepted, Answer, Found, Lost, OrderData, Refused
from .order_pages import MOST_PAGES, PAGE, OrderPages, TooManyOrders
from .order_terms import OrderTerms, ReplaceTerms
from .redis.messages import parse_rfc3339, rfc3339
from .waits import GrowingWait

__all__ = ["CallFailed", "OrderCalls", "TooManyOrders"]

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient

CONNECT_TIMEOUT_S: Final = 2.0
_FILLS_PAGE: Final = 100
_BORN_TOGETHER_NS: Final = 1_000_000_000
_PAGE_REFUSALS: Final = 3  # of one page by the account's limit, which others use, too


class CallFailed(Exception):
    """A question that needs its answer got none. `keys_refused`: Alpaca does not take the keys."""

    def __init__(self, what: str, fault: Refused | Lost) -> None:
        self.fault = fault
        self.rate_limited = isinstance(fault, Refused) and fault.status == 429
        self.retry = isinstance(fault, Lost) or self.rate_limited
        self.keys_refused = isinstance(fault, Refused) and fault.status in (401, 403)
        self.retry_after_s = fault.retry_after_s if isinstance(fault, Refused) else None
        super().__init__(f"{what}: {fault.reason}")


class _Fields:
    """A request for alpaca-py that is already in Alpaca's own words: exact numbers as strings."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def to_request_fields(self) -> dict[str, Any]:
        return self._fields

    def __repr__(self) -> str:
        return f"{self._fields!r}"


class OrderCalls:
    """One account's orders. One thread at a time.

    `budget` is called before each request: whoever counts the account's 200 a minute counts there.
    """

    def __init__(
        self,
        client: TradingClient,
        timeout_s: float = 3.0,
        budget: Callable[[], object] = lambda: None,
    ) -> None:
        self._client: Any = _private(client, timeout_s)
        self._budget = budget

    @classmethod
    def connect(
        cls,
        url: str,
        key: str,
        secret: str,
        *,
        timeout_s: float = 3.0,
        budget: Callable[[], object] = lambda: None,
    ) -> OrderCalls:
        """With a client of its own. Connects nothing yet; importing alpaca-py takes 0.5 s."""
        from alpaca.trading.client import TradingClient  # noqa: PLC0415  (slow to import)

        client = TradingClient(key, secret, raw_data=True, url_override=url)
        return cls(client, timeout_s, budget)

    def close(self) -> None:
        session = getattr(self._client, "_session", None)
        if session is not None:
            session.close()

    # -- answers as values: whoever asked decides what they mean

    def submit(self, terms: OrderTerms, client_order_id: str) -> Answer:
        """`POST /v2/orders`.

        Raises:
            InvalidTerms: the id; nothing was sent.
        """
        request = _Fields(terms.fields(client_order_id))
        return self._answer(lambda: self._client.submit_order(request))

    def replace(self, order_id: str, terms: ReplaceTerms, client_order_id: str) -> Answer:
        """`PATCH /v2/orders/{id}`: the answer shows the new order, which has the id given here.

        Alpaca's yes does not mean that it is replaced: a fill may be quicker, and the stream tells.

        Raises:
            InvalidTerms: the id; nothing was sent.
        """
        request = _Fields(terms.fields(client_order_id))
        if not _is_id(order_id):
            return _no_such_order(order_id)
        return self._answer(lambda: self._client.replace_order_by_id(order_id, request))

    def cancel(self, order_id: str) -> Answer:
        """`DELETE /v2/orders/{id}`: `Accepted` means that the venue was asked, not more."""
        if not _is_id(order_id):
            return _no_such_order(order_id)
        return self._answer(lambda: self._client.cancel_order_by_id(order_id))

    def look_up(self, client_order_id: str) -> Answer:
        """The order of this id: `Refused` with 404 says that Alpaca does not know it *now*."""
        return self._answer(lambda: self._client.get_order_by_client_id(client_order_id))

    def get(self, order_id: str) -> Answer:
        """The order of Alpaca's own id."""
        if not _is_id(order_id):
            return _no_such_order(order_id)
        return self._answer(lambda: self._client.get_order_by_id(order_id))

    # -- answers that are needed

    def account(self) -> OrderData:
        """Alpaca's account object.

        Raises:
            CallFailed: no answer, or the keys are refused.
        """
        account: OrderData = self._need("the account", self._client.get_account)
        return account

    def positions(self) -> list[OrderData]:
        """Everything that the account holds, by whomever it was bought.

        Raises:
            CallFailed: no answer.
        """
        found: list[OrderData] = self._need("the positions", self._client.get_all_positions)
        return [_mapping(each) for each in found]

    def position(self, symbol: str) -> OrderData | None:
        """The account's position of one symbol, or None.

        Raises:
            CallFailed: no answer.
        """
        compact = symbol.replace("/", "")  # Alpaca names a pair's position without its slash
        for each in self.positions():
            if str(each.get("symbol", "")).replace("/", "") == compact:
                return each
        return None

    def open_orders(self, symbol: str | None = None) -> list[OrderData]:
        """The open orders of everybody on the account, of one symbol or of all; page by page.

        Raises:
            CallFailed: no answer.
            TooManyOrders: they cannot be read to their end.
        """
        return self._read_pages(symbol, "open", MOST_PAGES, None)

    def all_orders(
        self,
        symbol: str,
        max_pages: int = MOST_PAGES,
        pause: Callable[[float], object] = time.sleep,
    ) -> list[OrderData]:
        """Every order of the symbol that Alpaca knows, newest first, page by page.

        A long history may need more requests than a minute has: `pause` (seconds) then waits until
        Alpaca goes on. It may raise, to break off.

        Raises:
            CallFailed: no answer.
            TooManyOrders: more than `max_pages` pages, or they cannot be read to their end.
        """
        return self._read_pages(symbol, "all", max_pages, pause)

    def born_with(self, order: OrderData) -> list[OrderData]:
        """The symbol's orders that were made together with this one, parents with their `legs`.

        Raises:
            CallFailed: no answer.
        """
        born_ns = parse_rfc3339(str(order["created_at"]))
        wanted = {
            "symbols": order["symbol"],
            "status": "all",
            "nested": "true",
            "limit": PAGE,
            "after": rfc3339(born_ns - _BORN_TOGETHER_NS),
            "until": rfc3339(born_ns + _BORN_TOGETHER_NS),
        }
        found: list[OrderData] = self._need(
            f"the orders of {order['symbol']}", lambda: self._client.get("/orders", wanted)
        )
        return found

    def _read_pages(
        self,
        symbol: str | None,
        status: str,
        max_pages: int,
        pause: Callable[[float], object] | None,
    ) -> list[OrderData]:
        pages, wait = OrderPages(symbol or "the account", max_pages, PAGE), GrowingWait(2.0, 60.0)
        until, refusals = pages.take(self._list_orders(symbol, status, None)), 0
        while until is not None:
            try:
                page = self._list_orders(symbol, status, until)
            except CallFailed as error:
                refusals += 1
                if pause is None or not error.rate_limited or refusals > _PAGE_REFUSALS:
                    raise
                wait_s = max(wait.grow(time.monotonic()), error.retry_after_s or 0.0)
                pause(min(60.0, wait_s))
            else:
                until, refusals = pages.take(page), 0
        return pages.orders

    def _list_orders(self, symbol: str | None, status: str, until: str | None) -> list[OrderData]:
        # alpaca-py's request model would cut the nanoseconds off `until`
        wanted: dict[str, Any] = {"status": status, "limit": PAGE, "direction": "desc"}
        if symbol is not None:
            wanted["symbols"] = symbol
        if until is not None:
            wanted["until"] = until
        orders: list[OrderData] = self._need(
            f"the orders of {symbol or 'the account'}", lambda: self._client.get("/orders", wanted)
        )
        return orders

    def fills(self, after: str, max_pages: int = 100) -> list[OrderData]:
        """The account's executions after a moment (RFC 3339), oldest first: Alpaca's activities,
        with `order_id`, `qty`, `cum_qty`, `price`, `transaction_time`.

        Raises:
            CallFailed: no answer.
            TooManyOrders: more than `max_pages` pages.
        """
        found: list[OrderData] = []
        wanted: dict[str, Any] = {"after": after, "direction": "asc", "page_size": _FILLS_PAGE}
        for _ in range(max_pages):
            page = self._need(
                "the executions", lambda: self._client.get("/account/activities/FILL", wanted)
            )
            found += page
            if len(page) < _FILLS_PAGE:
                return found
            wanted["page_token"] = page[-1]["id"]
        raise TooManyOrders(f"more than {max_pages * _FILLS_PAGE:,} executions since {after}")

    def _need(self, what: str, call: Callable[[], Any]) -> Any:
        answer = self._attempt(call)
        if isinstance(answer, (Refused, Lost)):
            raise CallFailed(what, answer)
        return answer

    def _answer(self, call: Callable[[], Any]) -> Answer:
        answer = self._attempt(call)
        if isinstance(answer, (Refused, Lost)):
            return answer
        if answer is None:
            return Accepted()
        order_data = _mapping(answer)
        if not order_data.get("id"):
            return Lost(reason="an answer without an order")
        return Found(order_data=order_data)

    def _attempt(self, call: Callable[[], Any]) -> Any:
        """The answer's JSON, or `Refused`, or `Lost`."""
        import requests  # noqa: PLC0415  (comes with alpaca-py)
        from alpaca.common.exceptions import APIError  # noqa: PLC0415

        self._budget()
        try:
            return call()
        except APIError as error:
            return _fault(error)
        except requests.ConnectTimeout as error:
            return Lost(reason=_short(error), sent=False)
        except requests.ConnectionError as error:
            return Lost(reason=_short(error), sent=not _never_connected(error))
        except requests.RequestException as error:  # a timeout; an answer that is not JSON
            return Lost(reason=_short(error))


def _private(client: Any, timeout_s: float) -> Any:
    from alpaca.common.rest import RESTClient  # noqa: PLC0415

    if not isinstance(client, RESTClient):
        return client  # something that only looks like one: it is on its own
    mine = copy.copy(client)
    mine._use_raw_data = True
    mine._retry = 0
    session: Any = copy.copy(client._session)
    session.request = functools.partial(
        session.request, timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s)
    )
    mine._session = session
    return mine


def _mapping(answer: Any) -> OrderData:
    """An order object in Alpaca's words, also where a client answers with a model of it."""
    if isinstance(answer, Mapping):
        return answer
    dump = getattr(answer, "model_dump", None)
    found: OrderData = dump(mode="json") if dump is not None else {}
    return found


def _is_id(order_id: str) -> bool:
    try:
        uuid.UUID(order_id)
    except ValueError:
        return False
    return True


def _no_such_order(order_id: str) -> Refused:
    """Alpaca's ids are UUIDs, and alpaca-py raises for any other: nobody needs to be asked."""
    return Refused(status=404, message=f"order not found for {order_id}")


def _never_connected(error: Exception) -> bool:
    """Whether it failed before anything was sent: refused, no route, no such name."""
    from urllib3.exceptions import NewConnectionError  # noqa: PLC0415

    cause = error.args[0] if error.args else None
    return isinstance(getattr(cause, "reason", cause), NewConnectionError)


def _fault(error: Any) -> Refused | Lost:
    status = error.status_code
    if status is None or status >= 500 or status == 408:
        return Lost(reason=f"HTTP {status}")  # a server's fault says nothing of the order
    body = _body(str(error))
    code = body.pop("code", 0)
    return Refused(
        status=status,
        code=code if isinstance(code, int) else 0,
        message=str(body.pop("message", "") or str(error)[:200]),
        facts=body,
        retry_after_s=_retry_after_s(error) if status == 429 else None,
    )


def _body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _retry_after_s(error: Any) -> float | None:
    """Until Alpaca lifts its limit, by its own `X-RateLimit-Reset` (Unix seconds)."""
    try:
        reset = float(error.response.headers["X-RateLimit-Reset"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return max(0.0, reset - time.time())


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
