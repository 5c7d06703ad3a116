"""Terms of a ladder, as a test needs them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from main.scale_t.terms import Distance, LadderTerms


def terms(
    max_position: int | str = 30,
    component: int | str = 10,
    increment: str = "0.05",
    initial: int | str | None = None,
    **others: Any,
) -> LadderTerms:
    """Client `bot` on AAPL, components of 10, an increment of 5 cents, profits of the same."""
    given: dict[str, Any] = {
        "client_id": "bot",
        "ticker": "AAPL",
        "max_position": Decimal(max_position),
        "component": Decimal(component),
        "initial": Decimal(component if initial is None else initial),
        "increment": Distance.parse(increment),
        "profit_offset": Distance.parse(others.pop("profit_offset", increment)),
    }
    return LadderTerms(**given | others)
