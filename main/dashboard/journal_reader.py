"""A thin shell: what the journals already hold, for a page that has only just been opened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis

from ..utils.redis.constants import BusNames
from ..utils.redis.messages import GapMessage, OrderMessage, TypedMessage, decode_typed
from . import words

NEWEST: Final = 200  # entries of a ticker that a first picture needs
NEWEST_ORDERS: Final = 50
PAGE: Final = 1_000
MOST_FOR_CHART: Final = 20_000
MOST_FOR_GAPS: Final = 200_000  # of all tickers together
_GAP: Final = b'"type":"gap"'


@dataclass(kw_only=True)
class Newest:
    """The last messages of one ticker, oldest first."""

    symbol: str
    messages: list[TypedMessage] = field(default_factory=list)
    orders: list[OrderMessage] = field(default_factory=list)


class JournalReader:
    """Reads on one redis-py client. Every method raises redis.RedisError; one thread at a time."""

    def __init__(self, client: redis.Redis, names: BusNames) -> None:
        self._client, self._names = client, names
        self._gap_entries = 0  # looked at so far
        self.read_all_gaps = True

    def newest(self, symbols: Sequence[str]) -> list[Newest]:
        """The newest messages of some tickers, in one round trip."""
        pipeline = self._client.pipeline(transaction=False)
        for symbol in symbols:
            pipeline.xrevrange(self._names.ticker_log(symbol), count=NEWEST)
            pipeline.xrevrange(self._names.order_log(symbol), count=NEWEST_ORDERS)
        replies = pipeline.execute(raise_on_error=False)
        found = []
        for index, symbol in enumerate(symbols):
            log, orders = replies[2 * index], replies[2 * index + 1]
            found.append(
                Newest(symbol=symbol, messages=_messages(log), orders=_orders(_messages(orders)))
            )
        return found

    def gaps(self, symbol: str, since_s: float) -> list[GapMessage]:
        """The gaps in a ticker's journal, from its end back to `since_s`."""
        found: list[GapMessage] = []
        for entries in self._pages_back(symbol):
            for _, fields in entries:
                payload = fields.get(b"m", b"")
                message = decode_typed(payload) if _GAP in payload else None
                if isinstance(message, GapMessage):
                    found.append(message)
            self._gap_entries += len(entries)
            if _happened_s(entries[-1]) < since_s:
                break
            if self._gap_entries > MOST_FOR_GAPS:
                self.read_all_gaps = False
                break
        return found

    def whole(self, symbol: str) -> tuple[list[TypedMessage], list[OrderMessage]]:
        """All that the journals hold of a ticker, oldest first, up to a bound."""
        pages, count = [], 0
        for entries in self._pages_back(symbol):
            pages.append(_messages(entries))
            count += len(entries)
            if count >= MOST_FOR_CHART:
                break
        orders = _messages(self._client.xrevrange(self._names.order_log(symbol), count=PAGE))
        return [message for page in reversed(pages) for message in page], _orders(orders)

    def _pages_back(self, symbol: str) -> Iterator[Any]:
        key, end = self._names.ticker_log(symbol), "+"
        while True:
            entries: Any = self._client.xrevrange(key, max=end, count=PAGE)
            if not entries:
                return
            yield entries
            end = f"({entries[-1][0].decode()}"


def _happened_s(entry: Any) -> float:
    message = decode_typed(entry[1].get(b"m", b""))
    return words.unix_s(getattr(message, "timestamp", None)) or math.inf


def _messages(entries: Any) -> list[TypedMessage]:
    """Of a XREVRANGE, oldest first. What may not be read, or is no message, is left out."""
    if not isinstance(entries, list):
        return []
    decoded = (decode_typed(fields.get(b"m", b"")) for _, fields in reversed(entries))
    return [message for message in decoded if message is not None]


def _orders(messages: Sequence[TypedMessage]) -> list[OrderMessage]:
    return [message for message in messages if isinstance(message, OrderMessage)]
