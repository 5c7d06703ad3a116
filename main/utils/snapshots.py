"""Pure: one order object of Alpaca, so that of two of the same order the newer is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .redis.messages import parse_rfc3339

ENDED: Final = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})

# Between two open statuses of the same instant, the one that comes later in an order's life.
_LIFE: Final = (
    "pending_new",
    "accepted",
    "new",
    "partially_filled",
    "pending_replace",
    "pending_cancel",
)


@dataclass(frozen=True, order=True)
class Snapshot:
    """One order object of Alpaca. The order of the fields makes "newer" a total order."""

    completed: bool
    ended: bool
    updated_ns: int
    life: int
    status: str
    terms: tuple[str, ...]  # id, symbol, side, qty, notional, limit_price

    @classmethod
    def of(cls, order_data: Mapping[str, Any]) -> Snapshot:
        status = text(order_data.get("status"))
        return cls(
            completed=status == "filled",
            ended=status in ENDED,
            updated_ns=_unix_ns(order_data.get("updated_at")),
            life=_LIFE.index(status) if status in _LIFE else -1,
            status=status,
            terms=tuple(
                text(order_data.get(key))
                for key in ("client_order_id", "symbol", "side", "qty", "notional", "limit_price")
            ),
        )


def text(value: object) -> str:
    return "" if value is None else str(value)


def _unix_ns(timestamp: object) -> int:
    """0 where it cannot be read."""
    try:
        return parse_rfc3339(text(timestamp))
    except (ValueError, OverflowError):
        return 0
