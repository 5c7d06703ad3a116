"""Pure: from what the connections brought to the messages that are published, in their order.

Three kinds of messages wait here. Those of a ticker that is not followed yet: its first frames may
come between Alpaca's acknowledgement and the producers' restart. Those of a ticker whose stream was
just interrupted: live trades wait (3 s at most) for the refill, so that `gap`, the refilled and the
live come in this order, and nothing is inserted later. A ticker that was found mute is interrupted
in the same way, by the first message that breaks its silence. And those that a refill brought
already: their live twins are dropped, as is what Alpaca itself repeats.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeAlias, TypeVar

from ..utils.redis.messages import (
    BarsGap,
    BusMessage,
    GapMessage,
    PriceMessage,
    QuotesGap,
    now_rfc3339,
    rfc3339,
)
from .early_messages import EarlyMessages
from .frame_buffer import LATE_NS, Break, Folded, Frame, Item, Refill, Silence
from .recent_trades import RecentTrades
from .registry import is_crypto
from .translate import MarketTranslator

REFILL_WAIT_S: Final = 3.0

GapT = TypeVar("GapT", GapMessage, QuotesGap, BarsGap)
TradeKey: TypeAlias = tuple[object, ...]


def trade_key(message: PriceMessage) -> TradeKey:
    """What makes a trade the same trade: exchange, id, tape and day."""
    return (message.exchange, message.trade_id, message.tape, message.timestamp[:10])


@dataclass(kw_only=True)
class _Interrupted:
    """A ticker whose refill is on its way."""

    pause: Break
    until_s: float  # the refill is not waited for any longer
    data: frozenset[str]  # the kinds of data that are followed
    live: list[BusMessage] = field(default_factory=list)


class _Silent(NamedTuple):
    """A ticker of which nothing has come since it was found mute, or lost."""

    silence: Silence
    data: frozenset[str]


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
        self.gaps: Counter[tuple[str, bool]] = Counter()  # by cause, and whether refilled
        self._translator, self._ask_refill, self._clock_s = translator, ask_refill, clock_s
        self._asks = 0
        self._early = EarlyMessages()
        self._interrupted: dict[str, _Interrupted] = {}
        self._silent: dict[str, _Silent] = {}
        self._early_breaks: dict[str, list[Break]] = {}
        self._floors: dict[str, str] = {}  # told as missing before that moment, and never refilled
        self._recent = RecentTrades(clock_s)

    def take_in(
        self, items: Iterable[Item], following: Mapping[str, frozenset[str]]
    ) -> list[BusMessage]:
        """The messages to publish now."""
        ready: list[BusMessage] = []
        messages: list[BusMessage] = []  # of frames that came one after the other
        for item in items:
            if isinstance(item, Frame):
                messages += self._translator.read_frame(item)
                continue
            self._sort(messages, following, ready)
            messages = []
            self._take_note(item, following, ready)
        self._sort(messages, following, ready)
        if self._interrupted:
            self._end_waiting(ready)
        return ready

    def _take_note(
        self, item: Item, following: Mapping[str, frozenset[str]], ready: list[BusMessage]
    ) -> None:
        if isinstance(item, Folded):
            self.gaps[item.cause, False] += len(item.tickers)
            self._sort(self._translator.read_folded(item), following, ready)
        elif isinstance(item, Break):
            self._interrupt(item, following, ready)
        elif isinstance(item, Silence):
            self._note_silence(item, following)
        elif isinstance(item, Refill):
            self._refill(item, ready)

    def _end_waiting(self, ready: list[BusMessage]) -> None:
        now = self._clock_s()
        for symbol in [s for s, waits in self._interrupted.items() if now > waits.until_s]:
            self._close_interruption(symbol, [], backfilled=False, ready=ready)

    def take_early(self, following: Mapping[str, frozenset[str]]) -> list[BusMessage]:
        """What waited for its ticker to be followed, and the last of those that are not any more:
        who follows one again begins anew."""
        ready = self._take_leave(following)
        breaks, self._early_breaks = self._early_breaks, {}
        for symbol in breaks.keys() & following.keys():
            for pause in breaks[symbol]:
                self._interrupt(replace(pause, symbols=(symbol,)), following, ready)
        early, left = self._early.take(following)
        self.gaps["overload", False] += sum(isinstance(message, GapMessage) for message in early)
        self._sort(early, following, ready)
        self.counters["dropped_after_unsubscribe"] += left
        return ready

    def _take_leave(self, following: Mapping[str, frozenset[str]]) -> list[BusMessage]:
        """What is known to be missing is told even so: those who listen may not have meant to go,
        and come back soon."""
        ready: list[BusMessage] = []
        for symbol in self._silent.keys() - following.keys():
            silence, data = self._silent.pop(symbol)
            pause = Break(symbols=(symbol,), from_ns=silence.from_ns, to_ns=time.time_ns())
            waits = self._interrupted.get(symbol) or _Interrupted(
                pause=pause, until_s=0.0, data=data
            )
            waits.pause = replace(pause, from_ns=min(pause.from_ns, waits.pause.from_ns))
            self._interrupted[symbol] = waits
        for symbol in self._interrupted.keys() - following.keys():
            self._close_interruption(symbol, [], backfilled=False, ready=ready)
        for symbol in self._floors.keys() - following.keys():
            del self._floors[symbol]
        return ready

    def give_up_refills(self) -> list[BusMessage]:
        """What waits for a refill, told as a gap: the broker is stopping."""
        ready: list[BusMessage] = []
        for symbol in list(self._interrupted):
            self._close_interruption(symbol, [], backfilled=False, ready=ready)
        return ready

    def _sort(
        self,
        messages: Sequence[BusMessage],
        following: Mapping[str, frozenset[str]],
        ready: list[BusMessage],
    ) -> None:
        if not (self._interrupted or self._silent):
            # The usual case, and the hot path.
            followed = [message for message in messages if message.symbol in following]
            if len(followed) < len(messages):
                for message in messages:
                    if message.symbol not in following:
                        self._keep_early(message)
            fresh = self._recent.without_repeats(followed)
            self.counters["repeats_dropped"] += len(followed) - len(fresh)
            ready += fresh
            return
        for message in messages:
            if message.symbol not in following:
                self._keep_early(message)
                continue
            if message.symbol in self._silent:
                self._end_silence(message.symbol, following, ready)
            if message.symbol in self._interrupted:
                self._interrupted[message.symbol].live.append(message)
            elif not self._is_repeat(message):
                ready.append(message)

    def _keep_early(self, message: BusMessage) -> None:
        if not self._early.keep(message):
            self.counters["early_overflow"] += 1

    def _interrupt(
        self, pause: Break, following: Mapping[str, frozenset[str]], ready: list[BusMessage]
    ) -> None:
        symbols = tuple(symbol for symbol in pause.symbols if symbol in following)
        # Alpaca follows it again, and the producers will in a moment.
        for symbol in pause.symbols:
            if symbol not in following:
                self._early_breaks.setdefault(symbol, []).append(pause)
        if not symbols:
            return
        self.counters["interruptions"] += len(symbols)
        self._asks += 1
        # Interrupted again before its refill came: one gap, from the first loss to the last, and
        # the answer to the first question is no longer an answer. So, too, if it was silent.
        known = [self._interrupted[s].pause.from_ns for s in symbols if s in self._interrupted]
        known += self._silent_until(pause, symbols)
        # By the trades' clock: what was received last may have happened minutes before.
        behind_ns = self._translator.behind_ns(crypto=is_crypto(symbols[0]))
        from_ns = min([pause.from_ns - behind_ns, *known])
        asked = replace(pause, symbols=symbols, from_ns=from_ns, number=self._asks)
        for symbol in symbols:
            earlier = self._interrupted.get(symbol)
            live = earlier.live if earlier else []
            self._interrupted[symbol] = _Interrupted(
                pause=asked,
                until_s=self._clock_s() + REFILL_WAIT_S,
                data=following[symbol],
                live=live,
            )
        if not asked.refill:
            self._floors.update(dict.fromkeys(symbols, rfc3339(pause.to_ns)))
        if not (asked.refill and self._ask_refill(asked)):
            for symbol in symbols:
                self._close_interruption(symbol, [], backfilled=False, ready=ready)

    def _note_silence(self, silence: Silence, following: Mapping[str, frozenset[str]]) -> None:
        symbols = [symbol for symbol in silence.symbols if symbol in following]
        known = [self._silent[s].silence.from_ns for s in symbols if s in self._silent]
        merged = replace(silence, from_ns=min([silence.from_ns, *known]))
        self._silent.update({symbol: _Silent(merged, following[symbol]) for symbol in symbols})

    def _silent_until(self, pause: Break, symbols: Iterable[str]) -> list[int]:
        """Since when they were silent, in Unix ns: `pause` tells it. Who is still mute after it, as
        one may be after a new connection or subscription, is silent since then."""
        silent = [symbol for symbol in symbols if symbol in self._silent]
        since_ns = [self._silent[symbol].silence.from_ns for symbol in silent]
        still = Silence(symbols=tuple(silent), from_ns=pause.to_ns)
        for symbol in silent:
            before = self._silent.pop(symbol)
            if not pause.ends_silence:
                self._silent[symbol] = before._replace(silence=still)
        return since_ns

    def _end_silence(
        self, symbol: str, following: Mapping[str, frozenset[str]], ready: list[BusMessage]
    ) -> None:
        """Those who fell silent together are heard again: what they said meanwhile is missing."""
        silence = self._silent[symbol].silence
        alike = (s for s in silence.symbols if s in self._silent)
        together = tuple(s for s in alike if self._silent[s].silence is silence)
        pause = Break(
            symbols=together, from_ns=silence.from_ns, to_ns=time.time_ns(), ends_silence=True
        )
        self._interrupt(pause, following, ready)

    def _refill(self, refill: Refill, ready: list[BusMessage]) -> None:
        for symbol in refill.symbols:
            interrupted = self._interrupted.get(symbol)
            if interrupted is None or interrupted.pause.number != refill.number:
                continue
            trades = refill.trades.get(symbol)
            self._close_interruption(
                symbol, trades or [], backfilled=trades is not None, ready=ready
            )

    def _close_interruption(
        self, symbol: str, trades: list[PriceMessage], *, backfilled: bool, ready: list[BusMessage]
    ) -> None:
        interrupted = self._interrupted.pop(symbol)
        floor = self._floors.get(symbol, "")
        trades = [t for t in trades if t.timestamp >= floor and not self._recent.is_repeat(t)]
        self.counters["gaps"] += 1
        self.counters["refilled"] += len(trades)
        pause, data = interrupted.pause, interrupted.data
        self.gaps[pause.cause, backfilled] += 1
        ready.append(_gap(GapMessage, symbol, pause, backfilled=backfilled))
        # Quotes and bars are not refilled: their own channels say so.
        if "quotes" in data:
            ready.append(_gap(QuotesGap, symbol, pause, backfilled=False))
        if "bars" in data:
            ready.append(_gap(BarsGap, symbol, pause, backfilled=False))
        ready.extend(trades)
        ready.extend(message for message in interrupted.live if not self._is_repeat(message))

    def _is_repeat(self, message: BusMessage) -> bool:
        """Whether Alpaca, or a refill, brought this trade before."""
        repeats = isinstance(message, PriceMessage) and self._recent.is_repeat(message)
        self.counters["repeats_dropped"] += repeats
        return repeats


def _gap(kind: type[GapT], symbol: str, pause: Break, *, backfilled: bool) -> GapT:
    return kind(
        symbol=symbol,
        timestamp=now_rfc3339(),
        from_=rfc3339(pause.from_ns - LATE_NS),
        to=rfc3339(pause.to_ns),
        cause=pause.cause,
        backfilled=backfilled,
        lost=0 if backfilled else None,
    )
