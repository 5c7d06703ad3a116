"""Pure: what really happened against what one reader's handler saw.

A trade is lost in silence when the handler saw neither the trade, nor a `gap` whose `from` to `to`
covers the trade's time, nor an epoch change (or, for a reader without the library, a hole in the
numbers) at its place. Executions and ends of orders must come exactly; of the other order events a
later state of the same order will do, because REST does not tell of states that have passed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .lines import Line

EXECUTIONS = frozenset({"fill", "partial_fill"})
ENDS = frozenset({"canceled", "expired", "rejected", "replaced"})
TOLD_BY = frozenset({"gap", "hole"})


@dataclass(frozen=True, slots=True)
class Happened:
    """One trade of the market. `serial` counts up by one per symbol."""

    symbol: str
    trade_id: int
    serial: int
    moment: int


@dataclass(frozen=True, slots=True)
class OrderHappened:
    """One event of an order, in the order of the account's events."""

    symbol: str
    order_id: str
    event: str
    event_id: str
    filled: str
    moment: int


@dataclass(kw_only=True)
class Counts:
    """What one reader got. `examples` holds a few of each loss, for the report."""

    expected: int = 0
    silent_loss: int = 0
    signalled_loss: int = 0
    backfilled: int = 0
    from_journal: int = 0
    duplicates: int = 0
    reordered: int = 0
    disordered: int = 0  # trades of one stretch that came in another order than they happened
    orders_expected: int = 0
    orders_missing: int = 0
    orders_signalled: int = 0  # missing at a plain reader, inside a hole that it saw
    unexpected: int = 0  # trades that never happened
    told_by_epoch_only: int = 0
    widest_gap_s: float = 0.0
    examples: list[str] = field(default_factory=list)

    def remember(self, text: str) -> None:
        if len(self.examples) < 3:
            self.examples.append(text)


