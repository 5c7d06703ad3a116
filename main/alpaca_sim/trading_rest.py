"""The trading REST interface as a pure function: request in, reply out.

Paths, parameters and shapes are those of Alpaca's OpenAPI description of its Trading API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from .activities import ActivityFilter
from .body_fields import decode_body
from .ledger import Position
from .order_request import parse_change, parse_ticket
from .order_wire import order_to_wire
from .orders import Order, OrderFilter, Side
from .refusals import Refusal, invalid, not_found, unprocessable
from .rest_query import decimal_of, flag_of, list_of, one_of, time_of, whole_number_of
from .venue_config import DAY, Reply

if TYPE_CHECKING:
    from .venue import TradingVenue

_MAX_ORDERS = 500
_MAX_PAGE = 100
_ALL_CLASSES = frozenset({"all"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """One REST request, decoded as far as HTTP goes."""

    query: Mapping[str, str]
    body: bytes
    now_ns: int


Handler = Callable[[Request], Reply]


class TradingRest:
    """Routes requests to the venue and writes its answers."""

    def __init__(self, venue: TradingVenue) -> None:
        self._venue = venue
        self._exact: Mapping[tuple[str, str], Handler] = {
            ("GET", "/v2/account"): self._get_account,
            ("GET", "/v2/account/configurations"): self._get_settings,
            ("PATCH", "/v2/account/configurations"): self._patch_settings,
            ("GET", "/v2/account/activities"): self._get_activities,
            ("GET", "/v2/account/portfolio/history"): self._get_history,
            ("POST", "/v2/orders"): self._post_order,
            ("GET", "/v2/orders"): self._get_orders,
            ("DELETE", "/v2/orders"): self._delete_orders,
            ("GET", "/v2/orders:by_client_order_id"): self._get_order_by_client_id,
            ("GET", "/v2/positions"): self._get_positions,
            ("DELETE", "/v2/positions"): self._delete_positions,
        }
        self._below: Mapping[tuple[str, str], Callable[[str, Request], Reply]] = {
            ("GET", "/v2/orders/"): self._get_order,
            ("PATCH", "/v2/orders/"): self._patch_order,
            ("DELETE", "/v2/orders/"): self._delete_order,
            ("GET", "/v2/positions/"): self._get_position,
            ("DELETE", "/v2/positions/"): self._delete_position,
            ("GET", "/v2/account/activities/"): self._get_activities_of_type,
        }

    def reply(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, now_ns: int
    ) -> Reply:
        """Answer; every refusal becomes Alpaca's error body."""
        try:
            handler = self._handler(method, path)
            return handler(Request(query=query, body=body, now_ns=now_ns))
        except Refusal as refusal:
            return Reply(status=refusal.status, body=refusal.body())

    def _handler(self, method: str, path: str) -> Handler:
        path = path.rstrip("/")
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        for (known_method, prefix), handler in self._below.items():
            if method == known_method and path.startswith(prefix):
                return partial(handler, unquote(path.removeprefix(prefix)))
        raise not_found("endpoint not found")

    # ---- account -------------------------------------------------------------------------

    def _get_account(self, request: Request) -> Reply:
        return Reply(status=200, body=self._venue.account(request.now_ns))

    def _get_settings(self, _: Request) -> Reply:
        return Reply(status=200, body=self._venue.intake.settings.to_wire())

    def _patch_settings(self, request: Request) -> Reply:
        intake = self._venue.intake
        intake.settings = intake.settings.changed(decode_body(request.body))
        return Reply(status=200, body=intake.settings.to_wire())

    def _get_history(self, request: Request) -> Reply:
        return Reply(status=200, body=self._venue.portfolio_history(request.query, request.now_ns))

    def _get_activities(self, request: Request) -> Reply:
        types = list_of(request.query, "activity_types")
        category = one_of(request.query, "category", ("trade_activity", "non_trade_activity"), "")
        return self._activities(request, types, category)

    def _get_activities_of_type(self, activity_type: str, request: Request) -> Reply:
        return self._activities(request, frozenset({activity_type}), "")

    def _activities(self, request: Request, types: frozenset[str] | None, category: str) -> Reply:
        query = request.query
        if types is not None and category:
            raise unprocessable("category cannot be used with activity_types")
        after, until, day = (time_of(query, name) for name in ("after", "until", "date"))
        if day is not None:
            after, until = day - 1, day + DAY
        chosen = ActivityFilter(
            types=types,
            category=category,
            after_ns=after,
            until_ns=until,
            ascending=one_of(query, "direction", ("desc", "asc"), "desc") == "asc",
            page_size=whole_number_of(query, "page_size", _MAX_PAGE, _MAX_PAGE),
            page_token=query.get("page_token") or None,
        )
        return Reply(status=200, body=self._venue.activities.select(chosen))

    # ---- orders --------------------------------------------------------------------------

    def _post_order(self, request: Request) -> Reply:
        ticket = parse_ticket(decode_body(request.body))
        order = self._venue.intake.submit(ticket, request.now_ns)
        return Reply(status=200, body=order_to_wire(order, nested=True))

    def _patch_order(self, order_id: str, request: Request) -> Reply:
        change = parse_change(decode_body(request.body))
        order = self._venue.intake.replace(self._order(order_id), change, request.now_ns)
        return Reply(status=200, body=order_to_wire(order))

    def _get_orders(self, request: Request) -> Reply:
        chosen = self._order_filter(request.query)
        orders = chosen.select(self._venue.store)
        return Reply(
            status=200, body=[order_to_wire(order, nested=chosen.nested) for order in orders]
        )

    def _order_filter(self, query: Mapping[str, str]) -> OrderFilter:
        before, after = query.get("before_order_id"), query.get("after_order_id")
        if before and after:
            raise unprocessable("before_order_id and after_order_id are mutually exclusive")
        if (before or after) and (query.get("after") or query.get("until")):
            raise unprocessable("order ids cannot be combined with after and until")
        classes = list_of(query, "asset_class")
        return OrderFilter(
            status=_order_status(query),
            limit=whole_number_of(query, "limit", 50, _MAX_ORDERS),
            after_ns=time_of(query, "after"),
            until_ns=time_of(query, "until"),
            ascending=one_of(query, "direction", ("desc", "asc"), "desc") == "asc",
            nested=flag_of(query, "nested"),
            symbols=_slashless(list_of(query, "symbols")),
            side=_order_side(query),
            asset_classes=None if classes == _ALL_CLASSES else classes,
            before_seq=self._order(before).seq if before else None,
            after_seq=self._order(after).seq if after else None,
        )

    def _delete_orders(self, request: Request) -> Reply:
        results: list[dict[str, object]] = []
        for order in self._venue.store.open_orders():
            if not order.is_open:
                continue  # ended with its sibling a moment ago
            results.append(self._cancel_one(order, request.now_ns))
        return Reply(status=207, body=results)

    def _cancel_one(self, order: Order, now_ns: int) -> dict[str, object]:
        try:
            self._venue.intake.cancel(order, now_ns)
        except Refusal as refusal:
            return {"id": order.id, "status": refusal.status, "body": refusal.body()}
        return {"id": order.id, "status": 200}

    def _get_order(self, order_id: str, request: Request) -> Reply:
        nested = flag_of(request.query, "nested")
        return Reply(status=200, body=order_to_wire(self._order(order_id), nested=nested))

    def _get_order_by_client_id(self, request: Request) -> Reply:
        client_order_id = request.query.get("client_order_id", "")
        if not client_order_id:
            raise invalid("client_order_id is required")
        order = self._venue.store.find_by_client_id(client_order_id)
        if order is None:
            raise not_found(f"order not found for {client_order_id}")
        return Reply(status=200, body=order_to_wire(order, nested=True))

    def _delete_order(self, order_id: str, request: Request) -> Reply:
        self._venue.intake.cancel(self._order(order_id), request.now_ns)
        return Reply(status=204)

    def _order(self, order_id: str) -> Order:
        order = self._venue.store.find(order_id.lower())
        if order is None:
            raise not_found(f"order not found for {order_id}")
        return order

    # ---- positions -----------------------------------------------------------------------

    def _get_positions(self, _: Request) -> Reply:
        venue = self._venue
        return Reply(status=200, body=[venue.position_wire(p) for p in venue.ledger.positions()])

    def _get_position(self, symbol_or_id: str, _: Request) -> Reply:
        return Reply(status=200, body=self._venue.position_wire(self._position(symbol_or_id)))

    def _delete_position(self, symbol_or_id: str, request: Request) -> Reply:
        qty = decimal_of(request.query, "qty")
        percentage = decimal_of(request.query, "percentage")
        if qty is not None and percentage is not None:
            raise unprocessable("only one of qty or percentage is accepted")
        if percentage is not None and percentage > 100:
            raise unprocessable("percentage must be between 0 and 100")
        position = self._position(symbol_or_id)
        order = self._venue.intake.close_position(position, qty, percentage, request.now_ns)
        return Reply(status=200, body=order_to_wire(order))

    def _delete_positions(self, request: Request) -> Reply:
        venue, now_ns = self._venue, request.now_ns
        if flag_of(request.query, "cancel_orders"):
            for order in venue.store.open_orders():
                if order.is_open:
                    venue.intake.cancel(order, now_ns, at_once=True)
        results = [self._close_one(position, now_ns) for position in venue.ledger.positions()]
        return Reply(status=207, body=results)

    def _close_one(self, position: Position, now_ns: int) -> dict[str, object]:
        symbol = self._venue.position_wire(position)["symbol"]
        try:
            order = self._venue.intake.close_position(position, None, None, now_ns)
        except Refusal as refusal:
            return {"symbol": symbol, "status": refusal.status, "body": refusal.body()}
        return {"symbol": symbol, "status": 200, "body": order_to_wire(order)}

    def _position(self, symbol_or_id: str) -> Position:
        asset = self._venue.assets.find(symbol_or_id)
        if asset is None:
            raise not_found(f"symbol not found: {symbol_or_id}")
        position = self._venue.ledger.position(asset.symbol)
        if position is None:
            raise not_found("position does not exist")
        return position


def _order_status(query: Mapping[str, str]) -> str:
    return one_of(query, "status", ("open", "closed", "all"), "open")


def _order_side(query: Mapping[str, str]) -> Side | None:
    return cast("Side | None", one_of(query, "side", ("buy", "sell"), "") or None)


def _slashless(symbols: frozenset[str] | None) -> frozenset[str] | None:
    return None if symbols is None else frozenset(s.replace("/", "") for s in symbols)
