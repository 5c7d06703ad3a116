"""Whether an order may enter: the rules of the asset, of the account and of what is already open.

Every check raises the Refusal that Alpaca answers with, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from .account_settings import AccountSettings
from .assets import Asset, AssetBook
from .ledger import Ledger
from .margin import Margin, held_qty, margin_of, margin_rate
from .matching import Quote, tick_of
from .order_request import Ticket
from .orders import Order, OrderStore, Side, opposite
from .refusals import (
    Refusal,
    forbidden,
    insufficient_balance,
    insufficient_buying_power,
    insufficient_qty,
    sub_penny,
    unprocessable,
    wash_trade,
)
from .venue_config import VenueConfig
from .wire_numbers import ROUNDING, ZERO, number

_CRYPTO_TYPES = frozenset({"market", "limit", "stop_limit"})
_CRYPTO_TIMES = frozenset({"gtc", "ioc"})
_FRACTIONAL_TYPES = frozenset({"market", "limit", "stop", "stop_limit"})


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """What the desk needs to know about an order that may enter."""

    is_closing: bool
    position_intent: str
    reserve_price: Decimal
    reserve_rate: Decimal


class Admission:
    """The gate before the desk."""

    def __init__(
        self, config: VenueConfig, assets: AssetBook, ledger: Ledger, store: OrderStore
    ) -> None:
        self._config = config
        self._assets = assets
        self._ledger = ledger
        self._store = store

    def asset_of(self, ticket: Ticket) -> Asset:
        """The asset that is asked for, if it trades. Raises Refusal."""
        asset = self._assets.find(ticket.symbol)
        if asset is None:
            raise unprocessable(f'asset "{ticket.symbol}" not found')
        if asset.status != "active":
            raise unprocessable(f'asset "{asset.symbol}" is not active')
        if not asset.tradable:
            raise unprocessable(f'asset "{asset.symbol}" is not tradable')
        return asset

    def check_asset_rules(self, ticket: Ticket, asset: Asset) -> None:
        """Types, times in force and price steps that this asset takes."""
        if asset.asset_class == "crypto":
            _check_crypto(ticket)
        else:
            _check_stock(ticket, asset)
            _check_price_steps(ticket)

    def check_settings(self, ticket: Ticket, settings: AccountSettings) -> None:
        """What the user switched off."""
        if settings.suspend_trade:
            raise forbidden("new orders are rejected by user request")
        if ticket.is_fractional and not settings.fractional_trading and "/" not in ticket.symbol:
            raise forbidden("account is not enabled for fractional trading")

    def check_client_order_id(self, client_order_id: str | None) -> None:
        """Unique for as long as the venue remembers."""
        if client_order_id is not None and self._store.find_by_client_id(client_order_id):
            code = self._config.duplicate_client_order_id_code
            raise Refusal(422, code, "client_order_id must be unique")

    def check_wash_trade(self, ticket: Ticket, asset: Asset, replacing: Order | None) -> None:
        """No two plain orders of one account may be able to trade with each other."""
        if not self._config.wash_trade_protection or ticket.order_class:
            return
        for order in self._store.open_orders(asset.symbol, opposite(ticket.side)):
            if order.group is not None or order is replacing:
                continue
            reason = _wash_trade_reason(ticket, order)
            if reason is not None:
                raise wash_trade(order.id, reason)

    def admit(
        self,
        ticket: Ticket,
        asset: Asset,
        quote: Quote | None,
        settings: AccountSettings,
        reserved: Decimal,
        replacing: Order | None = None,
    ) -> Admitted:
        """Check quantity or buying power, and say what the order will hold. Raises Refusal."""
        if quote is None and self._config.order_without_quote == "refuse":
            raise unprocessable(f"no available quote for {asset.symbol}")
        position = self._ledger.qty(asset.symbol)
        is_closing = position < 0 if ticket.side == "buy" else position > 0
        cushion = ZERO if is_closing else self._config.short_sale_cushion
        price = _estimated_price(ticket, quote, cushion)
        if is_closing:
            self._check_closing(ticket, asset, price, abs(position), replacing)
        elif asset.asset_class == "crypto" and ticket.side == "sell":
            coin, wanted = asset.symbol.split("/")[0], _wanted_qty(ticket, price)
            raise insufficient_balance(coin, requested=wanted, available=ZERO)
        else:
            self._check_cost_basis(ticket, asset, price)
            self._check_opening(ticket, asset, price, settings, reserved, replacing)
        return Admitted(
            is_closing=is_closing,
            position_intent=f"{ticket.side}_to_{'close' if is_closing else 'open'}",
            reserve_price=price,
            reserve_rate=margin_rate(asset, self._config.multiplier),
        )

    def margin(self, reserved: Decimal) -> Margin:
        """The account's figures now."""
        return margin_of(
            self._ledger, reserved, self._config.multiplier, self._config.maintenance_rate
        )

    def _check_cost_basis(self, ticket: Ticket, asset: Asset, price: Decimal) -> None:
        is_crypto = asset.asset_class == "crypto"
        if not (ticket.is_fractional or is_crypto):
            return
        least = self._config.min_crypto_cost_basis if is_crypto else self._config.min_cost_basis
        if price and _cost(ticket, price) < least:
            raise forbidden(f"cost basis must be >= minimal amount of order {number(least)}")

    def _check_closing(
        self,
        ticket: Ticket,
        asset: Asset,
        price: Decimal,
        existing: Decimal,
        replacing: Order | None,
    ) -> None:
        related = [
            order
            for order in self._store.open_orders(asset.symbol, ticket.side)
            if order.held_qty and order is not replacing
        ]
        held, wanted = held_qty(related), _wanted_qty(ticket, price)
        if wanted <= existing - held:
            return
        if asset.asset_class == "crypto" and ticket.side == "sell":
            coin = asset.symbol.split("/")[0]
            raise insufficient_balance(coin, requested=wanted, available=max(existing - held, ZERO))
        raise insufficient_qty(
            asset.symbol,
            requested=wanted,
            existing=existing,
            held=held,
            related=[order.id for order in related],
        )

    def _check_opening(
        self,
        ticket: Ticket,
        asset: Asset,
        price: Decimal,
        settings: AccountSettings,
        reserved: Decimal,
        replacing: Order | None,
    ) -> None:
        others = self._store.open_orders(asset.symbol, opposite(ticket.side))
        _check_other_direction(ticket.side, others)
        if ticket.side == "sell":
            self._check_short_sale(ticket, asset, settings)
        released = replacing.reserved if replacing is not None else ZERO
        margin = self.margin(reserved - released)
        cost = _cost(ticket, price)
        rate = margin_rate(asset, self._config.multiplier)
        if ROUNDING.multiply(cost, rate) <= margin.free_margin:
            return
        if asset.asset_class == "crypto":
            available = margin.non_marginable_buying_power
            raise insufficient_balance("USD", requested=cost, available=available)
        raise insufficient_buying_power(margin.buying_power, cost)

    def _check_short_sale(self, ticket: Ticket, asset: Asset, settings: AccountSettings) -> None:
        if settings.no_shorting or not self._config.shorting_enabled:
            raise forbidden("account is not allowed to short")
        if self._config.multiplier == 1:
            raise forbidden("account is not eligible to short")
        if ticket.is_fractional:
            raise unprocessable("fractional orders cannot be sold short")
        if not (asset.shortable and asset.easy_to_borrow):
            raise unprocessable(f'asset "{asset.symbol}" cannot be sold short')


