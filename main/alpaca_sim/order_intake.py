"""What a client may ask of its orders: submit, replace, cancel, close a position.

Each is checked completely before anything changes, so that a refusal leaves no trace.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import cast

from . import order_groups
from .account_settings import AccountSettings
from .admission import Admission, Admitted
from .assets import Asset
from .ledger import Position
from .margin import held_qty
from .new_york_day import day_order_expires_ns
from .order_class_rules import check_class, oco_as_limit
from .order_desk import OrderDesk
from .order_request import Change, OrderClass, Ticket, check_prices
from .order_requests import request_cancel, request_replace
from .order_states import is_legal
from .orders import GroupKind, Order, OrderGroup, OrderType, Side, TimeInForce, opposite
from .refusals import insufficient_qty, invalid, unprocessable
from .venue_ids import VenueIds
from .wire_numbers import NINE_PLACES, ROUNDING

_NOT_SENT_YET = frozenset({"accepted", "pending_new"})


class OrderIntake:
    """Turns well-formed requests into orders at the desk. Raises Refusal."""

    def __init__(self, desk: OrderDesk, admission: Admission, ids: VenueIds) -> None:
        self.settings = AccountSettings()
        self._desk = desk
        self._admission = admission
        self._ids = ids

    # ---- submit --------------------------------------------------------------------------

    def submit(self, ticket: Ticket, now_ns: int) -> Order:
        """A new order with its legs, if it has any."""
        ticket = oco_as_limit(ticket)
        asset = self._admission.asset_of(ticket)
        self._admission.check_settings(ticket, self.settings)
        self._admission.check_asset_rules(ticket, asset)
        self._admission.check_client_order_id(ticket.client_order_id)
        self._admission.check_wash_trade(ticket, asset, None)
        admitted = self._admit(ticket, asset)
        _check_intent(ticket, admitted)
        check_class(ticket, admitted)
        order = self._build(ticket, asset, admitted, now_ns)
        legs = self._build_group(order, ticket, now_ns)
        self._desk.enter(order, now_ns)
        for leg in legs:
            self._desk.hold(leg, now_ns)
        if ticket.order_class == "oco":
            order_groups.watch(self._desk, legs[0])
        return order

    def _admit(self, ticket: Ticket, asset: Asset, replacing: Order | None = None) -> Admitted:
        quote = self._desk.quotes.get(asset.symbol)
        reserved = self._desk.reserved
        return self._admission.admit(ticket, asset, quote, self.settings, reserved, replacing)

    def _build(self, ticket: Ticket, asset: Asset, admitted: Admitted, now_ns: int) -> Order:
        return Order(
            seq=self._desk.store.next_seq(),
            id=self._ids.uuid(),
            client_order_id=ticket.client_order_id or self._ids.uuid(),
            asset=asset,
            side=ticket.side,
            type=ticket.type,
            time_in_force=ticket.time_in_force,
            qty=ticket.qty,
            notional=ticket.notional,
            limit_price=ticket.limit_price,
            stop_price=ticket.stop_price,
            trail_price=ticket.trail_price,
            trail_percent=ticket.trail_percent,
            extended_hours=ticket.extended_hours,
            order_class=ticket.order_class,
            position_intent=admitted.position_intent,
            created_ns=now_ns,
            updated_ns=now_ns,
            submitted_ns=now_ns,
            expires_ns=self._expires_ns(ticket.time_in_force, ticket.extended_hours, now_ns),
            is_closing=admitted.is_closing,
            reserve_price=admitted.reserve_price,
            reserve_rate=admitted.reserve_rate,
        )

    def _expires_ns(self, time_in_force: TimeInForce, extended: bool, now_ns: int) -> int:
        if time_in_force == "gtc":
            return now_ns + self._desk.config.gtc_lifetime_ns
        return day_order_expires_ns(now_ns, extended=extended)

    def _build_group(self, order: Order, ticket: Ticket, now_ns: int) -> list[Order]:
        """The legs that wait, and the group that ties them to the order."""
        if not ticket.order_class:
            return []
        is_oco = ticket.order_class == "oco"
        side = ticket.side if is_oco else opposite(ticket.side)
        legs: list[Order] = []
        if ticket.take_profit is not None and not is_oco:
            legs.append(self._build_leg(order, side, ticket.take_profit, None, now_ns))
        if ticket.stop_loss is not None:
            stop = ticket.stop_loss
            legs.append(self._build_leg(order, side, stop.limit_price, stop.stop_price, now_ns))
        exits = [order, *legs] if is_oco else legs
        kind = cast(GroupKind, ticket.order_class)
        group = OrderGroup(kind, None if is_oco else order, exits)
        for member in group.members():
            member.group = group
        return legs

    def _build_leg(
        self,
        parent: Order,
        side: Side,
        limit_price: Decimal | None,
        stop_price: Decimal | None,
        now_ns: int,
    ) -> Order:
        kind: OrderType = "limit"
        if stop_price is not None:
            kind = "stop" if limit_price is None else "stop_limit"
        return Order(
            seq=self._desk.store.next_seq(),
            id=self._ids.uuid(),
            client_order_id=self._ids.uuid(),
            asset=parent.asset,
            side=side,
            type=kind,
            time_in_force=parent.time_in_force,
            qty=parent.qty,
            limit_price=limit_price,
            stop_price=stop_price,
            order_class=parent.order_class,
            position_intent=f"{side}_to_close",
            created_ns=now_ns,
            updated_ns=now_ns,
            submitted_ns=now_ns,
            expires_ns=parent.expires_ns,
            is_closing=True,
        )

    # ---- cancel --------------------------------------------------------------------------

    def cancel(self, order: Order, now_ns: int, *, at_once: bool = False) -> None:
        """Ask the venue to cancel; the answer comes on the stream."""
        if not order.is_open:
            raise unprocessable(f'order is already in "{order.status}" state')
        if order.status == "pending_cancel" and not at_once:
            raise unprocessable("order pending cancel")
        if order.status == "pending_replace" and not at_once:
            raise unprocessable("order is not cancelable")
        request_cancel(self._desk, order, now_ns, at_once=at_once)

    # ---- replace -------------------------------------------------------------------------

    def replace(self, old: Order, change: Change, now_ns: int) -> Order:
        """A new order in place of an open one; the venue decides whether it came in time."""
        if old.status in _NOT_SENT_YET:
            raise invalid("unable to replace order, order isn't sent to exchange yet")
        if not old.is_open or not is_legal(old.status, "pending_replace"):
            raise unprocessable("unable to replace order, order is not open")
        if old.notional is not None:
            raise unprocessable("notional orders cannot be replaced")
        ticket = self._changed(old, change)
        self._admission.check_asset_rules(ticket, old.asset)
        self._admission.check_client_order_id(ticket.client_order_id)
        if old.group is None:
            self._admission.check_wash_trade(ticket, old.asset, old)
        admitted = self._admit_replacement(old, ticket)
        new = self._build(ticket, old.asset, admitted, now_ns)
        new.replaces = old.id
        new.hwm = old.hwm if change.trail is None else None
        request_replace(self._desk, old, new, now_ns)
        return new

    def _admit_replacement(self, old: Order, ticket: Ticket) -> Admitted:
        if old.group is not None and old is not old.group.entry:
            if ticket.qty is not None and ticket.qty > old.leaves_qty:
                raise insufficient_qty(
                    old.symbol,
                    requested=ticket.qty,
                    existing=abs(self._desk.ledger.qty(old.symbol)),
                    held=held_qty(self._desk.store.open_orders(old.symbol)),
                    related=[member.id for member in old.group.exits],
                )
            return Admitted(
                is_closing=True,
                position_intent=old.position_intent,
                reserve_price=old.reserve_price,
                reserve_rate=old.reserve_rate,
            )
        return self._admit(ticket, old.asset, replacing=old)

    def _changed(self, old: Order, change: Change) -> Ticket:
        if change.qty is not None and old.qty is not None:
            _check_new_qty(old.qty, change.qty)
        rest = old.qty
        if self._desk.config.replacement_qty == "remaining":
            rest = old.leaves_qty
        prices = _changed_prices(old, change)
        check_prices(old.type, prices)
        return Ticket(
            symbol=old.symbol,
            side=old.side,
            type=old.type,
            time_in_force=change.time_in_force or old.time_in_force,
            qty=change.qty if change.qty is not None else rest,
            limit_price=prices["limit_price"],
            stop_price=prices["stop_price"],
            trail_price=prices["trail_price"],
            trail_percent=prices["trail_percent"],
            extended_hours=old.extended_hours,
            client_order_id=change.client_order_id,
            order_class=cast(OrderClass, old.order_class),
        )

    # ---- positions -----------------------------------------------------------------------

    def close_position(
        self, position: Position, qty: Decimal | None, percentage: Decimal | None, now_ns: int
    ) -> Order:
        """A market order against all or a part of a position."""
        asset, existing = position.asset, abs(position.qty)
        if percentage is not None:
            qty = _part_of(existing, percentage)
        wanted = existing if qty is None else qty
        if wanted > existing:
            raise insufficient_qty(
                asset.symbol, requested=wanted, existing=existing, held=Decimal(0), related=[]
            )
        ticket = Ticket(
            symbol=asset.symbol,
            side="sell" if position.qty > 0 else "buy",
            type="market",
            time_in_force="gtc" if asset.asset_class == "crypto" else "day",
            qty=wanted,
        )
        self._admission.check_wash_trade(ticket, asset, None)
        admitted = self._admit(ticket, asset)
        order = self._build(ticket, asset, admitted, now_ns)
        self._desk.enter(order, now_ns)
        return order


def _changed_prices(old: Order, change: Change) -> dict[str, Decimal | None]:
    """The order's prices with the change applied. A trailing stop computes its own stop price."""
    own_stop = None if old.type == "trailing_stop" else old.stop_price
    prices = {
        "limit_price": old.limit_price if change.limit_price is None else change.limit_price,
        "stop_price": own_stop if change.stop_price is None else change.stop_price,
        "trail_price": old.trail_price,
        "trail_percent": old.trail_percent,
    }
    if change.trail is None:
        return prices
    if old.type != "trailing_stop":
        raise invalid(f"{old.type.replace('_', ' ')} orders must not have trail")
    prices["trail_price" if old.trail_price is not None else "trail_percent"] = change.trail
    return prices


def _part_of(existing: Decimal, percentage: Decimal) -> Decimal:
    """Whole shares of whole shares; of a fractional position nine decimals."""
    part = ROUNDING.multiply(existing, ROUNDING.divide(percentage, Decimal(100)))
    unit = Decimal(1) if existing == existing.to_integral_value() else NINE_PLACES
    part = part.quantize(unit, ROUND_DOWN, context=ROUNDING)
    if not part:
        raise invalid("qty must be > 0")
    return part


def _check_new_qty(old: Decimal, new: Decimal) -> None:
    if new != new.to_integral_value():
        raise unprocessable("qty must be integer")
    if old != old.to_integral_value() and new != old:
        raise unprocessable("qty of fractional orders cannot be changed")


def _check_intent(ticket: Ticket, admitted: Admitted) -> None:
    given, inferred = ticket.position_intent, admitted.position_intent
    if given is not None and given != inferred:
        raise unprocessable(f"position intent mismatch, inferred: {inferred}, specified: {given}")
