"""Market messages as the objects of the REST API: no `T`, no `S`, times as text. Pure."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from .messages import BarBody, Quote, Trade

Wire = dict[str, object]


def trade_wire(trade: Trade, update: str | None = None) -> Wire:
    """A historical trade."""
    wire: dict[str, object | UnsetType] = {
        "t": trade.timestamp.rfc3339(),
        "x": trade.exchange,
        "p": trade.price,
        "s": trade.size,
        "c": trade.conditions,
        "i": trade.trade_id,
        "z": trade.tape,
        "tks": trade.taker_side,
    }
    if update:
        wire["u"] = update
    return _set_only(wire)


def quote_wire(quote: Quote) -> Wire:
    """A historical quote."""
    return _set_only(
        {
            "t": quote.timestamp.rfc3339(),
            "ax": quote.ask_exchange,
            "ap": quote.ask_price,
            "as": quote.ask_size,
            "bx": quote.bid_exchange,
            "bp": quote.bid_price,
            "bs": quote.bid_size,
            "c": quote.conditions,
            "z": quote.tape,
        }
    )


def bar_wire(bar: BarBody) -> Wire:
    """A bar."""
    return {
        "t": bar.timestamp.rfc3339(),
        "o": bar.open,
        "h": bar.high,
        "l": bar.low,
        "c": bar.close,
        "v": bar.volume,
        "n": bar.trade_count,
        "vw": bar.vwap,
    }


def _set_only(wire: dict[str, object | UnsetType]) -> Wire:
    return {key: value for key, value in wire.items() if value is not UNSET}
