"""Pure: numbering messages and packing them into one call of the server-side function.

A message gets its number when it enters a batch, never earlier, so numbers follow the order of
publication. `seq` counts up by one per ticker within an epoch, from 1; quotes and bars, which no
journal keeps, count on their own so that a reader can still see a hole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from .config import pack_argument
from .constants import BusNames
from .messages import BarMessage, BarsGap, BusMessage, OrderMessage, QuoteMessage, QuotesGap

FUNCTION: Final = "tickerbus_publish_3"
# A journal drops whole nodes of some 15 entries at a time, so asking for it more often is in vain.
TRIM_EVERY: Final = 16

_FCALL: Final = pack_argument("FCALL") + pack_argument(FUNCTION)
_encode_entries: Final = msgspec.msgpack.Encoder().encode

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
    """One packed call, sent again until Redis confirms it."""

    number: int  # from 1 in each epoch
    head: bytes
    tail: bytes
    messages: int
    orders: tuple[bytes, ...] = ()  # their journal's key, id and body, packed

    @property
    def size(self) -> int:
        """Bytes of the call, but for the number of the batch before."""
        return len(self.head) + len(self.tail)

    def call(self, after: int = 0) -> bytes:
        """What is sent. `after`: the number of the batch that Redis must have done before, which
        is one that it has not confirmed yet."""
        return b"".join((self.head, pack_argument(after), self.tail))


class _Ticker:
    """A symbol's names and numbers, looked up once for each message."""

    __slots__ = ("batch", "channel", "log", "order_log", "place", "seq")

    def __init__(self, names: BusNames, symbol: str) -> None:
        self.channel = names.get_ticker_channel(symbol)
        self.log = pack_argument(names.ticker_log(symbol))
        self.order_log = pack_argument(names.order_log(symbol))
        self.seq = 0  # the last that was given
        self.batch = self.place = 0  # the last batch that it is in, and its place there


