"""What really happened: every trade with a hidden serial, and which of them went out where.

Pure and bounded. A test compares this with what its subscribers saw, and may read from its own
thread: every answer is made from a copy that is taken in one step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .messages import Trade
from .share_out import ShareOut

_MOST_RUNS = 100_000  # (connection, ticker) pairs; the oldest are forgotten first


@dataclass(frozen=True, slots=True)
class OracleTrade:
    """One trade of the market. `serial` counts up from 1 per symbol."""

    symbol: str
    serial: int
    trade_id: int
    timestamp_ns: int
    price: float
    size: float


@dataclass(frozen=True, slots=True)
class OracleSeries:
    """Prepared trades: serial `first + n` has the id `first_id + n`, for n below `count`."""

    symbol: str
    first: int
    first_id: int
    count: int


class Oracle:
    """Serials per symbol, and the serials that were put on each connection.

    Sent serials are kept as they went out, repeats and disorder included.
    """

    def __init__(self, keep_per_symbol: int = 20_000, keep_total: int = 0) -> None:
        self._trades: ShareOut[OracleTrade] = ShareOut(keep_per_symbol, keep_total)
        self._serials: dict[str, int] = {}
        self._sent: dict[tuple[int, str], _Runs] = {}
        self._series: deque[OracleSeries] = deque(maxlen=10_000)
        self.order_events: deque[dict[str, object]] = deque(maxlen=200_000)

    def record(self, trade: Trade) -> int:
        """A trade happened; its serial."""
        symbol = trade.symbol
        serial = self._serials.get(symbol, 0) + 1
        self._serials[symbol] = serial
        self._trades.add(
            symbol,
            OracleTrade(
                symbol, serial, trade.trade_id, trade.timestamp.ns, trade.price, trade.size
            ),
        )
        return serial

    def record_series(self, symbol: str, first_id: int, count: int) -> int:
        """`count` prepared trades with ids in a row; the first serial. Only their ids are kept."""
        first = self._serials.get(symbol, 0) + 1
        self._serials[symbol] = first + count - 1
        self._series.append(OracleSeries(symbol, first, first_id, count))
        return first

    def sent_series(self, connection: int, symbol: str, first: int, count: int) -> None:
        """A prepared series was written to a connection."""
        self._runs(connection, symbol).add(first, first + count - 1)

    def series(self, symbol: str) -> list[OracleSeries]:
        """The symbol's prepared series."""
        return [one for one in list(self._series) if one.symbol == symbol]

    def sent(self, connection: int, symbol: str, serial: int) -> None:
        """A trade was written to a connection that subscribes to it."""
        self._runs(connection, symbol).add(serial, serial)

    def serial(self, symbol: str) -> int:
        """How many trades the symbol has had."""
        return self._serials.get(symbol, 0)

    def symbols(self) -> list[str]:
        """Every symbol that has traded."""
        return sorted(self._serials)

    def trades(self, symbol: str) -> list[OracleTrade]:
        """The symbol's trades, oldest first, as far back as they are kept."""
        return list(self._trades.of(symbol))

    def connections(self, symbol: str) -> list[int]:
        """The connections that ever got a trade of this symbol, by their number."""
        return sorted(connection for connection, name in list(self._sent) if name == symbol)

    def sent_serials(self, symbol: str, connection: int | None = None) -> list[int]:
        """The serials written to one connection, in order; to all, sorted and without repeats."""
        if connection is not None:
            runs = self._sent.get((connection, symbol))
            return runs.expand() if runs else []
        every: set[int] = set()
        for (_, name), runs in list(self._sent.items()):
            if name == symbol:
                every.update(runs.expand())
        return sorted(every)

    def sent_trades(self, symbol: str, connection: int | None = None) -> list[OracleTrade]:
        """Like `sent_serials`, as trades; those no longer kept are left out."""
        by_serial = {trade.serial: trade for trade in self.trades(symbol)}
        serials = self.sent_serials(symbol, connection)
        return [by_serial[serial] for serial in serials if serial in by_serial]

    def _runs(self, connection: int, symbol: str) -> _Runs:
        key = (connection, symbol)
        runs = self._sent.get(key)
        if runs is None:
            runs = self._sent[key] = _Runs()
            if len(self._sent) > _MOST_RUNS:
                del self._sent[next(iter(self._sent))]
        return runs


class _Runs:
    """Serials in the order they came, unbroken runs folded into (first, last)."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: deque[list[int]] = deque(maxlen=100_000)

    def add(self, first: int, last: int) -> None:
        if self._runs and self._runs[-1][1] + 1 == first:
            self._runs[-1][1] = last
        else:
            self._runs.append([first, last])

    def expand(self) -> list[int]:
        return [serial for first, last in list(self._runs) for serial in range(first, last + 1)]
