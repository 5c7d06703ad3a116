"""The time before this run, in which nobody published: told for each ticker that comes back.

Registrations that are found in Redis are restored at once. Others come back by themselves within
seconds, because clients renew at a new epoch: their leases ended while no broker was there, or
Redis was emptied. What they lack must be told all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import redis
import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.messages import PriceMessage, decode_typed, parse_rfc3339
from .frame_buffer import Break, FrameBuffer
from .recovery import MAX_SPAN_S

log: Final = structlog.get_logger("tickerbus.recovery")

COME_BACK_S: Final = 60.0  # who registers later is new, and lacks nothing
_AGE_TAIL: Final = 200


class Absence:
    """`teller` is for one thread at a time, what it returns for the stream's reader."""

    def __init__(self, client: redis.Redis, names: BusNames, buffer: FrameBuffer) -> None:
        self._client, self._names, self._buffer = client, names, buffer
        self._begun_s = time.monotonic()
        self._told: set[str] = set()
        self._lost_since_ns = 0

    def begin(self, lost_since_ns: int = 0) -> None:
        """The run begins. `lost_since_ns`: the journals were lost, and with them who followed what
        up to then; 0 if they were not, or if no broker is known to have been there before."""
        self._begun_s, self._lost_since_ns = time.monotonic(), lost_since_ns
        self._told = set()

    def teller(self, tickers: Collection[str]) -> Callable[[list[str]], None]:
        """Call what it returns with those of `tickers` that Alpaca follows from now on: it may have
        kept us waiting for long."""
        ages = self._ages([ticker for ticker in tickers if ticker not in self._told])

        def tell(acknowledged: list[str]) -> None:
            lacking = {t: ages[t] for t in acknowledged if t in ages and t not in self._told}
            self._told.update(acknowledged)
            for pause in restart_breaks(lacking):
                self._buffer.put_note(pause)

        return tell

    def _ages(self, tickers: list[str]) -> Mapping[str, int]:
        if not tickers or time.monotonic() - self._begun_s > COME_BACK_S:
            return {}
        try:
            ages = journal_ages(self._client, self._names, tickers)
        except redis.RedisError as error:
            log.warning("absence.unknown", tickers=len(tickers), error=str(error))
            ages = {}
        if not self._lost_since_ns:
            return ages
        return {ticker: ages.get(ticker, self._lost_since_ns) for ticker in tickers}


def restart_breaks(ages: Mapping[str, int]) -> list[Break]:
    """What a broker's absence interrupted (`ages`: ticker -> its last message, Unix ns).

    Those that can be refilled are asked for together: one from the earliest on, not a call each.
    """
    now_ns = time.time_ns()
    recent = [t for t, since_ns in ages.items() if now_ns - since_ns <= MAX_SPAN_S * 10**9]
    groups = [(recent, min(ages[ticker] for ticker in recent))] if recent else []
    groups += [([ticker], since_ns) for ticker, since_ns in ages.items() if ticker not in recent]
    return [
        Break(symbols=tuple(tickers), from_ns=from_ns, to_ns=now_ns, cause="broker_restart")
        for tickers, from_ns in groups
    ]


def journal_ages(client: redis.Redis, names: BusNames, symbols: Iterable[str]) -> Mapping[str, int]:
    """For each ticker with a journal, the Unix time in ns up to which its prices are there."""
    found: dict[str, int] = {}
    for symbol in symbols:
        try:
            entries: Any = client.xrevrange(names.ticker_log(symbol), count=_AGE_TAIL)
        except redis.ResponseError as error:  # no journal: the publisher sets it aside
            log.error("recovery.journal_unreadable", ticker=symbol, error=str(error))
            continue
        # Orders go on while the prices' stream is away: they say nothing of prices.
        messages = [m for _, fields in entries if (m := decode_typed(fields[b"m"])) is not None]
        prices = [m.timestamp for m in messages if isinstance(m, PriceMessage)]
        moments = prices[:1] or [m.timestamp for m in messages[-1:] if hasattr(m, "timestamp")]
        if moments:
            found[symbol] = parse_rfc3339(moments[0])
    return found