def _check_crypto(ticket: Ticket) -> None:
    if ticket.order_class:
        raise unprocessable("crypto orders not allowed for advanced order_class")
    if ticket.type not in _CRYPTO_TYPES:
        raise unprocessable("invalid order type for crypto order")
    if ticket.time_in_force not in _CRYPTO_TIMES:
        raise unprocessable("invalid crypto time_in_force")


def _check_stock(ticket: Ticket, asset: Asset) -> None:
    if ticket.extended_hours and (
        ticket.type != "limit" or ticket.time_in_force not in {"day", "gtc"}
    ):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if ticket.time_in_force in {"opg", "cls"} and ticket.type not in {"market", "limit"}:
        raise unprocessable(f"{ticket.time_in_force} orders must be market or limit orders")
    if ticket.time_in_force in {"ioc", "fok"} and ticket.type not in {"market", "limit"}:
        raise unprocessable(f"{ticket.time_in_force} orders must be market or limit orders")
    if ticket.type == "trailing_stop" and ticket.time_in_force not in {"day", "gtc"}:
        raise unprocessable("trailing stop orders must be DAY or GTC orders")
    if ticket.is_fractional:
        _check_fractional(ticket, asset)


def _check_fractional(ticket: Ticket, asset: Asset) -> None:
    if not asset.fractionable:
        raise forbidden(f'asset "{asset.symbol}" is not fractionable')
    if ticket.order_class:
        raise unprocessable("fractional orders must be simple orders")
    if ticket.time_in_force != "day":
        raise unprocessable("fractional orders must be DAY orders")
    if ticket.type not in _FRACTIONAL_TYPES:
        raise unprocessable("fractional orders must be market, limit, stop or stop_limit orders")


