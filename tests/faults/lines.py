"""What a reader writes down of every message that its handler saw: one JSON line each."""

from __future__ import annotations

import os
import time
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import msgspec

from main.utils.redis.messages import parse_rfc3339


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message as its reader saw it. Times are Unix nanoseconds.

    `kind`: price, order, gap, or whatever came; `hole` and `epoch` are what a plain reader found
    by itself; `counters` is the last line.
    """

    at: int
    kind: str
    symbol: str = ""
    epoch: int = 0
    seq: int = 0
    moment: int = 0
    trade_id: int | str = 0
    backfilled: bool = False
    begun: int = 0
    until: int = 0
    cause: str = ""
    lost: int | None = None
    after: tuple[int, int] = (0, 0)  # of a hole: the place before it; epoch and seq are behind it
    order_id: str = ""
    event: str = ""
    event_id: str = ""
    filled: str = ""
    source: str = ""
    counters: dict[str, int] = {}


_decode = msgspec.json.Decoder(Line).decode


class Pen:
    """Writes lines so that none is lost when the process is killed."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: Line) -> None:
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._file)


class LineFile:
    """Reads what was added to a reader's file since the last time."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read_new(self) -> list[Line]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [_decode(line) for line in whole.splitlines()]


def line_of(message: dict[str, Any]) -> Line:
    """A message of a ticker's channel, from its JSON object."""
    kind = str(message.get("type"))
    common: dict[str, Any] = {
        "at": time.time_ns(),
        "kind": kind,
        "symbol": str(message.get("symbol", "")),
        "epoch": int(message.get("epoch", 0)),
        "seq": int(message.get("seq", 0)),
        "moment": _moment(message.get("timestamp")),
    }
    if kind == "price":
        common |= {
            "trade_id": message.get("trade_id", 0),
            "backfilled": bool(message.get("backfilled")),
        }
    elif kind == "gap":
        common |= {
            "begun": _moment(message.get("from")),
            "until": _moment(message.get("to")),
            "cause": str(message.get("cause")),
            "lost": message.get("lost"),
            "backfilled": bool(message.get("backfilled")),
        }
    elif kind == "order":
        common |= order_fields(message)
    return Line(**common)


def order_fields(message: dict[str, Any]) -> dict[str, Any]:
    """What identifies an order's event."""
    order, update = message.get("order_data") or {}, message.get("update") or {}
    return {
        "order_id": str(order.get("id")),
        "event": str(message.get("event")),
        "event_id": str(update.get("event_id", "")),
        "filled": quantity(update.get("cum_qty", order.get("filled_qty"))),
        "source": str(message.get("source", "")),
    }


def quantity(text: object) -> str:
    """A quantity in one spelling: "1", "1.0" and "1.00" are the same."""
    try:
        return f"{Decimal(str(text)).normalize():f}"
    except InvalidOperation:
        return str(text)


def _moment(text: object) -> int:
    try:
        return parse_rfc3339(str(text))
    except ValueError:
        return 0
