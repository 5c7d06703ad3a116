"""Pure: one own order, and what the orders of one rung add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from ..utils.waits import GrowingWait
from .intents import STAGE_MOVES, IllegalMove, Stage
from .order_ids import OrderName

ZERO: Final = Decimal(0)
LOOK_UP_FIRST_S: Final = 0.5
LOOK_UP_CAP_S: Final = 8.0
CANCEL_AGAIN_FIRST_S: Final = 5.0
CANCEL_AGAIN_CAP_S: Final = 60.0


@dataclass
class OwnOrder:
    """One order that this ladder asked for, or found to be its own.

    `ratio`: of the splits since it was sent. All quantities and prices here are today's; `value`,
    in dollars, is not changed by a split.
    """

    client_order_id: str
    name: OrderName
    qty: Decimal
    limit_price: Decimal | None
    stage: Stage
    ratio: Decimal = Decimal(1)
    order_id: str | None = None
    status: str = ""
    filled: Decimal = ZERO
    value: Decimal = ZERO
    fee: Decimal = ZERO  # a pair's: coins of an entry, dollars of an exit
    pending: Decimal = ZERO  # what may still fill
    doubtful_since: float = 0.0
    refusal: str | None = None  # what Alpaca said, while we look whether it exists anyway
    cancel_asked: bool = False
    end_noted: bool = False
    name_in_use: bool = False  # said Alpaca, and yet knows no such order
    look_up_wanted: bool = False
    next_look_up: GrowingWait = field(
        default_factory=lambda: GrowingWait(LOOK_UP_FIRST_S, LOOK_UP_CAP_S)
    )
    next_cancel: GrowingWait = field(
        default_factory=lambda: GrowingWait(CANCEL_AGAIN_FIRST_S, CANCEL_AGAIN_CAP_S)
    )

    @property
    def average(self) -> Decimal | None:
        """The price at which it filled, or None."""
        return self.value / self.filled if self.filled else None

    @property
    def frees_its_name(self) -> bool:
        """It came to nothing, so that the next order may be called the same."""
        is_nothing = self.stage in (Stage.ABSENT, Stage.REFUSED)
        return is_nothing and not self.name_in_use

    def move(self, stage: Stage) -> None:
        """Raises:
        IllegalMove: this stage cannot follow; nothing was changed.
        """
        if stage not in STAGE_MOVES[self.stage]:
            raise IllegalMove(self.client_order_id, self.stage, stage)
        self.stage = stage


@dataclass
class RungState:
    """What the orders of one rung add up to. `base`: owned without an order of ours, at a price.

    `entries` and `exits` are in the order in which they were submitted; their generations need not
    be, because a name that came to nothing is given again.
    """

    held: Decimal = ZERO
    entered: Decimal = ZERO
    base: Decimal = ZERO
    base_price: Decimal = ZERO
    entries: list[OwnOrder] = field(default_factory=list)
    exits: list[OwnOrder] = field(default_factory=list)

    def newest_entry(self) -> OwnOrder | None:
        """The newest one that filled."""
        return next((order for order in reversed(self.entries) if order.filled > 0), None)

    @property
    def entered_at(self) -> Decimal | None:
        """The price of what is held, more or less: of the newest entry."""
        newest = self.newest_entry()
        return (None if newest is None else newest.average) or self.base_price or None

    def held_cost(self) -> Decimal:
        """What the held quantity was entered at: the newest entries are what is still held."""
        left, cost = self.held, ZERO
        for order in reversed(self.entries):
            received = order.filled - order.fee
            if received > 0:
                part = min(left, received)
                cost, left = cost + part * order.value / received, left - part
        return cost + left * self.base_price
