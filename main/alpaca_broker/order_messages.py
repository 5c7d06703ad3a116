"""Pure: from Alpaca's trade updates to order messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..utils.redis.constants import route_order_symbol
from ..utils.redis.messages import OrderMessage, now_rfc3339, parse_rfc3339, rfc3339
from .rest import Account


def order_messages(
    update: Mapping[str, Any],
    account: Account,
    pair: Callable[[str], str],
    source: str = "stream",
) -> list[OrderMessage]:
    """One trade update as order messages: one, or one for each leg of a multi-leg order.

    Alpaca's order object and the other keys of its update stay verbatim. `pair` names the pair of
    a crypto symbol.
    """
    order = update.get("order")
    order = order if isinstance(order, dict) else {}
    rest = {key: value for key, value in update.items() if key not in ("event", "order")}
    timestamp = _order_timestamp(update, order)
    return [
        OrderMessage(
            symbol=symbol,
            timestamp=timestamp,
            event=str(update.get("event", "")),
            order_data=order,
            update=rest,
            account_id=account.id,
            paper=account.paper,
            source=source,  # type: ignore[arg-type]
        )
        for symbol in _order_symbols(order, pair)
    ]


def _order_symbols(order: Mapping[str, Any], pair: Callable[[str], str]) -> list[str]:
    symbol, legs = order.get("symbol"), order.get("legs")
    if not symbol and isinstance(legs, list):
        symbols = [leg.get("symbol") for leg in legs if isinstance(leg, dict)]
        if symbols:
            return list(dict.fromkeys(map(route_order_symbol, symbols)))
    if order.get("asset_class") == "crypto" and isinstance(symbol, str):
        symbol = pair(symbol)
    return [route_order_symbol(symbol)]


def _order_timestamp(update: Mapping[str, Any], order: Mapping[str, Any]) -> str:
    """When it happened, in UTC: Alpaca names it in different places for different events."""
    for text in (update.get("timestamp"), update.get("at"), order.get("updated_at")):
        if isinstance(text, str):
            try:
                return rfc3339(parse_rfc3339(text))
            except ValueError:
                continue
    return now_rfc3339()
