"""The trading venue's settings. What Alpaca leaves unknown is a field here, with a default."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from .config import SessionPhase
from .matching import Collars

MILLISECOND = 1_000_000
SECOND = 1_000 * MILLISECOND
DAY = 86_400 * SECOND

PAPER_COLLARS = Collars(below_50=Decimal("0.04"), from_50=Decimal("0.025"))

Multiplier = Literal[1, 2, 4]


@dataclass(frozen=True, kw_only=True)
class VenueConfig:
    """How the simulated account and its venue behave. Times are nanoseconds, money is USD."""

    seed: int = 1
    account_id: str = "5f3c0f0e-5a7e-4d5c-9b7e-10ca1a1baca0"
    account_number: str = "PA3LOCALSIM1"
    starting_cash: Decimal = Decimal(100_000)
    # 1: cash account, 2: Reg T (Alpaca's default from 2,000 USD), 4: the former day trader.
    multiplier: Multiplier = 2
    maintenance_rate: Decimal = Decimal("0.30")
    shorting_enabled: bool = True
    # A short sale reserves the larger of its limit and this much over the ask.
    short_sale_cushion: Decimal = Decimal("0.03")
    # Stocks cost nothing on paper. A rate here is taken from the cash of each execution.
    fee_rate: Decimal = Decimal(0)
    # Pairs of crypto do, of what is received: `crypto_fees.py`. The activity comes this much later.
    crypto_maker_fee: Decimal = Decimal("0.0015")
    crypto_taker_fee: Decimal = Decimal("0.0025")
    crypto_fee_posted_after_ns: int = 3 * SECOND

    # The fill model of paper trading: only when marketable, never checked against the size.
    partial_fill_rate: float = 0.10
    # Worsens market orders by this fraction of the price.
    slippage: Decimal = Decimal(0)
    # What account and positions are valued at.
    mark: Literal["mid", "bid_ask"] = "mid"
    # How long each step takes. With 0 it is done before the call returns.
    acknowledge_delay_ns: int = 2 * MILLISECOND
    fill_delay_ns: int = 3 * MILLISECOND
    partial_fill_pause_ns: int = 20 * MILLISECOND
    cancel_delay_ns: int = 3 * MILLISECOND
    replace_delay_ns: int = 3 * MILLISECOND
    # Unknown at Alpaca: whether paper tells `pending_new` before `new`.
    tells_pending_new: bool = True
    tells_pending_cancel: bool = True
    tells_pending_replace: bool = True
    # What an order gets that comes before any quote of its symbol: it waits, or 422.
    order_without_quote: Literal["wait", "refuse"] = "wait"
    # A triggered buy stop becomes a limit this far above its stop: below 50 USD, and from 50 USD.
    collars: Collars = PAPER_COLLARS
    gtc_lifetime_ns: int = 90 * DAY
    # Refuse opg after 9:28 and cls after 15:50 New York, until 19:00. Off for markets that
    # follow another clock.
    auction_cutoffs: bool = True
    # `remaining`: a replacement without qty asks for what is left; `original`: for all again
    # (reported of Alpaca in 2021, and it can oversell).
    replacement_qty: Literal["remaining", "original"] = "remaining"
    # Unknown at Alpaca: whether stream events of a parent carry its legs.
    stream_nests_legs: bool = False

    wash_trade_protection: bool = True
    min_cost_basis: Decimal = Decimal(1)
    min_crypto_cost_basis: Decimal = Decimal(10)
    # 42210000 was probed; older clients report 40010001.
    duplicate_client_order_id_code: int = 42210000
    # Real positions name a pair without its slash.
    crypto_position_symbol: Literal["BTCUSD", "BTC/USD"] = "BTCUSD"
    # The OpenAPI description has no exchange for crypto positions; the real one says CRYPTO.
    crypto_position_exchange: str = ""

    initial_phase: SessionPhase = "regular"
    # Closed orders and activities kept; older ones are forgotten and counted.
    keep_closed_orders: int = 200_000
    keep_activities: int = 200_000
    # Minutes of equity kept for the portfolio history.
    keep_equity_minutes: int = 50_000


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The answer to one REST request. `body` is JSON-ready; None means no content."""

    status: int
    body: object | None = None
    headers: dict[str, str] = field(default_factory=dict)
