"""Pure: `<client_id>:<ticker>:<entry|profit>:<component>:<generation>`, the name of an order.

The name says all that a restart has to know, so nothing needs to be stored: Alpaca's own list of
orders is the memory. It is unique at Alpaca, so an order that is sent twice exists once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

OrderKind: TypeAlias = Literal["entry", "profit"]


@dataclass(frozen=True, kw_only=True)
class OrderName:
    """Which order of the ladder: `component` is its rung, `generation` counts from 1."""

    kind: OrderKind
    component: int
    generation: int

    @property
    def rung(self) -> tuple[OrderKind, int]:
        """What a refusal of this order holds."""
        return self.kind, self.component

    def text(self, prefix: str) -> str:
        return f"{prefix}{self.kind}:{self.component}:{self.generation}"


def order_prefix(client_id: str, ticker: str) -> str:
    """What the `client_order_id` of every order of this ladder starts with."""
    return f"{client_id}:{ticker}:"


def parse_order_name(prefix: str, client_order_id: str | None) -> OrderName | None:
    """The order that the id names, or None when it is not of this ladder."""
    if client_order_id is None or not client_order_id.startswith(prefix):
        return None
    kind, _, numbers = client_order_id[len(prefix) :].partition(":")
    component, _, generation = numbers.partition(":")
    if kind not in get_args(OrderKind) or not _is_number(component) or not _is_number(generation):
        return None
    return OrderName(
        kind="entry" if kind == "entry" else "profit",
        component=int(component),
        generation=int(generation),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
