"""The time before this run, in which nobody published: told for each ticker that comes back.

Registrations that are found in Redis are restored at once. Others come back by themselves within
seconds, because clients renew at a new epoch: their leases ended while no broker was there, or
Redis was emptied. What they lack must be told all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Final, NamedTuple

import redis
import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.journal_pages import JournalEntry, backwards
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
        self._ages: dict[str, Age | None] = {}  # as first found, of those that are not told yet
        self._restored: frozenset[str] = frozenset()
        self._left: set[str] = set()
        self._lapsed_ns: dict[str, int] = {}
        self._lost_since_ns = 0

    def begin(self, lost_since_ns: int = 0, restored: Iterable[str] = ()) -> None:
        """The run begins. `lost_since_ns`: the journals were lost, and with them who followed what
        up to then; 0 if they were not, or if no broker is known to have been there before.
        `restored`: these are followed again, however long Alpaca takes."""
        self._begun_s, self._lost_since_ns = time.monotonic(), lost_since_ns
        self._told, self._ages, self._restored = set(), {}, frozenset(restored)
        self._left = set()

    def left(self, tickers: Collection[str]) -> None:
        """Nobody wants these now: an acknowledgement that still comes is nobody's."""
        self._left.update(tickers)

    def lapsed(self, tickers: Collection[str], since_ns: int) -> None:
        """Nobody holds these any more, because leases ended and not because anybody said so: their
        holders may be there, and could not be heard in time. `since_ns`: what was received up to
        then is published."""
        soon_ns = time.time_ns() - MAX_SPAN_S * 10**9
        lapsed = dict(self._lapsed_ns)  # in one step: the reader takes from it
        self._lapsed_ns = {t: since for t, since in lapsed.items() if since > soon_ns}
        self._lapsed_ns.update(dict.fromkeys(tickers, since_ns))

    def teller(self, tickers: Iterable[str]) -> Callable[[list[str]], None]:
        """Call what it returns with those of `tickers` that Alpaca follows from now on: it may have
        kept us waiting for long."""
        asked = list(tickers)
        self._left.difference_update(asked)
        self._find_ages([ticker for ticker in asked if ticker not in self._told])

        def tell(acknowledged: list[str]) -> None:
            wanted = [ticker for ticker in acknowledged if ticker not in self._left]
            found = {t: self._ages.pop(t) for t in wanted if t in self._ages}
            self._told.update(found)
            known = {t: self._lapsed_ns.pop(t) for t in wanted if t in self._lapsed_ns}
            soon_ns = time.time_ns() - MAX_SPAN_S * 10**9
            lapsed = {t: Age(since_ns) for t, since_ns in known.items() if since_ns > soon_ns}
            lacking = {t: age for t, age in found.items() if age is not None}
            for pause in (
                *restart_breaks(lacking),
                *restart_breaks(lapsed, cause="upstream_disconnected"),
            ):
                self._buffer.put_note(pause)

        return tell

    def _find_ages(self, tickers: list[str]) -> None:
        """As they are before anything of this run is published."""
        if time.monotonic() - self._begun_s > COME_BACK_S:
            tickers = [ticker for ticker in tickers if ticker in self._restored]
        tickers = [ticker for ticker in tickers if ticker not in self._ages]
        if not tickers:
            return
        lost = Age(self._lost_since_ns, is_known=False) if self._lost_since_ns else None
        try:
            ages = journal_ages(self._client, self._names, tickers)
        except redis.RedisError as error:
            log.warning("absence.unknown", tickers=len(tickers), error=str(error))
            return  # asked again with the next request for them
        self._ages.update({ticker: ages.get(ticker, lost) for ticker in tickers})


class Age(NamedTuple):
    """Up to when a ticker's prices were published, Unix ns.

    `is_known`: that price itself is in the journal. Otherwise later ones may have been published,
    and lost with Redis: they are told as missing, and not asked for, because they might come twice.
    """

    since_ns: int
    is_known: bool = True


def restart_breaks(ages: Mapping[str, Age], cause: str = "broker_restart") -> list[Break]:
    """What the absence of a broker, or of leases, interrupted.

    Those that can be refilled are asked for together: one from the earliest on, not a call each.
    """
    now_ns = time.time_ns()
    recent = [
        ticker
        for ticker, age in ages.items()
        if age.is_known and now_ns - age.since_ns <= MAX_SPAN_S * 10**9
    ]
    groups = [(recent, min(ages[ticker].since_ns for ticker in recent))] if recent else []
    groups += [([ticker], age.since_ns) for ticker, age in ages.items() if ticker not in recent]
    return [
        Break(
            symbols=tuple(tickers),
            from_ns=from_ns,
            to_ns=now_ns,
            cause=cause,
            refill=tickers is recent,
        )
        for tickers, from_ns in groups
    ]


def journal_ages(client: redis.Redis, names: BusNames, symbols: Iterable[str]) -> dict[str, Age]:
    """The age of each ticker that has a journal."""
    found: dict[str, Age] = {}
    for symbol in symbols:
        try:
            age = _age(backwards(client, names.ticker_log(symbol)))
        except redis.ResponseError as error:  # no journal: the publisher sets it aside
            log.error("recovery.journal_unreadable", ticker=symbol, error=str(error))
            continue
        if age is not None:
            found[symbol] = age
    return found


def _age(newest: Iterator[JournalEntry]) -> Age | None:
    """By the last price. Orders go on while the prices' stream is away: of them the oldest of the
    last entries says most."""
    oldest = None
    for _, body in islice(newest, _AGE_TAIL):
        message = decode_typed(body)
        if isinstance(message, PriceMessage):
            return Age(parse_rfc3339(message.timestamp))
        oldest = message or oldest
    moment = getattr(oldest, "timestamp", None)
    return None if moment is None else Age(parse_rfc3339(moment), is_known=False)
