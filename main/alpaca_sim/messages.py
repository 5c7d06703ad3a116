"""The market-data messages, in Alpaca's wire shape (D2, section 1.4 of the protocol page).

One struct per message type. `T` is the tag, and always the first key. Timestamps are
nanoseconds since 1970 inside `Timestamp`, so that each encoding writes them its own way.
"""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import UNSET, Struct, UnsetType, structs


class Timestamp:
    """A moment, in nanoseconds since 1970. (Not a dataclass: msgspec would write its fields.)"""

    __slots__ = ("ns",)

    def __init__(self, ns: int) -> None:
        self.ns = ns

    def rfc3339(self) -> str:
        """As Alpaca writes it in JSON: UTC, `Z`, up to nine decimals, no trailing zeros."""
        return rfc3339(self.ns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timestamp) and other.ns == self.ns

    def __hash__(self) -> int:
        return hash(self.ns)

    def __repr__(self) -> str:
        return f"Timestamp({self.rfc3339()})"


def rfc3339(ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, without trailing zeros."""
    seconds, nanos = divmod(ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanos:09d}".rstrip("0").rstrip(".") + "Z"


_COMMON = {"symbol": "S", "timestamp": "t", "tape": "z", "conditions": "c"}


class Trade(
    Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    tag_field="T",
    tag="t",
    rename=_COMMON
    | {
        "trade_id": "i",
        "exchange": "x",
        "price": "p",
        "size": "s",
        "taker_side": "tks",
    },
):
    """One trade. Crypto has `taker_side`, and neither exchange, conditions nor tape."""

    symbol: str
    trade_id: int
    exchange: str | UnsetType = UNSET
    price: float
    size: float
    conditions: tuple[str, ...] | UnsetType = UNSET
    timestamp: Timestamp
    tape: str | UnsetType = UNSET
    taker_side: str | UnsetType = UNSET


class Quote(
    Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    tag_field="T",
    tag="q",
    rename=_COMMON
    | {
        "bid_exchange": "bx",
        "bid_price": "bp",
        "bid_size": "bs",
        "ask_exchange": "ax",
        "ask_price": "ap",
        "ask_size": "as",
    },
):
    """The best bid and ask."""

    symbol: str
    bid_exchange: str | UnsetType = UNSET
    bid_price: float
    bid_size: float
    ask_exchange: str | UnsetType = UNSET
    ask_price: float
    ask_size: float
    conditions: tuple[str, ...] | UnsetType = UNSET
    timestamp: Timestamp
    tape: str | UnsetType = UNSET


def in_round_lots(quote: Quote) -> Quote:
    """The same quote with its sizes in hundreds of shares, as before 2025-11-03."""
    return structs.replace(
        quote, bid_size=int(quote.bid_size // 100), ask_size=int(quote.ask_size // 100)
    )


_BAR = {
    "symbol": "S",
    "open": "o",
    "high": "h",
    "low": "l",
    "close": "c",
    "volume": "v",
    "timestamp": "t",
    "trade_count": "n",
    "vwap": "vw",
}


class BarBody(Struct, frozen=True, kw_only=True, gc=False, rename=_BAR):
    """One minute or day, labelled with its start."""

    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    timestamp: Timestamp
    trade_count: int
    vwap: float


class Bar(BarBody, frozen=True, tag_field="T", tag="b"):
    """A minute bar, sent right after its minute."""


class UpdatedBar(BarBody, frozen=True, tag_field="T", tag="u"):
    """A minute bar that a late trade changed, sent at the half minute."""


class DailyBar(BarBody, frozen=True, tag_field="T", tag="d"):
    """The day so far, sent after each minute."""


class Status(
    Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    tag_field="T",
    tag="s",
    rename=_COMMON | {"code": "sc", "message": "sm", "reason_code": "rc", "reason": "rm"},
):
    """A halt or a resume."""

    symbol: str
    code: str
    message: str
    reason_code: str
    reason: str
    timestamp: Timestamp
    tape: str


class Correction(
    Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    tag_field="T",
    tag="c",
    rename={
        "symbol": "S",
        "exchange": "x",
        "original_id": "oi",
        "original_price": "op",
        "original_size": "os",
        "original_conditions": "oc",
        "corrected_id": "ci",
        "corrected_price": "cp",
        "corrected_size": "cs",
        "corrected_conditions": "cc",
        "timestamp": "t",
        "tape": "z",
    },
):
    """A trade that was reported wrong, and what it should have been."""

    symbol: str
    exchange: str
    original_id: int
    original_price: float
    original_size: float
    original_conditions: tuple[str, ...]
    corrected_id: int
    corrected_price: float
    corrected_size: float
    corrected_conditions: tuple[str, ...]
    timestamp: Timestamp
    tape: str


class CancelError(
    Struct,
    frozen=True,
    kw_only=True,
    gc=False,
    tag_field="T",
    tag="x",
    rename=_COMMON | {"trade_id": "i", "exchange": "x", "price": "p", "size": "s", "action": "a"},
):
    """A trade that was cancelled (`C`) or reported in error (`E`)."""

    symbol: str
    trade_id: int
    exchange: str
    price: float
    size: float
    action: str
    timestamp: Timestamp
    tape: str


class Level(Struct, frozen=True, gc=False, rename={"price": "p", "size": "s"}):
    """One price of an order book."""

    price: float
    size: float


class Orderbook(
    Struct,
    frozen=True,
    kw_only=True,
    tag_field="T",
    tag="o",
    rename=_COMMON | {"bids": "b", "asks": "a", "reset": "r"},
):
    """A crypto order book; with `reset` it replaces what was known. Here always, one level deep."""

    symbol: str
    timestamp: Timestamp
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    reset: bool = True


def book_of(quote: Quote) -> Orderbook:
    """The order book that a quote shows."""
    return Orderbook(
        symbol=quote.symbol,
        timestamp=quote.timestamp,
        bids=(Level(quote.bid_price, quote.bid_size),),
        asks=(Level(quote.ask_price, quote.ask_size),),
    )


MarketMessage = (
    Trade | Quote | Bar | UpdatedBar | DailyBar | Status | Correction | CancelError | Orderbook
)

# The channel that carries each message type.
CHANNEL_OF: dict[type[MarketMessage], str] = {
    Trade: "trades",
    Quote: "quotes",
    Bar: "bars",
    UpdatedBar: "updatedBars",
    DailyBar: "dailyBars",
    Status: "statuses",
    Correction: "corrections",
    CancelError: "cancelErrors",
    Orderbook: "orderbooks",
}
