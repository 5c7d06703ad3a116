"""Pure: what REST tells of an order, as the messages by which the stream would have told it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from ..utils.answers import OrderData
from ..utils.decimals import decimal_or_none, plain
from ..utils.redis.messages import OrderMessage, now_rfc3339, parse_rfc3339, rfc3339

_ENDS: Final = {
    "canceled": "canceled_at",
    "expired": "expired_at",
    "rejected": "failed_at",
    "replaced": "replaced_at",
}


def messages_of(
    order: OrderData, fills: Iterable[OrderData], account_id: str, *, paper: bool
) -> list[OrderMessage]:
    """The order as it was born, its executions, and its end; oldest first.

    `fills` are the order's activities. Its end is not told before all its executions are, for they
    may be listed a moment later than the order says that they were. Asked for after the order, they
    may also say more than it does.
    """
    fills = sorted(fills, key=_place)
    filled = {"filled_qty": plain(max(_filled(order), _total(fills)))}

    def message(
        event: str, timestamp: object, update: dict[str, object] | None = None
    ) -> OrderMessage:
        return OrderMessage(
            symbol=str(order.get("symbol") or ""),
            timestamp=_moment(timestamp),
            event=event,
            order_data={**order, **filled},
            update=update or {},
            account_id=account_id,
            paper=paper,
            source="reconcile",
        )

    found = [message("new", order.get("submitted_at") or order.get("created_at"))]
    for fill in fills:
        moment = fill.get("transaction_time")
        told = {name: fill.get(name) for name in ("price", "qty", "cum_qty")}
        event = str(fill.get("type", "fill"))
        found.append(message(event, moment, {"timestamp": moment, **told}))
    status = str(order.get("status"))
    if status in _ENDS and told_all(order, fills):
        found.append(message(status, order.get(_ENDS[status]) or order.get("updated_at")))
    return found


def told_all(order: OrderData, fills: Iterable[OrderData]) -> bool:
    """Whether the executions add up to what the order says was filled."""
    return _total(fills) >= _filled(order)


def _total(fills: Iterable[OrderData]) -> Decimal:
    return sum((decimal_or_none(fill.get("qty")) or Decimal(0) for fill in fills), Decimal(0))


def _filled(order: OrderData) -> Decimal:
    return decimal_or_none(order.get("filled_qty")) or Decimal(0)


def _place(fill: Mapping[str, Any]) -> Decimal:
    return decimal_or_none(fill.get("cum_qty")) or Decimal(0)


def _moment(text: object) -> str:
    try:
        return rfc3339(parse_rfc3339(str(text)))
    except ValueError:
        return now_rfc3339()
