"""Pure: what has to be remembered of orders, so that each event is told once. Small, and JSON."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from .positions import ZERO, Holding


class OrderRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One order: whose it is, and what was told of it.

    `told` maps the cumulative quantity of each execution to its id, empty where REST told it.
    """

    owner: str | None = None
    created: bool = False
    ended: bool = False
    told: dict[str, str] = {}
    twins: list[str] = []  # execution ids that shared another one's cumulative quantity
    filled: Decimal = ZERO  # the sum of what was told
    modified: list[str] = []
    born: str = ""  # Alpaca's `created_at`: a bracket's legs are born with their parent
    order_class: str = ""
    side: str = ""

    def knows(self, cumulative: str, execution_id: str) -> bool:
        """Whether this execution was told before, by either road."""
        if execution_id and (execution_id in self.twins or execution_id in self.told.values()):
            return True
        if cumulative not in self.told:
            return False
        # REST names no execution: the same place in the order is the same execution.
        return not (execution_id and self.told[cumulative])


class Memory(msgspec.Struct, kw_only=True):
    """Everything remembered of one symbol. Holdings by owner; "" is the account's own."""

    orders: dict[str, OrderRecord] = {}
    holdings: dict[str, Holding] = {}

    def holding(self, owner: str | None) -> Holding:
        return self.holdings.setdefault(owner or "", Holding())

    def forget_ended(self, keep: int) -> list[str]:
        """Once there are twice as many, let go of the oldest ended orders, all but `keep`."""
        if len(self.orders) <= 2 * keep:
            return []
        ended = [order_id for order_id, record in self.orders.items() if record.ended]
        gone = ended[: max(0, len(ended) - keep)]
        for order_id in gone:
            del self.orders[order_id]
        return gone
