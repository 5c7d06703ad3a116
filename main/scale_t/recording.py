"""Recorded prices of one ticker, for `simulate`: CSV, or JSON lines; also packed with gzip.

CSV needs a header, with plain names or Alpaca's short ones: symbol (S), timestamp (t), type (T:
trade or quote; trade if absent), price (p), size (s), bid_price (bp), ask_price (ap). JSON lines
are messages of the bus as `tickerbus watch AAPL --json` prints them, or Alpaca's own stream
messages.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from ..utils.decimals import decimal_or_none
from ..utils.redis.messages import parse_rfc3339

_SHORT: Final = {
    "symbol": "S",
    "timestamp": "t",
    "type": "T",
    "price": "p",
    "size": "s",
    "volume": "s",
    "bid_price": "bp",
    "ask_price": "ap",
    "last_eligible": "eligible",
}
_TRADES: Final = ("t", "trade", "price")
_QUOTES: Final = ("q", "quote")


class BadRecording(ValueError):
    """A file that is no recording of this ticker. Says where, and what is expected."""


@dataclass(frozen=True)
class Tick:
    """One trade (`price`) or one quote (`bid`, `ask`), at a moment in Unix nanoseconds."""

    at_ns: int
    price: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None


def read_recording(path: Path, ticker: str) -> list[Tick]:
    """The ticks of one ticker, oldest first. Trades that may not set the last price are left out.

    Raises:
        BadRecording: it is no recording, or has nothing of the ticker.
    """
    try:
        packed = path.suffix == ".gz"
        text = gzip.decompress(path.read_bytes()).decode() if packed else path.read_text("utf-8")
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise BadRecording(f"{path} cannot be read: {error}") from error
    name = path.with_suffix("").name if packed else path.name
    rows = _csv_rows(text) if name.endswith(".csv") else _json_rows(text)
    seen: set[str] = set()
    ticks = []
    for where, row in rows:
        symbol = str(row.get("S") or ticker)
        seen.add(symbol)
        if symbol == ticker and (tick := _tick(f"{path.name}, {where}", row)) is not None:
            ticks.append(tick)
    if not ticks:
        others = f"; it has {', '.join(sorted(seen))}" if seen else ""
        raise BadRecording(f"{path.name} has no trades and no quotes of {ticker}{others}")
    return sorted(ticks, key=lambda tick: tick.at_ns)


def _csv_rows(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        yield f"line {number}", _renamed(row)


def _json_rows(text: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise BadRecording(f"line {number} is no JSON: {error}") from error
        for row in found if isinstance(found, list) else [found]:
            if not isinstance(row, dict):
                raise BadRecording(f"line {number} is no message")
            yield f"line {number}", _renamed(row)


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _SHORT.get(str(name).strip(), str(name).strip()): value
        for name, value in row.items()
        if value not in (None, "")
    }


def _tick(where: str, row: Mapping[str, Any]) -> Tick | None:
    kind = str(row.get("T", "t"))
    if kind not in _TRADES and kind not in _QUOTES:
        return None  # orders, halts and the rest
    try:
        at_ns = parse_rfc3339(str(row["t"]))
    except (KeyError, ValueError) as error:
        raise BadRecording(f"{where}: no timestamp like 2026-11-20T14:30:00Z ({error})") from error
    if kind in _QUOTES:
        bid, ask = decimal_or_none(row.get("bp")), decimal_or_none(row.get("ap"))
        if not bid or not ask or bid < 0 or ask < 0:
            return None  # a side without a price
        return Tick(at_ns=at_ns, bid=bid, ask=ask)
    price = decimal_or_none(row.get("p"))
    if price is None or price <= 0:
        raise BadRecording(f"{where}: {row.get('p')!r} is no price above 0")
    return Tick(at_ns=at_ns, price=price) if row.get("eligible", True) is not False else None
