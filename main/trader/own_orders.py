"""Which of the account's open orders are ours: by their names, and by what they stem from.

Alpaca makes the ids of a bracket's legs, and of what was replaced by hand. Those that this run has
heard of are known; for others Alpaca is asked what they replaced, and whose legs they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from ..utils.answers import Answer, Found, OrderData, Refused
from ..utils.order_calls import CallFailed, OrderCalls
from ..utils.orders import belongs_to

_FAMILIES: Final = frozenset({"bracket", "oco", "oto"})
_MOST_REPLACED: Final = 100  # of one order: a longer chain is left alone


class Ask(Protocol):
    """`Submitter.ask`: each request in its turn, and counted."""

    def __call__(self, question: Callable[[OrderCalls], Any], /) -> Any: ...


def own_orders(
    client_id: str, listed: Sequence[OrderData], is_known: Callable[[str], bool], ask: Ask
) -> list[OrderData]:
    """Those that are `client_id`'s, in their order. Orders of somebody else's name cost no request.

    Raises:
        CallFailed: Alpaca does not say.
        TooManyOrders: it cannot say all.
    """

    def is_ours(order: OrderData) -> bool:
        return belongs_to(client_id, order.get("client_order_id")) or is_known(str(order["id"]))

    return [
        order
        for order in listed
        if is_ours(order) or (_may_stem(order) and _stems_from_ours(order, is_ours, ask))
    ]


def _may_stem(order: OrderData) -> bool:
    return bool(order.get("replaces")) or order.get("order_class") in _FAMILIES


def _stems_from_ours(order: OrderData, is_ours: Callable[[OrderData], bool], ask: Ask) -> bool:
    for _ in range(_MOST_REPLACED):
        replaces = order.get("replaces")
        if not replaces:
            break
        answer = ask(partial(_get, str(replaces)))
        if isinstance(answer, Refused) and answer.status == 404:
            return False
        if not isinstance(answer, Found):
            raise CallFailed(f"the order {replaces}", answer)
        order = answer.order_data
        if is_ours(order):
            return True
    if order.get("order_class") not in _FAMILIES:
        return False
    first = order
    families: Iterable[OrderData] = ask(lambda calls: calls.born_with(first))
    return any(is_ours(parent) for parent in families if _has_leg(parent, str(first["id"])))


def _get(order_id: str, calls: OrderCalls) -> Answer:
    return calls.get(order_id)


def _has_leg(parent: OrderData, order_id: str) -> bool:
    return any(str(leg.get("id")) == order_id for leg in parent.get("legs") or ())
