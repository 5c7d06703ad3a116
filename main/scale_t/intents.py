"""What the ladder wants done at Alpaca, and what may be said of each order that it asked for."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto
from typing import Final, Literal, TypeAlias

from .order_ids import OrderKind
from .terms import TimeInForce


@dataclass(frozen=True, kw_only=True)
class Place:
    """Send an order. Without `limit_price` it is a market order: only to flatten."""

    client_order_id: str
    kind: OrderKind
    ticker: str
    side: Literal["buy", "sell"]
    qty: Decimal
    limit_price: Decimal | None
    time_in_force: TimeInForce = "day"


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """Cancel an order that Alpaca knows."""

    client_order_id: str
    order_id: str


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """Ask Alpaca for the truth about an order whose fate is not known."""

    client_order_id: str


Intent: TypeAlias = Place | Cancel | LookUp


class Stage(Enum):
    """How far an order that we asked for has come. Its fills and its end are the tracker's truth.

    SEEN is final: once Alpaca showed the order, no lost answer makes it doubtful again. REFUSED
    and ABSENT are not: an order event that comes later proves that the order exists after all.
    """

    SENDING = auto()  # handed to the shell, no answer yet
    UNRESOLVED = auto()  # the answer was lost: it may exist or not, and counts as if it did
    SEEN = auto()
    REFUSED = auto()
    ABSENT = auto()  # looked up for long enough: it never arrived


STAGE_MOVES: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.SENDING: frozenset({Stage.SEEN, Stage.UNRESOLVED, Stage.REFUSED}),
    Stage.UNRESOLVED: frozenset({Stage.SEEN, Stage.REFUSED, Stage.ABSENT}),
    Stage.REFUSED: frozenset({Stage.SEEN}),
    Stage.ABSENT: frozenset({Stage.SEEN}),
    Stage.SEEN: frozenset(),
}


class IllegalMove(Exception):
    """A stage that cannot follow; nothing was changed."""

    def __init__(self, client_order_id: str, before: Stage, after: Stage) -> None:
        self.client_order_id, self.before, self.after = client_order_id, before, after
        super().__init__(f"{client_order_id}: {before.name} cannot become {after.name}")
