"""Pure: messages of the bus in one line of words for a person."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from msgspec import UNSET

from .utils.redis.messages import (
    BarMessage,
    BrokerStatus,
    CorrectionMessage,
    GapMessage,
    OrderMessage,
    PriceMessage,
    QuoteMessage,
    StatusMessage,
)

TIME_START, TIME_END = 11, 23  # `14:30:05.123` of an RFC 3339 text
TICKER_WIDTH: Final = 8
PRICE_WIDTH: Final = 9  # so that prices stand in line, point below point
CENTS: Final = 2

NO_LAST_PRICE: Final = "does not set the last price"

TickerLine = (
    PriceMessage
    | OrderMessage
    | GapMessage
    | StatusMessage
    | CorrectionMessage
    | QuoteMessage
    | BarMessage
)


def describe(message: TickerLine) -> str:
    """`14:30:05.123  AAPL  price     189.20 x 100`."""
    time = message.timestamp.rstrip("Z")[TIME_START:TIME_END].ljust(TIME_END - TIME_START)
    kind, words = _kind_and_words(message)
    return f"{time}  {message.symbol:<{TICKER_WIDTH}} {kind:<10} {words}".rstrip()


def _kind_and_words(message: TickerLine) -> tuple[str, str]:
    match message:
        case PriceMessage():
            return "price", _price_words(message)
        case OrderMessage():
            return "order", f"{describe_order(message)}{_owner(message)}"
        case GapMessage():
            lost = "how much is not known" if message.lost is None else f"{message.lost} lost"
            refilled = "refilled" if message.backfilled else lost
            return "gap", f"{message.from_} to {message.to}: {message.cause}, {refilled}"
        case StatusMessage():
            return "status", f"{message.message} ({message.reason_message})"
        case CorrectionMessage():
            return "correction", f"{message.original} -> {message.corrected or 'cancelled'}"
        case QuoteMessage():
            bid = f"{message.bid_price} x {message.bid_size}"
            return "quote", f"{bid} / {message.ask_price} x {message.ask_size}"
        case BarMessage():
            prices = f"{message.open} {message.high} {message.low} {message.close}"
            return "bar", f"{prices} x {message.volume}"


def _price_words(message: PriceMessage) -> str:
    notes = [] if message.last_eligible else [NO_LAST_PRICE]
    notes += ["refilled"] if message.backfilled else []
    note = f"  ({', '.join(notes)})" if notes else ""
    return f"{price_text(message.price):>{PRICE_WIDTH}} x {plain_number(message.volume)}{note}"


def describe_order(message: OrderMessage) -> str:
    """`fill buy 10 @ 189.20`: the event, and the order's side, quantity and price."""
    order, update = message.order_data, message.update
    is_fill = message.event in ("fill", "partial_fill")
    quantity = update.get("qty") if is_fill else None
    price = update.get("price") if is_fill else None
    quantity = quantity or order.get("qty") or order.get("notional")
    price = price or order.get("limit_price")
    words = [message.event, str(order.get("side") or ""), plain_number(quantity)]
    if price:
        words.append(f"@ {price_text(price)}")
    return " ".join(word for word in words if word)


def _owner(message: OrderMessage) -> str:
    name, colon, _ = str(message.order_data.get("client_order_id") or "").partition(":")
    return f"  of {name}" if colon else ""


def describe_account(status: BrokerStatus) -> str:
    """`PAPER account …1A2B at the local Alpaca`: whose prices and orders these are."""
    kind = f"{'PAPER' if status.paper else 'LIVE'} account"
    if status.account_id is None:
        return f"{kind} not known yet"
    return f"{kind} {account_name(status)}{account_place(status)}"


def account_name(status: BrokerStatus) -> str | None:
    """`…1A2B`, the end of its number, as Alpaca's own pages show it; an older broker tells only
    the id, which nobody knows."""
    if status.account_short is not UNSET:
        return f"…{status.account_short[-4:]}"
    return None if status.account_id is None else f"id …{status.account_id[-4:]}"


def account_place(status: BrokerStatus) -> str:
    """` at the local Alpaca`, where the prices are made up; empty where nobody tells."""
    if status.local is UNSET:
        return ""
    return " at the local Alpaca" if status.local else " at Alpaca"


def price_text(price: Any) -> str:
    """A price with at least its cents: `189.20`, and no digit less than it has."""
    text = plain_number(price)
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<{CENTS}}" if whole.lstrip("-").isdigit() else text


def plain_number(number: Any) -> str:
    """A number as Alpaca's strings give it, without needless zeros: `10`, not `10.000`."""
    if number is None:
        return ""
    try:
        return f"{Decimal(str(number)).normalize():f}"
    except InvalidOperation:
        return str(number)
