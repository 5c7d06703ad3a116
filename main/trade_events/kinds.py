"""The 18 types of trade events, and what each one's `data` must hold: one table.

A field's kind is checked wherever the field stands; what is not named here may be anything that
JSON can hold.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal


class TradeEventType(enum.StrEnum):
    """The value is the last part of the channel's name: `trades:{symbol}:{value}`."""

    __hash__ = (
        str.__hash__
    )  # it equals its text, so it must hash as that; and it is ten times faster

    ORDER_CREATED = "order.created"
    ORDER_FILLED = "order.filled"
    ORDER_PARTIALLY_FILLED = "order.partially_filled"
    ORDER_CANCELLED = "order.cancelled"
    ORDER_REJECTED = "order.rejected"
    ORDER_MODIFIED = "order.modified"
    POSITION_OPENED = "position.opened"
    POSITION_CLOSED = "position.closed"
    POSITION_MODIFIED = "position.modified"
    POSITION_PARTIALLY_CLOSED = "position.partially_closed"
    TRADE_EXECUTED = "trade.executed"
    TRADE_FAILED = "trade.failed"
    RISK_LIMIT_BREACHED = "risk.limit_breached"
    STOP_LOSS_HIT = "risk.stop_loss_hit"
    TAKE_PROFIT_HIT = "risk.take_profit_hit"
    SIGNAL_GENERATED = "signal.generated"
    SIGNAL_VALIDATED = "signal.validated"
    SIGNAL_REJECTED = "signal.rejected"


class Kind(enum.Enum):
    """What a field may hold; the value says it in words."""

    ID = "an id: 1 to 128 printable ASCII characters without spaces"
    TEXT = "text that is not empty"
    NUMBER = "a finite number"
    NUMBER_OR_NONE = "a finite number, or None"
    QUANTITY = "a finite number that is not negative"
    QUANTITY_OR_NONE = "a finite number that is not negative, or None"


Subject = Literal["order", "position"]
Fields = Mapping[str, Kind]

ORDER_ID: Final = {"order_id": Kind.ID}
POSITION_ID: Final = {"position_id": Kind.ID}
EXECUTION: Final = {"price": Kind.NUMBER, "volume": Kind.QUANTITY}
FILL: Final = {"filled_volume": Kind.QUANTITY, "execution_id": Kind.ID}
SIGNAL_ID: Final = {"signal_id": Kind.ID}
REFUSAL: Final = {"reason": Kind.TEXT}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One type's `data`. `subject`: whose state it moves. `renamed`: under which name a field is
    kept in that state, where it is not its own (an execution's price is not the order's)."""

    required: Fields
    optional: Fields = field(default_factory=dict)
    subject: Subject | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    kinds: Fields = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", {**self.required, **self.optional})


_FILL_SHAPE: Final = Shape(
    subject="order",
    required=ORDER_ID | EXECUTION,
    optional=FILL,
    renamed={"price": "last_fill_price", "volume": "last_fill_volume"},
)
_AT_POSITION: Final = Shape(required=POSITION_ID | {"price": Kind.NUMBER})

SHAPES: Final[Mapping[TradeEventType, Shape]] = {
    TradeEventType.ORDER_CREATED: Shape(
        subject="order",
        required=ORDER_ID
        | {
            "order_type": Kind.TEXT,
            "price": Kind.NUMBER_OR_NONE,
            "volume": Kind.QUANTITY_OR_NONE,
        },
    ),
    TradeEventType.ORDER_FILLED: _FILL_SHAPE,
    TradeEventType.ORDER_PARTIALLY_FILLED: _FILL_SHAPE,
    TradeEventType.ORDER_CANCELLED: Shape(subject="order", required=ORDER_ID, optional=REFUSAL),
    TradeEventType.ORDER_REJECTED: Shape(subject="order", required=ORDER_ID | REFUSAL),
    TradeEventType.ORDER_MODIFIED: Shape(
        subject="order",
        required=ORDER_ID,
        optional={
            "price": Kind.NUMBER_OR_NONE,
            "volume": Kind.QUANTITY_OR_NONE,
            "replaced_by": Kind.ID,
            "modification_id": Kind.ID,
        },
    ),
    TradeEventType.POSITION_OPENED: Shape(
        subject="position",
        required=POSITION_ID
        | {"entry_price": Kind.NUMBER, "volume": Kind.QUANTITY, "direction": Kind.TEXT},
    ),
    TradeEventType.POSITION_CLOSED: Shape(
        subject="position",
        required=POSITION_ID | {"exit_price": Kind.NUMBER, "pnl": Kind.NUMBER},
        optional={"closed_volume": Kind.QUANTITY},
        renamed={"closed_volume": "last_closed_volume"},
    ),
    TradeEventType.POSITION_MODIFIED: Shape(
        subject="position",
        required=POSITION_ID,
        optional={"entry_price": Kind.NUMBER, "volume": Kind.QUANTITY},
    ),
    TradeEventType.POSITION_PARTIALLY_CLOSED: Shape(
        subject="position",
        required=POSITION_ID
        | {
            "exit_price": Kind.NUMBER,
            "closed_volume": Kind.QUANTITY,
            "remaining_volume": Kind.QUANTITY,
            "pnl": Kind.NUMBER,
        },
        renamed={"closed_volume": "last_closed_volume", "remaining_volume": "volume"},
    ),
    TradeEventType.TRADE_EXECUTED: Shape(
        required={"trade_id": Kind.ID},
        optional={"price": Kind.NUMBER_OR_NONE, "volume": Kind.QUANTITY_OR_NONE},
    ),
    TradeEventType.TRADE_FAILED: Shape(required={"trade_id": Kind.ID} | REFUSAL),
    TradeEventType.RISK_LIMIT_BREACHED: Shape(
        required={"limit": Kind.TEXT, "value": Kind.NUMBER, "threshold": Kind.NUMBER}
    ),
    TradeEventType.STOP_LOSS_HIT: _AT_POSITION,
    TradeEventType.TAKE_PROFIT_HIT: _AT_POSITION,
    TradeEventType.SIGNAL_GENERATED: Shape(required=SIGNAL_ID | {"direction": Kind.TEXT}),
    TradeEventType.SIGNAL_VALIDATED: Shape(required=SIGNAL_ID),
    TradeEventType.SIGNAL_REJECTED: Shape(required=SIGNAL_ID | REFUSAL),
}

FILL_TYPES: Final = frozenset({TradeEventType.ORDER_FILLED, TradeEventType.ORDER_PARTIALLY_FILLED})

# What an order's or a position's hash holds of the bus's own: no event's data may name it.
RESERVED: Final = frozenset(
    {
        "status",
        "symbol",
        "account",
        "created_at",
        "updated_at",
        "first_log_id",
        "log_id",
        "last_event",
    }
)
