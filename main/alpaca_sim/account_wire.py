"""The account and its positions as JSON objects, with every key that Alpaca sends."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .account_settings import AccountSettings
from .ledger import Ledger, Position
from .margin import Margin
from .venue_config import VenueConfig
from .wire_numbers import ROUNDING, ZERO, number, timestamp

_EIGHT_PLACES = Decimal("0.00000001")


@dataclass(frozen=True, kw_only=True)
class Yesterday:
    """What the account was at the last close."""

    equity: Decimal
    maintenance_margin: Decimal
    asof: str


def account_to_wire(
    config: VenueConfig,
    settings: AccountSettings,
    margin: Margin,
    yesterday: Yesterday,
    fees: Decimal,
    created_ns: int,
) -> dict[str, object]:
    """The object of GET /v2/account."""
    buying_power = _rounded(margin.buying_power)
    equity = _rounded(margin.equity)
    return {
        "id": config.account_id,
        "account_number": config.account_number,
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        "cash": number(margin.cash),
        "buying_power": buying_power,
        "regt_buying_power": _rounded(margin.regt_buying_power),
        "daytrading_buying_power": buying_power if config.multiplier == 4 else "0",
        "effective_buying_power": buying_power,
        "non_marginable_buying_power": _rounded(margin.non_marginable_buying_power),
        "options_buying_power": _rounded(margin.non_marginable_buying_power),
        "bod_dtbp": "0",
        "accrued_fees": number(fees),
        "pending_reg_taf_fees": "0",
        "pending_transfer_in": "0",
        "pending_transfer_out": "0",
        "portfolio_value": equity,
        "equity": equity,
        "last_equity": _rounded(yesterday.equity),
        "long_market_value": _rounded(margin.long_value),
        "short_market_value": _rounded(margin.short_value),
        "position_market_value": _rounded(margin.long_value + abs(margin.short_value)),
        "initial_margin": _rounded(margin.initial_margin),
        "maintenance_margin": _rounded(margin.maintenance_margin),
        "last_maintenance_margin": _rounded(yesterday.maintenance_margin),
        "sma": "0",
        "multiplier": str(config.multiplier),
        "daytrade_count": 0,
        "pattern_day_trader": False,
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "trade_suspended_by_user": settings.suspend_trade,
        "shorting_enabled": config.shorting_enabled and not settings.no_shorting,
        "created_at": timestamp(created_ns),
        "balance_asof": yesterday.asof,
        "crypto_tier": 1,
        "options_approved_level": 0,
        "options_trading_level": 0,
        "intraday_adjustments": "0",
        "admin_configurations": {},
        "user_configurations": None,
    }


def position_to_wire(
    config: VenueConfig, ledger: Ledger, position: Position, held: Decimal
) -> dict[str, object]:
    """The object of GET /v2/positions. A short position has negative quantity, value and cost."""
    asset = position.asset
    price = ledger.price_of(asset.symbol)
    value = ledger.market_value(position)
    lastday = position.lastday_price if position.lastday_price is not None else price
    gain = value - position.cost
    day_base = position.qty_at_open * lastday + position.bought_today
    day_gain = value - day_base
    is_crypto = asset.asset_class == "crypto"
    available = max(abs(position.qty) - held, ZERO)
    return {
        "asset_id": asset.id,
        "symbol": _position_symbol(config, asset.symbol),
        "exchange": config.crypto_position_exchange if is_crypto else asset.exchange,
        "asset_class": asset.asset_class,
        "asset_marginable": asset.marginable,
        "qty": number(position.qty),
        "qty_available": number(available if position.qty > 0 else -available),
        "avg_entry_price": _rounded(position.average_entry),
        "side": "long" if position.qty > 0 else "short",
        "market_value": _rounded(value),
        "cost_basis": _rounded(position.cost),
        "unrealized_pl": _rounded(gain),
        "unrealized_plpc": _ratio(gain, position.cost),
        "unrealized_intraday_pl": _rounded(day_gain),
        "unrealized_intraday_plpc": _ratio(day_gain, day_base),
        "current_price": _rounded(price),
        "lastday_price": _rounded(lastday),
        "change_today": _ratio(price - lastday, lastday),
    }


def _position_symbol(config: VenueConfig, symbol: str) -> str:
    return symbol.replace("/", "") if config.crypto_position_symbol == "BTCUSD" else symbol


def _rounded(value: Decimal) -> str:
    return number(value.quantize(_EIGHT_PLACES, context=ROUNDING))


def _ratio(part: Decimal, whole: Decimal) -> str:
    return _rounded(ROUNDING.divide(part, abs(whole))) if whole else "0"
