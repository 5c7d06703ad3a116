"""Pure: the order feed: what happened to the account's orders, the newest first."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..utils.redis.messages import OrderMessage
from ..wording import plain_number
from . import words

MAX_LINES: Final = 400
FILLS: Final = ("fill", "partial_fill")
MARKED: Final = (*FILLS, "new", "canceled", "rejected", "expired", "replaced")
ENDS: Final = ("canceled", "expired", "rejected", "suspended", "done_for_day", "replaced")

_SANE: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,12})?")


@dataclass(frozen=True, kw_only=True)
class OrderLine:
    """One event of one order, every text bounded. `at_s` is Unix time; numbers are as written."""

    place: tuple[str, int, int]  # symbol, epoch, seq
    number: int  # counts up with what came here
    symbol: str
    at_s: float
    event: str
    side: str
    kind: str
    qty: str
    price: str
    price_value: float | None
    filled: str
    owner: str  # the client whose id the order's id begins with
    order_id: str
    recovered: bool

    @property
    def is_fill(self) -> bool:
        return self.event in FILLS

    @property
    def tone(self) -> str:
        """`good`, `bad`, `dim` or nothing: how it is coloured."""
        if self.is_fill:
            return "good"
        if self.event == "rejected":
            return "bad"
        return "dim" if self.event in ENDS else ""

    @property
    def is_news(self) -> bool:
        """Whether it belongs among the few that are shown first."""
        return not self.event.startswith("pending")

    @property
    def tint(self) -> str:
        return self.side if self.side in ("buy", "sell") else ""

    @property
    def mark(self) -> list[Any] | None:
        """For the chart: time, price, event, side, quantity, order. None: it has no place there."""
        if self.price_value is None or self.event not in MARKED:
            return None
        return [self.at_s, self.price_value, self.event, self.side, self.qty, self.order_id]


def order_line(message: OrderMessage, number: int, heard_s: float) -> OrderLine:
    """The line of one message. Whatever the texts hold, they come out short and printable."""
    order, update = message.order_data, message.update
    is_fill = message.event in FILLS
    qty = (update.get("qty") if is_fill else None) or order.get("qty")
    qty = _plain(qty) if qty else f"${_plain(order.get('notional'))}"
    price = (update.get("price") if is_fill else None) or order.get("limit_price")
    price = price or order.get("stop_price")
    owner, colon, _ = str(order.get("client_order_id") or "").partition(":")
    return OrderLine(
        place=(message.symbol, message.epoch, message.seq),
        number=number,
        symbol=words.word(message.symbol, 32),
        at_s=words.unix_s(message.timestamp) or heard_s,
        event=words.word(message.event, 24),
        side=words.word(order.get("side"), 8),
        kind=words.word(order.get("type") or order.get("order_type"), 16),
        qty="" if qty == "$" else qty,
        price=_cents(_plain(price)),
        price_value=_number(price),
        filled=_plain(order.get("filled_qty")),
        owner=words.word(owner, 64) if colon else "",
        order_id=words.word(order.get("id"), 40),
        recovered=message.source == "reconcile",
    )


class OrderBook:
    """The newest lines. The same message, from the journal and live, is one."""

    def __init__(self) -> None:
        self.lines: deque[OrderLine] = deque(maxlen=MAX_LINES)
        self.version = 0
        self._places: set[tuple[str, int, int]] = set()

    def take(self, message: OrderMessage, heard_s: float) -> None:
        place = (message.symbol, message.epoch, message.seq)
        if place in self._places:
            return
        self.version += 1
        line = order_line(message, self.version, heard_s)
        newer = 0
        for known in self.lines:
            if known.at_s <= line.at_s:
                break
            newer += 1
        if newer == MAX_LINES:
            return  # older than all that are kept
        if len(self.lines) == MAX_LINES:
            self._places.discard(self.lines.pop().place)
        self._places.add(place)
        self.lines.insert(newer, line)

    def of(self, symbol: str) -> Iterator[OrderLine]:
        return (line for line in self.lines if line.symbol == symbol)


def _plain(number: Any) -> str:
    """`10`, not `10.000`. What is no number of a sane size is shown as it came, cut."""
    text = words.word(number, 40)
    return plain_number(text) if _SANE.fullmatch(text) else text[:20]


def _cents(price: str) -> str:
    """At least two decimals, so that a column of prices stands in line."""
    whole, _, fraction = price.partition(".")
    return f"{whole}.{fraction:0<2}" if whole.isdigit() else price


def _number(text: Any) -> float | None:
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if 0 < value < 1e12 else None
