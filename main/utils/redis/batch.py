"""Pure: numbering messages and packing them into one call of the server-side function.

A message gets its number when it enters a batch, never earlier, so numbers follow the order of
publication. `seq` counts up by one per ticker within an epoch, from 1; quotes and bars, which no
journal keeps, count on their own so that a reader can still see a hole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from .config import pack_argument
from .constants import BusNames
from .messages import BarMessage, BarsGap, BusMessage, OrderMessage, QuoteMessage, QuotesGap

FUNCTION: Final = "tickerbus_publish_1"


# What no journal keeps: it goes to the quotes and bars channels, and last in a batch.
_UNLOGGED: Final = frozenset({QuoteMessage, BarMessage, QuotesGap, BarsGap})


@dataclass(frozen=True, kw_only=True)
class JournalBounds:
    """How much the journals keep. `max_mb` is shared among all tickers."""

    max_per_ticker: int = 10_000
    max_mb: int = 512
    order_days: int = 7
    entry_bytes: int = 270

    def per_ticker(self, tickers: int) -> int:
        """The bound in force: entries in each ticker's journal, at least 100."""
        shared = self.max_mb * 1_048_576 // (self.entry_bytes * max(1, tickers))
        return max(100, min(self.max_per_ticker, shared))


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One packed call, sent byte for byte again until Redis confirms it."""

    packed: bytes
    messages: int
    orders: tuple[bytes, ...] = ()  # their journal's key, id and body, packed


@dataclass(frozen=True, kw_only=True)
class _Route:
    """A symbol's names, as RESP arguments."""

    channel: bytes
    log: bytes
    order_log: bytes


class Packer:
    """Numbers and packs. Not thread-safe: its owner holds one lock around numbering and writing."""

    def __init__(self, names: BusNames, epoch: int, bounds: JournalBounds) -> None:
        self.epoch, self.bounds = epoch, bounds
        self.seqs: defaultdict[str, int] = defaultdict(int)
        self._channel_seqs: defaultdict[str, int] = defaultdict(int)
        self._names = names
        self._batches = 0
        self._id_head = b"%d-" % epoch
        self._numbering = b',"epoch":%d,"seq":' % epoch
        self._encode = msgspec.json.Encoder().encode
        self._routes: dict[str, _Route] = {}
        self.tickers: int | None = None  # that prices are published of; None: every symbol
        self._fixed_keys = pack_argument(names.BROKER_EPOCH) + pack_argument(names.BROKER_BATCH)

    @property
    def journal_bound(self) -> int:
        """Entries that each ticker's journal may hold now."""
        return self.bounds.per_ticker(len(self._routes) if self.tickers is None else self.tickers)

    def pack(self, messages: Sequence[BusMessage]) -> Batch:
        """Number and pack. Orders go first, quotes and bars last; otherwise the order stays.

        Raises:
            InvalidTicker: a symbol cannot name a channel; no number was given to any message.
        """
        for message in messages:
            if message.symbol not in self._routes:
                self._route(message.symbol)
        orders: list[bytes] = []
        journalled: list[bytes] = []
        unlogged: list[bytes] = []
        order_keys: list[bytes] = []
        order_entries: list[bytes] = []
        keys: list[bytes] = []
        # An order that waits in this batch overtakes its prices, so it has to be numbered first.
        for message in messages:
            if type(message) is OrderMessage:
                route = self._routes[message.symbol]
                entry = self._pack_entry(message, route)
                orders.append(entry)
                order_keys.append(route.log + route.order_log)
                order_entries.append(route.order_log + entry[len(route.channel) :])
        for message in messages:
            kind = type(message)
            if kind in _UNLOGGED:
                unlogged.append(self._pack_unlogged(message))
            elif kind is not OrderMessage:
                route = self._routes[message.symbol]
                journalled.append(self._pack_entry(message, route))
                keys.append(route.log)
        call = self._pack_call(order_keys + keys, orders, journalled, unlogged)
        return Batch(packed=call, messages=len(messages), orders=tuple(order_entries))

    def _pack_entry(self, message: BusMessage, route: _Route) -> bytes:
        symbol = message.symbol
        self.seqs[symbol] = seq = self.seqs[symbol] + 1
        number, body = b"%d" % seq, self._encode(message)
        # Channel, id and body in one step: the hot path. The body gets its number before its brace.
        return b"%b$%d\r\n%b%b\r\n$%d\r\n%b%b%b}\r\n" % (
            route.channel,
            len(self._id_head) + len(number),
            self._id_head,
            number,
            len(body) + len(self._numbering) + len(number),
            body[:-1],
            self._numbering,
            number,
        )

    def _pack_unlogged(self, message: BusMessage) -> bytes:
        names = self._names
        channel = (
            names.get_quotes_channel(message.symbol)
            if isinstance(message, QuoteMessage | QuotesGap)
            else names.get_bars_channel(message.symbol)
        )
        self._channel_seqs[channel] = seq = self._channel_seqs[channel] + 1
        body = b'%b,"epoch":%d,"seq":%d}' % (self._encode(message)[:-1], self.epoch, seq)
        return pack_argument(channel) + pack_argument(body)

    def _pack_call(
        self,
        keys: list[bytes],
        orders: list[bytes],
        journalled: list[bytes],
        unlogged: list[bytes],
    ) -> bytes:
        self._batches += 1
        settings = (
            self.epoch,
            self._batches,
            self.journal_bound,
            self.bounds.order_days * 86_400,
            len(orders),
            len(journalled),
        )
        number_of_keys = 2 + len(orders) + len(keys)
        entries = len(orders) + len(journalled)
        arguments = 3 + number_of_keys + len(settings) + 3 * entries + 2 * len(unlogged)
        return b"".join(
            (
                b"*%d\r\n" % arguments,
                pack_argument("FCALL") + pack_argument(FUNCTION) + pack_argument(number_of_keys),
                self._fixed_keys,
                *keys,
                *map(pack_argument, settings),
                *orders,
                *journalled,
                *unlogged,
            )
        )

    def _route(self, symbol: str) -> None:
        names = self._names
        self._routes[symbol] = _Route(
            channel=pack_argument(names.get_ticker_channel(symbol)),
            log=pack_argument(names.ticker_log(symbol)),
            order_log=pack_argument(names.order_log(symbol)),
        )
