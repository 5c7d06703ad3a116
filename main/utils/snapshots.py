"""Pure: one order object of Alpaca, so that of two of the same order the newer is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

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
    """RFC 3339 with up to nanoseconds and any offset; 0 where it cannot be read."""
    if not isinstance(timestamp, str):
        return 0
    whole, dot, rest = timestamp.partition(".")
    digits = ""
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        whole += rest[len(digits) :]
    try:
        moment = datetime.fromisoformat(whole)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * 1_000_000_000 + int(digits[:9].ljust(9, "0") or "0")
    except (ValueError, OverflowError, OSError):
        return 0
