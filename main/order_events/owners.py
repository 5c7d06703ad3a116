"""Pure: whose an order is, by contract.md's rule, from what one message and the memory say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..utils.orders import owner_of
from .records import Memory

_LEG_CLASSES: Final = frozenset({"bracket", "oto", "oco"})


def owner_of_order(order: Mapping[str, Any], memory: Memory) -> str | None:
    """The `client_id` it belongs to, or None for a foreign order.

    By its own id; else it is its predecessor's, if it replaces one; else its parent's, if it is a
    leg. A leg's message does not name the parent. Unless the parent's listed it, the leg is known
    by what a leg has in common with it: class and moment of creation, and the other side.
    """
    named = owner_of(_text(order.get("client_order_id")))
    if named is not None:
        return named
    replaced = memory.orders.get(_text(order.get("replaces")))
    if replaced is not None:
        return replaced.owner
    return _owner_of_parent(order, memory)


def _owner_of_parent(order: Mapping[str, Any], memory: Memory) -> str | None:
    born, order_class = _text(order.get("created_at")), _text(order.get("order_class"))
    if order_class not in _LEG_CLASSES or not born:
        return None
    owners = {
        record.owner
        for record in memory.orders.values()
        if record.owner is not None
        and record.order_class == order_class
        and record.born == born
        # an oco's two exits are on the same side
        and (record.side != order.get("side") or order_class == "oco")
    }
    return owners.pop() if len(owners) == 1 else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