class Book:
    """One reader's messages. `take` them as they come; `judge` whenever."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines = 0
        self.duplicates = self.reordered = self.disordered = self.backfilled = 0
        self.duplicate_examples: list[str] = []
        self.counters: dict[str, int] = {}
        self.first_seen: dict[str, dict[int | str, int]] = {}  # symbol -> trade id -> when
        self.newest_ids: dict[str, int] = {}
        self._recent: dict[str, deque[tuple[int, int]]] = {}
        self.lag_s: dict[str, float] = {}  # of the newest trade, when it was seen
        self._delays: deque[tuple[int, int]] = deque(maxlen=20_000)  # (seen, delay) of live trades
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self._epoch_spans: dict[str, list[tuple[int, int]]] = {}
        self._places: dict[str, tuple[int, int]] = {}
        self._newest: dict[str, int] = {}
        self._last_trade: dict[str, int] = {}
        self._event_ids: set[str] = set()
        self.order_places: dict[str, tuple[int, int]] = {}  # by event id, or by what happened
        self._holes: dict[str, list[tuple[tuple[int, int], tuple[int, int]]]] = {}
        self._events: Counter[tuple[str, str, str]] = Counter()
        self._recovered: dict[str, list[tuple[str, str]]] = {}
        self._order_marks: dict[str, int] = {}

    def take_all(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.take(line)

    def take(self, line: Line) -> None:
        self.lines += 1
        if line.kind == "counters":
            self.counters = dict(line.counters)
            return
        if line.kind == "hole":
            self._holes.setdefault(line.symbol, []).append((line.after, (line.epoch, line.seq)))
        else:
            self._see_place(line)
        if line.kind == "price":
            self._see_trade(line)
        elif line.kind in TOLD_BY:
            self._spans.setdefault(line.symbol, []).append((line.begun, line.until))
        elif line.kind == "order":
            self._see_order(line)

    def newest(self, symbol: str) -> int:
        """The moment of the newest trade seen."""
        return self._newest.get(symbol, 0)

    def worst_delay_s(self, since: int) -> float:
        """The longest way of a live trade from its happening to the handler, since then."""
        return max((delay for at, delay in self._delays if at >= since), default=0) / 1e9

    def first_after(self, symbol: str, trade_id: int) -> int | None:
        """When a trade with a higher id was first seen."""
        recent = self._recent.get(symbol, ())
        return min((at for key, at in recent if key > trade_id), default=None)

    def _see_place(self, line: Line) -> None:
        if line.seq <= 0:
            return
        place, before = (line.epoch, line.seq), self._places.get(line.symbol)
        if before is not None and line.epoch == before[0]:
            self.reordered += line.seq < before[1]
            if line.seq == before[1]:
                self._duplicate(f"{line.symbol} {line.epoch}-{line.seq}")
        elif before is not None:
            span = (self._newest.get(line.symbol, 0), line.moment)
            self._epoch_spans.setdefault(line.symbol, []).append(span)
            self._last_trade.pop(line.symbol, None)
        self._places[line.symbol] = place

    def _see_trade(self, line: Line) -> None:
        seen = self.first_seen.setdefault(line.symbol, {})
        if line.trade_id in seen:
            self._duplicate(f"trade {line.symbol} {line.trade_id} at {line.epoch}-{line.seq}")
            return
        seen[line.trade_id] = line.at
        self.backfilled += line.backfilled
        self.lag_s[line.symbol] = (line.at - line.moment) / 1e9
        if not line.backfilled:
            self._delays.append((line.at, line.at - line.moment))
        self._newest[line.symbol] = max(self._newest.get(line.symbol, 0), line.moment)
        if isinstance(line.trade_id, int):
            self.disordered += line.trade_id < self._last_trade.get(line.symbol, 0)
            self._last_trade[line.symbol] = line.trade_id
            recent = self._recent.setdefault(line.symbol, deque(maxlen=5_000))
            recent.append((line.trade_id, line.at))
            newest = self.newest_ids.get(line.symbol, 0)
            self.newest_ids[line.symbol] = max(newest, line.trade_id)

    def _see_order(self, line: Line) -> None:
        key = (line.order_id, line.event, line.filled)
        again = line.event_id in self._event_ids if line.event_id else False
        exact = line.event in EXECUTIONS or line.event in ENDS or line.source == "reconcile"
        if again or (exact and self._events[key]):
            self._duplicate(f"order {line.order_id[:8]} {line.event} {line.filled} {line.source}")
        if line.event_id:
            self._event_ids.add(line.event_id)
        self._events[key] += 1
        self.order_places[line.event_id or "/".join(key)] = (line.epoch, line.seq)
        if line.source == "reconcile":
            self._recovered.setdefault(line.order_id, []).append((line.event, line.filled))

    def _duplicate(self, what: str) -> None:
        self.duplicates += 1
        if len(self.duplicate_examples) < 6:
            self.duplicate_examples.append(what)

    # -- judging

    def judge(
        self,
        trades: Iterable[Happened],
        orders: Sequence[OrderHappened],
        *,
        told_by_holes: Mapping[str, tuple[int, int]] | None = None,
    ) -> Counts:
        """Compare with what happened since this reader was there.

        A reader without the library may miss order events where it saw a hole in the numbers:
        `told_by_holes` says where others saw each event (`order_places`).
        """
        counts = Counts(
            backfilled=self.backfilled,
            from_journal=self.counters.get("refilled", 0),
            duplicates=self.duplicates,
            reordered=self.reordered,
            disordered=self.disordered,
            widest_gap_s=max(
                ((until - begun) / 1e9 for spans in self._spans.values() for begun, until in spans),
                default=0.0,
            ),
        )
        for example in self.duplicate_examples:
            counts.remember(f"{self.name}: twice: {example}")
        self._judge_trades(trades, counts)
        self._judge_orders(orders, counts, told_by_holes)
        return counts

    def _judge_trades(self, trades: Iterable[Happened], counts: Counts) -> None:
        nothing: dict[int | str, int] = {}
        for trade in trades:
            counts.expected += 1
            if trade.trade_id in self.first_seen.get(trade.symbol, nothing):
                continue
            if _covers(self._spans.get(trade.symbol, ()), trade.moment):
                counts.signalled_loss += 1
            elif _covers(self._epoch_spans.get(trade.symbol, ()), trade.moment):
                counts.signalled_loss += 1
                counts.told_by_epoch_only += 1
            else:
                counts.silent_loss += 1
                counts.remember(
                    f"{self.name}: silently lost {trade.symbol} trade {trade.trade_id} "
                    f"(serial {trade.serial}) of {trade.moment}"
                )

    def _judge_orders(
        self,
        orders: Sequence[OrderHappened],
        counts: Counts,
        places: Mapping[str, tuple[int, int]] | None,
    ) -> None:
        later_seen: set[str] = set()  # orders of which a later event was seen
        later_told: set[str] = set()  # orders of which a later event lies in a hole that was seen
        for happened in reversed(orders):
            counts.orders_expected += 1
            if self._saw(happened):
                later_seen.add(happened.order_id)
            elif self._excused(happened, later_seen):
                continue
            elif places is not None and self._told(happened, places, later_told):
                counts.orders_signalled += 1
                later_told.add(happened.order_id)
            else:
                counts.orders_missing += 1
                counts.remember(
                    f"{self.name}: missing order event {happened.symbol} "
                    f"{happened.order_id[:8]} {happened.event} {happened.filled} "
                    f"of {happened.moment}"
                )

    def _saw(self, happened: OrderHappened) -> bool:
        if happened.event_id in self._event_ids:
            return True
        recovered = self._recovered.get(happened.order_id, ())
        if happened.event in EXECUTIONS:
            return any(
                event in EXECUTIONS and filled == happened.filled for event, filled in recovered
            )
        return any(event == happened.event for event, _ in recovered)

    def _excused(self, happened: OrderHappened, later: set[str]) -> bool:
        exact = happened.event in EXECUTIONS or happened.event in ENDS
        return not exact and happened.order_id in later

    def _told(
        self,
        happened: OrderHappened,
        places: Mapping[str, tuple[int, int]],
        later_told: set[str],
    ) -> bool:
        what = "/".join((happened.order_id, happened.event, happened.filled))
        place = places.get(happened.event_id) or places.get(what)
        if place is None:  # nobody was told of it: REST does not tell of states that have passed
            return self._excused(happened, later_told) or _covers(
                self._spans.get(happened.symbol, ()), happened.moment
            )
        return any(after < place < behind for after, behind in self._holes.get(happened.symbol, ()))


def _covers(spans: Iterable[tuple[int, int]], moment: int) -> bool:
    return any(begun <= moment <= until for begun, until in spans)
