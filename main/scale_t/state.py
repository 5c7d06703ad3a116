"""Pure: a ladder as it is now, as plain JSON: for `scale-t status`, and for the log."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .ladder import Ladder


def state_of(ladder: Ladder) -> dict[str, Any]:
    """Numbers as strings: they are Decimals. `orders`: what works or may work."""
    profit, terms = ladder.profit(), ladder.terms
    return {
        "mode": ladder.mode.name,
        "reason": ladder.reason,
        "side": terms.side.value,
        "position": plain(ladder.position),
        "dust": plain(ladder.dust),
        "max_position": plain(terms.max_position * ladder.ratio),
        "start_price": None if ladder.start_price is None else f"{ladder.start_price:f}",
        "last_price": plain(ladder.last_price),
        "realised": cents(profit.realised),
        "open": None if profit.open is None else cents(profit.open),
        "total": cents(profit.total),
        "orders": [
            {
                "order": order.client_order_id,
                "kind": order.name.kind,
                "component": order.name.component,
                "qty": plain(order.pending),
                "price": None if order.limit_price is None else f"{order.limit_price:f}",
                "stage": order.stage.name,
            }
            for order in ladder.book.active()
        ],
        "held": {
            str(component): plain(rung.held)
            for component, rung in sorted(ladder.book.rungs.items())
            if rung.held
        },
    }


def cents(amount: Decimal) -> str:
    """`-1.35`: dollars to the cent."""
    return f"{amount:.2f}"


def plain(number: Decimal | None) -> str | None:
    """Without an exponent and without trailing zeros behind the point."""
    if number is None:
        return None
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