def _check_price_steps(ticket: Ticket) -> None:
    stop_loss = ticket.stop_loss
    for name, price in (
        ("limit_price", ticket.limit_price),
        ("stop_price", ticket.stop_price),
        ("take_profit.limit_price", ticket.take_profit),
        ("stop_loss.stop_price", stop_loss.stop_price if stop_loss else None),
        ("stop_loss.limit_price", stop_loss.limit_price if stop_loss else None),
    ):
        if price is not None and price % tick_of(price, is_crypto=False):
            raise sub_penny(name, price)


def _wash_trade_reason(ticket: Ticket, order: Order) -> str | None:
    """Two limits conflict if they cross, all else always; trailing stops are exempt."""
    if "trailing_stop" in {ticket.type, order.type}:
        return None
    if order.limit_price is None:
        return "opposite side market/stop order exists"
    if ticket.limit_price is not None:
        buy, sell = ticket.limit_price, order.limit_price
        if ticket.side == "sell":
            buy, sell = sell, buy
        if buy < sell:
            return None
    return "opposite side limit order exists"


def _check_other_direction(side: Side, orders: Iterable[Order]) -> None:
    for order in orders:
        if not order.is_closing:
            raise forbidden(
                "cannot open a short sell while a long buy order is open"
                if side == "sell"
                else "cannot open a long buy while a short sell order is open"
            )


def _estimated_price(ticket: Ticket, quote: Quote | None, cushion: Decimal) -> Decimal:
    """What one share is expected to cost or to bring: the limit, else the stop, else the quote.

    A short sale (it has a cushion) counts at its own price, or that much over the ask if more.
    """
    own = ticket.limit_price if ticket.limit_price is not None else ticket.stop_price
    if ticket.side == "sell" and cushion:
        ask = _market_price(quote, "buy")
        return max(own if own is not None else ZERO, ROUNDING.multiply(ask, 1 + cushion))
    return own if own is not None else _market_price(quote, ticket.side)


def _market_price(quote: Quote | None, side: Side) -> Decimal:
    return ZERO if quote is None else quote.price_for(side) or quote.mid


def _cost(ticket: Ticket, price: Decimal) -> Decimal:
    return ticket.notional if ticket.notional is not None else _wanted_qty(ticket, price) * price


def _wanted_qty(ticket: Ticket, price: Decimal) -> Decimal:
    if ticket.qty is not None:
        return ticket.qty
    if ticket.notional is None or not price:
        return ZERO
    return ROUNDING.divide(ticket.notional, price)