class Packer:
    """Numbers and packs. Not thread-safe: its owner holds one lock around numbering and writing."""

    def __init__(self, names: BusNames, epoch: int, bounds: JournalBounds) -> None:
        self.epoch, self.bounds = epoch, bounds
        self._known: dict[str, _Ticker] = {}
        self._channel_seqs: defaultdict[str, int] = defaultdict(int)
        self._names = names
        self._batches = 0
        self._id_head = f"{epoch}-"
        self._numbering = f',"epoch":{epoch},"seq":'
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self.tickers: int | None = None  # that prices are published of; None: every symbol
        # The same in every call.
        self._fixed_keys = pack_argument(names.BROKER_EPOCH) + pack_argument(names.BROKER_BATCH)
        self._packed_epoch = pack_argument(epoch)
        self._packed_order_s = pack_argument(bounds.order_days * 86_400)

    @property
    def journal_bound(self) -> int:
        """Entries that each ticker's journal may hold now."""
        return self.bounds.per_ticker(len(self._known) if self.tickers is None else self.tickers)

    @property
    def seqs(self) -> dict[str, int]:
        """The last number of every ticker."""
        return {symbol: ticker.seq for symbol, ticker in self._known.items() if ticker.seq}

    def pack(self, messages: Sequence[BusMessage]) -> Batch:
        """Number and pack. Orders go first, quotes and bars last; otherwise the order stays.

        Raises:
            InvalidTicker: a symbol cannot name a channel; no number was given to any message.
        """
        orders, messages, unlogged = _part(messages)
        known = self._known
        tickers = [known.get(m.symbol) or self._ticker(m.symbol) for m in messages]
        for message in unlogged:
            self._ticker(message.symbol)  # its name, too, has to be one
        self._batches += 1
        used, places, ids, bodies, bounds = self._number(tickers, messages)
        # Those with orders are at the head of the tickers, as their orders are of the messages.
        keys = [ticker.log for ticker in used]
        keys += [ticker.order_log for ticker in used[: len(set(tickers[:orders]))]]
        channels = [ticker.channel for ticker in used]
        entries = (channels, places, ids, bodies, bounds, self._number_unlogged(unlogged))
        head, tail = self._pack_call(keys, orders, entries)
        return Batch(
            number=self._batches,
            head=head,
            tail=tail,
            messages=len(messages) + len(unlogged),
            orders=tuple(
                ticker.order_log + pack_argument(entry_id) + pack_argument(body)
                for ticker, entry_id, body in zip(tickers[:orders], ids, bodies, strict=False)
            ),
        )

    def _number(
        self, tickers: Sequence[_Ticker], messages: Sequence[BusMessage]
    ) -> tuple[list[_Ticker], list[int], list[str], list[str], list[int | bool]]:
        """The batch's tickers; and of each message its ticker's place among them, its id, its body
        with the number in it, and the bound of its journal if that is to be trimmed now.

        The hot path: all are encoded in one step."""
        batch, id_head, numbering = self._batches, self._id_head, self._numbering
        bound = self.journal_bound
        used: list[_Ticker] = []
        places: list[int] = []
        ids: list[str] = []
        bodies: list[str] = []
        bounds: list[int | bool] = [False] * len(messages)
        # Without the last, empty line. JSON has no line break in it, and ends with its brace.
        lines = self._encode_lines(messages).decode().split("\n")[:-1]
        for ticker, line in zip(tickers, lines, strict=True):
            if ticker.batch != batch:
                used.append(ticker)
                ticker.batch, ticker.place = batch, len(used)
            ticker.seq = seq = ticker.seq + 1
            if seq % TRIM_EVERY == 0:
                bounds[len(ids)] = bound
            number = str(seq)
            places.append(ticker.place)
            ids.append(id_head + number)
            bodies.append(f"{line[:-1]}{numbering}{number}}}")
        return used, places, ids, bodies, bounds

    def _number_unlogged(self, messages: Sequence[BusMessage]) -> list[str]:
        """Channels and bodies in turns."""
        found: list[str] = []
        lines = self._encode_lines(messages).decode().split("\n")[:-1]
        for message, line in zip(messages, lines, strict=True):
            channel = (
                self._names.get_quotes_channel(message.symbol)
                if isinstance(message, QuoteMessage | QuotesGap)
                else self._names.get_bars_channel(message.symbol)
            )
            self._channel_seqs[channel] = seq = self._channel_seqs[channel] + 1
            found += (channel, f"{line[:-1]}{self._numbering}{seq}}}")
        return found

    def _pack_call(
        self, keys: list[bytes], orders: int, entries: tuple[list[Any], ...]
    ) -> tuple[bytes, bytes]:
        """What comes before and after the number of the batch before."""
        number_of_keys, arguments = 2 + len(keys), 6
        packed_entries = _encode_entries(entries)
        head = (
            b"*%d\r\n" % (3 + number_of_keys + arguments),
            _FCALL,
            pack_argument(number_of_keys),
            self._fixed_keys,
            *keys,
            self._packed_epoch,
            pack_argument(self._batches),
        )
        tail = (
            self._packed_order_s,
            pack_argument(orders),
            b"$%d\r\n" % len(packed_entries),  # as `pack_argument`, without another copy
            packed_entries,
            b"\r\n",
        )
        return b"".join(head), b"".join(tail)

    def _ticker(self, symbol: str) -> _Ticker:
        if symbol not in self._known:
            self._known[symbol] = _Ticker(self._names, symbol)
        return self._known[symbol]


def _part(
    messages: Sequence[BusMessage],
) -> tuple[int, Sequence[BusMessage], Sequence[BusMessage]]:
    """(how many orders, what is journalled, orders first, what is only published)."""
    kinds = set(map(type, messages))
    if kinds.isdisjoint(_UNLOGGED) and OrderMessage not in kinds:
        return 0, messages, ()  # the usual case
    orders = [m for m in messages if type(m) is OrderMessage]
    others = [m for m in messages if type(m) not in _UNLOGGED and type(m) is not OrderMessage]
    unlogged = [m for m in messages if type(m) in _UNLOGGED]
    # An order that waits in this batch overtakes its ticker's prices.
    return len(orders), [*orders, *others], unlogged
