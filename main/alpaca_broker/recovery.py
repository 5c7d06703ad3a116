"""After an interruption: the missed trades by REST, within a budget of calls and of time.

A named thread takes one interruption after the other and always answers with a `Refill`, if need
be an empty one, before the deadline: live trades wait for it.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Final

import redis
import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.journal_pages import backwards
from ..utils.redis.messages import PriceMessage, decode_typed, parse_rfc3339, rfc3339
from ..utils.tracebacks import plain_traceback
from .codec import HistoricalTrade
from .frame_buffer import LATE_NS, Break, FrameBuffer, Refill
from .price_desk import TradeKey, trade_key
from .registry import is_crypto
from .rest import MarketDataRest, RestRefused, RestUnavailable
from .sale_conditions import LastPriceRule
from .translate import MarketTranslator
from .workers import Worker

log: Final = structlog.get_logger("tickerbus.recovery")

DEADLINE_S: Final = 2.5  # of the 3 s that live trades wait
MAX_CALLS: Final = 12
MAX_SPAN_S: Final = 15 * 60  # a longer interruption is told, not refilled
_JOURNAL_TAIL: Final = 2_000
_WAITING: Final = 64


class Recovery(Worker):
    """`ask` is for the price desk; the rest happens in its own thread."""

    name = "recovery"

    def __init__(
        self,
        rest: MarketDataRest,
        client: redis.Redis,
        names: BusNames,
        buffer: FrameBuffer,
        feed: str,
        last_price_rule: LastPriceRule | None = None,
    ) -> None:
        super().__init__()
        self.counters: Counter[str] = Counter()
        self._rest, self._client, self._names = rest, client, names
        self._buffer, self._feed = buffer, feed
        self._asked: queue.Queue[tuple[Break, float] | None] = queue.Queue(_WAITING)
        self._translator = MarketTranslator(last_price_rule)

    def begin_stop(self) -> None:
        super().begin_stop()
        with contextlib.suppress(queue.Full):  # then it is awake anyway
            self._asked.put_nowait(None)

    def ask(self, pause: Break) -> bool:
        """Begin a refill; False when there can be none."""
        if pause.to_ns - pause.from_ns > MAX_SPAN_S * 1_000_000_000:
            return False
        try:
            self._asked.put_nowait((pause, time.monotonic() + DEADLINE_S))
        except queue.Full:
            return False
        return True

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None and not self._stopping:
            pause, deadline = asked
            trades: dict[str, list[PriceMessage]] = {}
            try:
                self._refill(pause, deadline, trades)
            except (RestUnavailable, RestRefused, redis.RedisError, ValueError) as error:
                self.counters["refills_failed"] += 1
                log.warning("recovery.failed", symbols=len(pause.symbols), error=str(error))
            except Exception:  # the supervisor: live trades wait for an answer, whatever happened
                self.counters["refills_failed"] += 1
                log.error("recovery.failed", traceback=plain_traceback())
            self._buffer.put_note(Refill(symbols=pause.symbols, trades=trades, number=pause.number))
            log.info("recovery.done", asked=len(pause.symbols), refilled=len(trades))

    def _refill(self, pause: Break, deadline: float, found: dict[str, list[PriceMessage]]) -> None:
        """Fill `found` with the symbols that are complete."""
        calls = _Budget(MAX_CALLS, deadline)
        for crypto in (False, True):
            symbols = [s for s in pause.symbols if is_crypto(s) == crypto]
            for start in range(0, len(symbols), 100):
                chunk = symbols[start : start + 100]
                self._refill_chunk(chunk, crypto, pause, calls, found)

    def _refill_chunk(
        self,
        symbols: list[str],
        crypto: bool,
        pause: Break,
        calls: _Budget,
        found: dict[str, list[PriceMessage]],
    ) -> None:
        since_ns = pause.from_ns - LATE_NS
        listed: dict[str, list[HistoricalTrade]] = {symbol: [] for symbol in symbols}
        complete: set[str] = set()
        token: str | None = None
        while calls.take():
            page = self._rest.trades(
                symbols, crypto, self._feed, rfc3339(since_ns), token, calls.left_s()
            )
            for symbol, trades in page.trades.items():
                listed.setdefault(symbol, []).extend(trades)
            token = page.next_page_token
            if token is None:
                complete = set(symbols)
                break
            # Pages are sorted by symbol: whoever comes before the last one seen is complete.
            last = max(page.trades, default="")
            complete = {symbol for symbol in symbols if symbol < last}
        for symbol in complete:
            found[symbol] = self._messages(
                symbol, listed.pop(symbol), self._published_since(symbol, since_ns), crypto
            )

    def _messages(
        self, symbol: str, listed: list[HistoricalTrade], published: _Published, crypto: bool
    ) -> list[PriceMessage]:
        feed = "crypto" if crypto else self._feed
        messages = []
        for trade in listed:
            if trade.u in ("canceled", "incorrect"):
                continue
            message = self._translator.price(trade.of(symbol), feed, backfilled=True)
            if not published.has(message):
                messages.append(message)
        return messages

    def _published_since(self, symbol: str, since_ns: int) -> _Published:
        """The trades that the journal has already: REST's answer overlaps them."""
        keys, oldest = set(), ""
        newest = backwards(self._client, self._names.ticker_log(symbol))
        for _, body in islice(newest, _JOURNAL_TAIL):
            message = decode_typed(body)
            if isinstance(message, PriceMessage):
                keys.add(trade_key(message))
                oldest = message.timestamp
                if parse_rfc3339(oldest) < since_ns - 60_000_000_000:
                    break
        return _Published(keys=frozenset(keys), oldest=oldest)


@dataclass(frozen=True, kw_only=True)
class _Published:
    """The newest trades of a ticker's journal. What is older than the oldest of them was published
    before it, trimmed since, or happened before anybody followed the ticker."""

    keys: frozenset[TradeKey]
    oldest: str

    def has(self, message: PriceMessage) -> bool:
        # Timestamps of one form: as texts they are ordered as the moments are.
        return message.timestamp < self.oldest or trade_key(message) in self.keys


class _Budget:
    """REST calls and time that one refill may use."""

    def __init__(self, calls: int, deadline: float) -> None:
        self._calls, self._deadline = calls, deadline

    def take(self) -> bool:
        self._calls -= 1
        return self._calls >= 0 and self.left_s() > 0.1

    def left_s(self) -> float:
        return self._deadline - time.monotonic()
