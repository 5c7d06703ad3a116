"""Recorded market data from files: CSV, JSON lines, or Alpaca's own REST JSON as saved.

CSV needs a header. Columns may have Alpaca's short names or plain ones: symbol (S), timestamp (t),
type (T: trade or quote, t or q; trade if absent), price (p), size (s), id (i), exchange (x),
conditions (c, separated by spaces or semicolons), tape (z), bid_price (bp), bid_size (bs),
ask_price (ap), ask_size (as), bid_exchange (bx), ask_exchange (ax), taker_side (tks).
JSON lines hold one stream message a line, or one array of them. Bars are not read: they are built
from the trades.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import UNSET, UnsetType

from .clock import parse_time
from .messages import Quote, Timestamp, Trade

Row = Mapping[str, Any]
_SHORT = {
    "symbol": "S",
    "timestamp": "t",
    "type": "T",
    "price": "p",
    "size": "s",
    "id": "i",
    "trade_id": "i",
    "exchange": "x",
    "conditions": "c",
    "tape": "z",
    "bid_price": "bp",
    "bid_size": "bs",
    "ask_price": "ap",
    "ask_size": "as",
    "bid_exchange": "bx",
    "ask_exchange": "ax",
    "taker_side": "tks",
}
_KINDS = {"t": "t", "trade": "t", "q": "q", "quote": "q"}


class BadRecording(ValueError):
    """A file that is no recording. Says where."""


def read_recording(path: str | Path) -> list[Trade | Quote]:
    """The events of a file, oldest first. Raises BadRecording, OSError."""
    file = Path(path)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".csv":
        rows = _csv_rows(text)
    elif file.suffix in (".jsonl", ".ndjson"):
        rows = _line_rows(text)
    else:
        rows = _rest_rows(text)
    events = [_event(where, row) for where, row in rows]
    if not events:
        raise BadRecording(f"{file.name}: no trades and no quotes")
    return sorted(events, key=lambda event: event.timestamp.ns)


def _csv_rows(text: str) -> Iterator[tuple[str, Row]]:
    for number, row in enumerate(csv.DictReader(text.splitlines()), start=2):
        yield (
            f"line {number}",
            {
                _SHORT.get(str(name).strip().lower(), str(name).strip()): value
                for name, value in row.items()
                if value not in (None, "")
            },
        )


def _line_rows(text: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found = _json(line, f"line {number}")
            for row in found if isinstance(found, list) else [found]:
                yield f"line {number}", row


def _rest_rows(text: str) -> Iterator[tuple[str, Row]]:
    body = _json(text, "the file")
    for page in body if isinstance(body, list) else [body]:
        if not isinstance(page, dict):
            raise BadRecording("expected pages of Alpaca's REST answers")
        for kind, name in (("t", "trades"), ("q", "quotes")):
            for symbol, rows in _by_symbol(page, name):
                for number, row in enumerate(rows):
                    yield f"{name} of {symbol}, number {number}", {"T": kind, "S": symbol} | row


def _by_symbol(page: Row, name: str) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    found = page.get(name) or {}
    if isinstance(found, dict):
        return found.items()
    return [(str(page.get("symbol")), found)]


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRecording(f"{where}: not JSON: {error}") from error


def _event(where: str, row: Row) -> Trade | Quote:
    kind = _KINDS.get(str(row.get("T", "t")))
    if kind is None:
        raise BadRecording(f"{where}: neither a trade nor a quote: {row.get('T')!r}")
    try:
        return _trade(row) if kind == "t" else _quote(row)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecording(f"{where}: {type(error).__name__} {error}") from error


def _trade(row: Row) -> Trade:
    crypto = "/" in row["S"]
    return Trade(
        symbol=row["S"],
        trade_id=int(row.get("i", 0)),
        exchange=UNSET if crypto else str(row.get("x", "V")),
        price=float(row["p"]),
        size=_size(row["s"], crypto),
        conditions=UNSET if crypto else _conditions(row.get("c", ("@",))),
        timestamp=Timestamp(parse_time(str(row["t"]))),
        tape=UNSET if crypto else str(row.get("z", "C")),
        taker_side=str(row.get("tks", "B")) if crypto else UNSET,
    )


def _quote(row: Row) -> Quote:
    crypto = "/" in row["S"]
    return Quote(
        symbol=row["S"],
        bid_exchange=_text(row, "bx", crypto),
        bid_price=float(row["bp"]),
        bid_size=_size(row["bs"], crypto),
        ask_exchange=_text(row, "ax", crypto),
        ask_price=float(row["ap"]),
        ask_size=_size(row["as"], crypto),
        conditions=UNSET if crypto else _conditions(row.get("c", ("R",))),
        timestamp=Timestamp(parse_time(str(row["t"]))),
        tape=UNSET if crypto else str(row.get("z", "C")),
    )


def _text(row: Row, key: str, crypto: bool) -> str | UnsetType:
    return UNSET if crypto else str(row.get(key, "V"))


def _size(value: object, crypto: bool) -> float:
    size = float(str(value))
    return size if crypto else int(size)


def _conditions(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(value.replace(";", " ").split())
    if isinstance(value, list | tuple):
        return tuple(str(each) for each in value)
    return ()
