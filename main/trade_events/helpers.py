"""A helper for each type of event: `TradeEvent.create_order_created(…)` and so on.

Every helper also takes the event's own fields (`account`, `event_id`, `timestamp`,
`correlation_id`, `source`) and any further fields of its data (`sl=1995.0`) by name.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias
from uuid import UUID

from .kinds import TradeEventType

if TYPE_CHECKING:
    from collections.abc import Callable

Id: TypeAlias = str | int | UUID
Number: TypeAlias = float | Decimal

OWN_FIELDS: Final = ("timestamp", "correlation_id", "source", "event_id", "account")


class Helpers:
    """The 18 helpers. All raise `InvalidTradeEvent`, which names the field."""

    __slots__ = ()

    @classmethod
    def _create(cls, kind: TradeEventType, symbol: str, more: dict[str, Any], **data: Any) -> Self:
        own = {name: more.pop(name) for name in OWN_FIELDS if name in more}
        make: Callable[..., Self] = cls
        return make(event_type=kind, symbol=symbol, data=data | more, **own)

    # -- orders

    @classmethod
    def create_order_created(
        cls,
        symbol: str,
        order_id: Id,
        order_type: str,
        price: Number | None,
        volume: Number | None,
        **more: Any,
    ) -> Self:
        """A new order. `price` None: at the market; `volume` None: by its notional value."""
        kind = TradeEventType.ORDER_CREATED
        data = {"order_id": order_id, "order_type": order_type, "price": price, "volume": volume}
        return cls._create(kind, symbol, more, **data)

    @classmethod
    def create_order_filled(
        cls, symbol: str, order_id: Id, price: Number, volume: Number, **more: Any
    ) -> Self:
        """The execution, of `volume` at `price`, that completed an order. Give `filled_volume` (the
        order's total) or `execution_id`, so that another's word of it is the same event."""
        kind = TradeEventType.ORDER_FILLED
        return cls._create(kind, symbol, more, order_id=order_id, price=price, volume=volume)

    @classmethod
    def create_order_partially_filled(
        cls, symbol: str, order_id: Id, price: Number, volume: Number, **more: Any
    ) -> Self:
        """An execution of a part of an order; as `create_order_filled`."""
        kind = TradeEventType.ORDER_PARTIALLY_FILLED
        return cls._create(kind, symbol, more, order_id=order_id, price=price, volume=volume)

    @classmethod
    def create_order_cancelled(cls, symbol: str, order_id: Id, **more: Any) -> Self:
        """An order that ended before it was filled; give a `reason` where there is one."""
        return cls._create(TradeEventType.ORDER_CANCELLED, symbol, more, order_id=order_id)

    @classmethod
    def create_order_rejected(cls, symbol: str, order_id: Id, reason: str, **more: Any) -> Self:
        """An order that the broker did not take."""
        kind = TradeEventType.ORDER_REJECTED
        return cls._create(kind, symbol, more, order_id=order_id, reason=reason)

    @classmethod
    def create_order_modified(cls, symbol: str, order_id: Id, **more: Any) -> Self:
        """An order's new `price`, `volume`, …, or the order that took its place, `replaced_by`."""
        return cls._create(TradeEventType.ORDER_MODIFIED, symbol, more, order_id=order_id)

    # -- positions

    @classmethod
    def create_position_opened(
        cls,
        symbol: str,
        position_id: Id,
        entry_price: Number,
        volume: Number,
        direction: str,
        **more: Any,
    ) -> Self:
        """A new position; `direction` is "LONG" or "SHORT", or as your broker says it."""
        data = {"position_id": position_id, "entry_price": entry_price, "volume": volume}
        kind = TradeEventType.POSITION_OPENED
        return cls._create(kind, symbol, more, **data, direction=direction)

    @classmethod
    def create_position_closed(
        cls, symbol: str, position_id: Id, exit_price: Number, pnl: Number, **more: Any
    ) -> Self:
        """The end of a position. `pnl`: the profit of what was closed with it, in account
        currency."""
        kind = TradeEventType.POSITION_CLOSED
        data = {"position_id": position_id, "exit_price": exit_price, "pnl": pnl}
        return cls._create(kind, symbol, more, **data)

    @classmethod
    def create_position_modified(cls, symbol: str, position_id: Id, **more: Any) -> Self:
        """A position's new `volume`, `entry_price`, `sl`, `tp`, …"""
        return cls._create(TradeEventType.POSITION_MODIFIED, symbol, more, position_id=position_id)

    @classmethod
    def create_position_partially_closed(
        cls,
        symbol: str,
        position_id: Id,
        exit_price: Number,
        closed_volume: Number,
        remaining_volume: Number,
        pnl: Number,
        **more: Any,
    ) -> Self:
        """A part of a position was closed; `pnl` is the profit of that part."""
        data = {"position_id": position_id, "exit_price": exit_price, "pnl": pnl}
        volumes = {"closed_volume": closed_volume, "remaining_volume": remaining_volume}
        kind = TradeEventType.POSITION_PARTIALLY_CLOSED
        return cls._create(kind, symbol, more, **data, **volumes)

    # -- trades

    @classmethod
    def create_trade_executed(
        cls,
        symbol: str,
        trade_id: Id,
        price: Number | None = None,
        volume: Number | None = None,
        **more: Any,
    ) -> Self:
        """A trade that was carried out."""
        kind = TradeEventType.TRADE_EXECUTED
        return cls._create(kind, symbol, more, trade_id=trade_id, price=price, volume=volume)

    @classmethod
    def create_trade_failed(cls, symbol: str, trade_id: Id, reason: str, **more: Any) -> Self:
        """A trade that could not be carried out."""
        kind = TradeEventType.TRADE_FAILED
        return cls._create(kind, symbol, more, trade_id=trade_id, reason=reason)

    # -- risk

    @classmethod
    def create_risk_limit_breached(
        cls, symbol: str, limit: str, value: Number, threshold: Number, **more: Any
    ) -> Self:
        """`value` went beyond the `threshold` of the limit that is called `limit`."""
        kind = TradeEventType.RISK_LIMIT_BREACHED
        return cls._create(kind, symbol, more, limit=limit, value=value, threshold=threshold)

    @classmethod
    def create_stop_loss_hit(cls, symbol: str, position_id: Id, price: Number, **more: Any) -> Self:
        """A position's stop loss was reached; that it closed is an event of its own."""
        kind = TradeEventType.STOP_LOSS_HIT
        return cls._create(kind, symbol, more, position_id=position_id, price=price)

    @classmethod
    def create_take_profit_hit(
        cls, symbol: str, position_id: Id, price: Number, **more: Any
    ) -> Self:
        """A position's take profit was reached; that it closed is an event of its own."""
        kind = TradeEventType.TAKE_PROFIT_HIT
        return cls._create(kind, symbol, more, position_id=position_id, price=price)

    # -- signals

    @classmethod
    def create_signal_generated(
        cls, symbol: str, signal_id: Id, direction: str, **more: Any
    ) -> Self:
        """A strategy's signal."""
        kind = TradeEventType.SIGNAL_GENERATED
        return cls._create(kind, symbol, more, signal_id=signal_id, direction=direction)

    @classmethod
    def create_signal_validated(cls, symbol: str, signal_id: Id, **more: Any) -> Self:
        """A signal that passed validation."""
        return cls._create(TradeEventType.SIGNAL_VALIDATED, symbol, more, signal_id=signal_id)

    @classmethod
    def create_signal_rejected(cls, symbol: str, signal_id: Id, reason: str, **more: Any) -> Self:
        """A signal that did not pass."""
        kind = TradeEventType.SIGNAL_REJECTED
        return cls._create(kind, symbol, more, signal_id=signal_id, reason=reason)
