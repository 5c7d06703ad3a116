"""Pure: an order's executions, each once, whether the stream told it, or REST, or both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from .decimals import decimal_or_none
from .redis.messages import OrderMessage

FILL_EVENTS: Final = frozenset({"fill", "partial_fill"})
_ZERO: Final = Decimal(0)


@dataclass(frozen=True, kw_only=True)
class Execution:
    """One fill. What a recovered one does not tell is None; `cumulative` is the order's total."""

    order_id: str
    execution_id: str | None
    qty: Decimal | None
    price: Decimal | None
    cumulative: Decimal | None
    timestamp: str


def execution_of(order_id: str, message: OrderMessage) -> Execution:
    """The execution that a message of an event in `FILL_EVENTS` tells."""
    update = message.update
    return Execution(
        order_id=order_id,
        execution_id=str(update.get("execution_id") or "") or None,
        qty=decimal_or_none(update.get("qty")),
        price=decimal_or_none(update.get("price")),
        cumulative=cumulative_of(message),
        timestamp=str(update.get("timestamp") or message.timestamp),
    )


def cumulative_of(message: OrderMessage) -> Decimal | None:
    """What the order had filled up to and with this execution.

    A recovered one says so itself: its order object is the order of now, with all that followed.
    """
    told = decimal_or_none(message.update.get("cum_qty"))
    return told if told is not None else decimal_or_none(message.order_data.get("filled_qty"))


class Executions:
    """All that is known of one order's executions. It only ever grows."""

    def __init__(self) -> None:
        self._told: dict[str, Execution] = {}  # by execution_id
        self._recovered: dict[Decimal, Execution] = {}  # by cumulative quantity

    def add(self, execution: Execution) -> bool:
        """Take it in; False if nothing says which one it is."""
        if execution.execution_id is not None:
            _keep_greater(self._told, execution.execution_id, execution)
        elif execution.cumulative is not None:
            _keep_greater(self._recovered, execution.cumulative, execution)
        else:
            return False
        return True

    def all(self, filled_qty: Decimal) -> tuple[Execution, ...]:
        """The stream's, and of the recovered ones those that the stream did not tell.

        Together they never exceed `filled_qty`, the order's own word: where they would, a
        recovered one of the same quantity and price is the stream's, whose snapshot ran ahead.
        """
        told = sorted(self._told.values(), key=_execution_key)
        recovered = sorted(self._recovered.values(), key=_execution_key)
        unmatched = list(told)
        recovered = [each for each in recovered if not _take(unmatched, each, _same_place)]
        for each in list(recovered):
            excess = _total(told) + _total(recovered) > filled_qty
            if excess and _take(unmatched, each, _same_trade):
                recovered.remove(each)
        return tuple(sorted([*told, *recovered], key=_execution_key))


def _total(executions: list[Execution]) -> Decimal:
    return sum((each.qty or _ZERO for each in executions), _ZERO)


def _take(
    unmatched: list[Execution], recovered: Execution, alike: Callable[[Execution, Execution], bool]
) -> bool:
    """Strike out the one that the recovered execution tells again, if there is one."""
    for index, told in enumerate(unmatched):
        if alike(told, recovered):
            del unmatched[index]
            return True
    return False


def _same_place(told: Execution, recovered: Execution) -> bool:
    alike = all(
        None in pair or pair[0] == pair[1]
        for pair in ((told.qty, recovered.qty), (told.price, recovered.price))
    )
    return alike and told.cumulative == recovered.cumulative


def _same_trade(told: Execution, recovered: Execution) -> bool:
    return recovered.qty is not None and (told.qty, told.price) == (recovered.qty, recovered.price)


def _execution_key(execution: Execution) -> tuple[Decimal, str, str]:
    total = execution.cumulative if execution.cumulative is not None else _ZERO
    return total, execution.execution_id or "", repr(execution)


def _keep_greater(kept: dict[Any, Execution], key: object, execution: Execution) -> None:
    kept[key] = max(kept.get(key, execution), execution, key=_execution_key)
