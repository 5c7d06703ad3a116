"""Pure: from what the connections brought to the messages that are published, in their order.

Three kinds of messages wait here. Those of a ticker that is not followed yet: its first frames may
come between Alpaca's acknowledgement and the producers' restart. Those of a ticker whose stream was
just interrupted: live trades wait (3 s at most) for the refill, so that `gap`, the refilled and the
live come in this order, and nothing is inserted later. And those that a refill brought already:
their live twins are dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from ..utils.redis.messages import BusMessage, GapMessage, PriceMessage, now_rfc3339, rfc3339
from .frame_buffer import LATE_NS, Break, Folded, Frame, Item, Refill
from .translate import MarketTranslator

MAX_EARLY_MESSAGES: Final = 10_000
REFILL_TWINS_S: Final = 30.0  # how long after a refill its live twins may still arrive

TradeKey: TypeAlias = tuple[object, ...]


def trade_key(message: PriceMessage) -> TradeKey:
    """What makes a trade the same trade: exchange, id, tape and day."""
    return (message.exchange, message.trade_id, message.tape, message.timestamp[:10])


@dataclass(kw_only=True)
class _Interrupted:
    """A ticker whose refill is on its way."""

    pause: Break
    live: list[BusMessage] = field(default_factory=list)


class PriceDesk:
    """One thread at a time uses it: the price producer, or the registration thread between two."""

    def __init__(
        self,
        translator: MarketTranslator,
        ask_refill: Callable[[Break], bool],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask_refill` begins a refill, and says whether a `Refill` item will come of it."""
        self.counters: Counter[str] = Counter()
        self._translator, self._ask_refill, self._clock_s = translator, ask_refill, clock_s
        self._asks = 0
        self._early: list[BusMessage] = []
        self._interrupted: dict[str, _Interrupted] = {}
        self._twins: dict[str, tuple[float, frozenset[TradeKey]]] = {}

    def take_in(
        self, items: Iterable[Item], following: Mapping[str, frozenset[str]]
    ) -> list[BusMessage]:
        """The messages to publish now."""
        ready: list[BusMessage] = []
        for item in items:
            if isinstance(item, Frame):
                self._sort(self._translator.read_frame(item), following, ready)
            elif isinstance(item, Folded):
                self._sort(self._translator.read_folded(item), following, ready)
            elif isinstance(item, Break):
                self._interrupt(item, following, ready)
            else:
                self._refill(item, following, ready)
        return ready

    def take_early(self, following: Mapping[str, frozenset[str]]) -> list[BusMessage]:
        """What waited for its ticker to be followed. The rest belongs to tickers that were left."""
        early, self._early = self._early, []
        ready: list[BusMessage] = []
        mine = [message for message in early if message.symbol in following]
        self._sort(mine, following, ready)
        self.counters["dropped_after_unsubscribe"] += len(early) - len(mine)
        return ready

    def give_up_refills(self) -> list[BusMessage]:
        """What waits for a refill, told as a gap: the broker is stopping."""
        ready: list[BusMessage] = []
        for symbol in list(self._interrupted):
            self._close_interruption(symbol, [], backfilled=False, ready=ready)
        return ready

    def _sort(
        self,
        messages: Iterable[BusMessage],
        following: Mapping[str, frozenset[str]],
        ready: list[BusMessage],
    ) -> None:
        if not (self._interrupted or self._twins):
            # The usual case, and the hot path.
            for message in messages:
                if message.symbol in following:
                    ready.append(message)
                else:
                    self._keep_early(message)
            return
        for message in messages:
            if message.symbol not in following:
                self._keep_early(message)
            elif message.symbol in self._interrupted:
                self._interrupted[message.symbol].live.append(message)
            elif not self._is_twin(message):
                ready.append(message)

    def _keep_early(self, message: BusMessage) -> None:
        if len(self._early) < MAX_EARLY_MESSAGES:
            self._early.append(message)
        else:
            self.counters["early_overflow"] += 1

    def _interrupt(
        self, pause: Break, following: Mapping[str, frozenset[str]], ready: list[BusMessage]
    ) -> None:
        symbols = tuple(symbol for symbol in pause.symbols if symbol in following)
        if not symbols:
            return
        self.counters["interruptions"] += len(symbols)
        self._asks += 1
        # Interrupted again before its refill came: one gap, from the first loss to the last, and
        # the answer to the first question is no longer an answer.
        known = [self._interrupted[s].pause.from_ns for s in symbols if s in self._interrupted]
        asked = replace(
            pause, symbols=symbols, from_ns=min([pause.from_ns, *known]), number=self._asks
        )
        for symbol in symbols:
            earlier = self._interrupted.get(symbol)
            live = earlier.live if earlier else []
            self._interrupted[symbol] = _Interrupted(pause=asked, live=live)
        if not self._ask_refill(asked):
            for symbol in symbols:
                self._close_interruption(symbol, [], backfilled=False, ready=ready)

    def _refill(
        self, refill: Refill, following: Mapping[str, frozenset[str]], ready: list[BusMessage]
    ) -> None:
        for symbol in refill.symbols:
            interrupted = self._interrupted.get(symbol)
            if interrupted is None or interrupted.pause.number != refill.number:
                continue
            if symbol not in following:
                del self._interrupted[symbol]
                continue
            trades = refill.trades.get(symbol)
            self._close_interruption(
                symbol, trades or [], backfilled=trades is not None, ready=ready
            )

    def _close_interruption(
        self, symbol: str, trades: list[PriceMessage], *, backfilled: bool, ready: list[BusMessage]
    ) -> None:
        interrupted = self._interrupted.pop(symbol)
        self.counters["gaps"] += 1
        self.counters["refilled"] += len(trades)
        ready.append(_gap(symbol, interrupted.pause, backfilled=backfilled))
        ready.extend(trades)
        if trades:
            keys = frozenset(map(trade_key, trades))
            self._twins[symbol] = (self._clock_s() + REFILL_TWINS_S, keys)
        ready.extend(message for message in interrupted.live if not self._is_twin(message))

    def _is_twin(self, message: BusMessage) -> bool:
        remembered = self._twins.get(message.symbol)
        if remembered is None or not isinstance(message, PriceMessage):
            return False
        until_s, keys = remembered
        if self._clock_s() > until_s:
            del self._twins[message.symbol]
            return False
        twin = trade_key(message) in keys
        self.counters["twins_dropped"] += twin
        return twin


def _gap(symbol: str, pause: Break, *, backfilled: bool) -> GapMessage:
    return GapMessage(
        symbol=symbol,
        timestamp=now_rfc3339(),
        from_=rfc3339(pause.from_ns - LATE_NS),
        to=rfc3339(pause.to_ns),
        cause=pause.cause,
        backfilled=backfilled,
        lost=0 if backfilled else None,
    )
