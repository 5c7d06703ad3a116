"""Pure: Alpaca's messages in the trade's own words, ready to be numbered and published."""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import msgspec
from msgspec import UNSET

from ..utils.redis.messages import (
    BarMessage,
    BarsGap,
    BusMessage,
    CorrectionMessage,
    GapMessage,
    PriceMessage,
    QuoteMessage,
    QuotesGap,
    StatusMessage,
    moment_text,
    now_rfc3339,
    rfc3339,
)
from .codec import (
    CancelError,
    Correction,
    DailyBar,
    MarketMessage,
    MinuteBar,
    Quote,
    Trade,
    TradingStatus,
    UpdatedBar,
    decode_frame,
    moment,
    timestamp_text,
)
from .frame_buffer import LATE_NS, Folded, Frame
from .sale_conditions import LastPriceRule

# Trading status codes: tape C's letters, and the digits of tapes A and B.
_HALTS = frozenset({"H", "P", "2"})
_RESUMES = frozenset({"T", "3"})
_INTERVALS = {MinuteBar: "minute", UpdatedBar: "updated", DailyBar: "day"}

# Python 3.11 (not 3.12) calls a class with a metaclass of its own the long way, which takes four
# times as long as to copy a message with other values.
_another = msgspec.structs.replace
_BLANK_QUOTE = QuoteMessage(
    symbol="",
    timestamp="",
    bid_price=0.0,
    bid_size=0,
    ask_price=0.0,
    ask_size=0,
    feed="",
)


@functools.cache
def _blank_price(feed: str, backfilled: bool) -> PriceMessage:
    return PriceMessage(
        symbol="",
        timestamp="",
        price=0.0,
        volume=0,
        feed=feed,
        last_eligible=False,
        backfilled=backfilled,
    )


class MarketTranslator:
    """From what a connection brought to messages. One thread at a time uses it."""

    def __init__(self, last_price_rule: LastPriceRule | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._last_moment = (0, 0)
        self.last_received_ns = 0
        self._behind_ns: dict[str, int] = {}  # by feed: our clock less the last trade's time
        self.halted: set[str] = set()
        self.arrived: defaultdict[str, int] = defaultdict(int)  # by ticker: messages of the stream
        self._may_set_last = (last_price_rule or LastPriceRule()).allows

    @property
    def last_trade_ns(self) -> int:
        """When the last trade happened, Unix ns; 0 before the first."""
        seconds, nanoseconds = self._last_moment
        return seconds * 1_000_000_000 + nanoseconds

    def behind_ns(self, *, crypto: bool) -> int:
        """How far a stream's trades are behind our clock: its lag, and the clocks' difference."""
        behind = [ns for feed, ns in self._behind_ns.items() if (feed == "crypto") == crypto]
        return max(0, *behind) if behind else 0

    def read_frame(self, frame: Frame) -> list[BusMessage]:
        """The messages of one frame; what cannot be read is counted."""
        decoded, malformed = decode_frame(frame.payload)
        if malformed:
            self.counters["malformed"] += malformed
        messages: list[BusMessage] = []
        before = self._last_moment
        self._append_all(messages, decoded, frame.feed)
        self.last_received_ns = frame.received_ns
        if self._last_moment is not before:
            self._behind_ns[frame.feed] = frame.received_ns - self.last_trade_ns
        return messages

    def read_folded(self, folded: Folded) -> list[BusMessage]:
        """What is left of an overflow, after gaps that count what is not."""
        self.counters["malformed"] += folded.malformed
        messages: list[BusMessage] = list(_gaps_of_fold(folded))
        self._append_all(messages, folded.kept, folded.feed)
        return messages

    def price(self, trade: Trade, feed: str, *, backfilled: bool = False) -> PriceMessage:
        """One trade.

        Raises:
            ValueError: a timestamp that no trade can have.
        """
        messages: list[BusMessage] = []
        self._append_all(messages, (trade,), feed, backfilled=backfilled)
        if not messages:
            raise ValueError(f"{trade.t!r} is not a moment between 1970 and 9999")
        return cast(PriceMessage, messages[0])

    def _append_all(
        self,
        messages: list[BusMessage],
        decoded: Iterable[MarketMessage],
        feed: str,
        *,
        backfilled: bool = False,
    ) -> None:
        """The hot path: trades are not given to a function each."""
        if self.halted:
            decoded = list(decoded)
            # Whoever trades is not halted: the resume may have been lost.
            self.halted.difference_update(m.S for m in decoded if type(m) is Trade)
        arrived, add, may_set_last = self.arrived, messages.append, self._may_set_last
        blank, last_moment = _blank_price(feed, backfilled), self._last_moment
        for message in decoded:
            symbol = message.S
            arrived[symbol] += 1
            try:
                if type(message) is not Trade:
                    add(self._translate(message, feed))
                    continue
                seconds, nanoseconds = last_moment = moment(message.t)
                conditions, tape = message.c, message.z
                add(
                    _another(
                        blank,
                        symbol=symbol,
                        timestamp=moment_text(seconds, nanoseconds),
                        price=message.p,
                        volume=message.s,
                        trade_id=message.i,
                        exchange=message.x,
                        conditions=UNSET if conditions is None else conditions,
                        tape=tape,
                        last_eligible=not conditions
                        or may_set_last(conditions, tape or "", seconds),
                    )
                )
            except ValueError:
                self.counters["malformed"] += 1
        self._last_moment = last_moment

    def _translate(self, message: MarketMessage, feed: str) -> BusMessage:
        translated = _TRANSLATE[type(message)](message, feed)
        if type(message) is TradingStatus:
            self._note_halt(message)
        return translated

    def _note_halt(self, status: TradingStatus) -> None:
        if status.sc in _HALTS:
            self.halted.add(status.S)
        elif status.sc in _RESUMES:
            self.halted.discard(status.S)


def _quote(quote: Quote, feed: str) -> QuoteMessage:
    sides = (quote.bp, quote.bs, quote.ap, quote.as_)
    if not all(0 <= number < math.inf for number in sides):
        raise ValueError("a price or size that no quote can have")
    return _another(
        _BLANK_QUOTE,
        symbol=quote.S,
        timestamp=timestamp_text(quote.t),
        bid_price=quote.bp,
        bid_size=quote.bs,
        ask_price=quote.ap,
        ask_size=quote.as_,
        bid_exchange=quote.bx,
        ask_exchange=quote.ax,
        conditions=UNSET if quote.c is None else quote.c,
        tape=quote.z,
        feed=feed,
    )


def _bar(bar: MinuteBar | UpdatedBar | DailyBar, feed: str) -> BarMessage:
    if not all(math.isfinite(number) for number in (bar.o, bar.h, bar.l, bar.c, bar.v)):
        raise ValueError("a price or volume that no bar can have")
    return BarMessage(
        symbol=bar.S,
        timestamp=timestamp_text(bar.t),
        open=bar.o,
        high=bar.h,
        low=bar.l,
        close=bar.c,
        volume=bar.v,
        trade_count=bar.n,
        vwap=bar.vw,
        interval=_INTERVALS[type(bar)],  # type: ignore[arg-type]
        feed=feed,
    )


def _status(status: TradingStatus, feed: str) -> StatusMessage:
    return StatusMessage(
        symbol=status.S,
        timestamp=timestamp_text(status.t),
        code=status.sc,
        message=status.sm,
        reason_code=status.rc,
        reason_message=status.rm,
        tape=status.z,
    )


def _correction(correction: Correction, feed: str) -> CorrectionMessage:
    place = {"exchange": correction.x, "tape": correction.z}
    original = {
        "trade_id": correction.oi,
        "price": correction.op,
        "volume": correction.os,
        "conditions": correction.oc,
    }
    corrected = {
        "trade_id": correction.ci,
        "price": correction.cp,
        "volume": correction.cs,
        "conditions": correction.cc,
    }
    return CorrectionMessage(
        symbol=correction.S,
        timestamp=timestamp_text(correction.t),
        original=_present(original | place),
        corrected=_present(corrected | place),
    )


def _cancellation(cancel: CancelError, feed: str) -> CorrectionMessage:
    original = {
        "trade_id": cancel.i,
        "price": cancel.p,
        "volume": cancel.s,
        "exchange": cancel.x,
        "tape": cancel.z,
        "action": cancel.a,
    }
    return CorrectionMessage(
        symbol=cancel.S,
        timestamp=timestamp_text(cancel.t),
        original=_present(original),
        corrected=None,
    )


_TRANSLATE: dict[type, Callable[[Any, str], BusMessage]] = {
    Quote: _quote,
    MinuteBar: _bar,
    UpdatedBar: _bar,
    DailyBar: _bar,
    TradingStatus: _status,
    Correction: _correction,
    CancelError: _cancellation,
}


def _present(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (UNSET, None)}


def _gaps_of_fold(folded: Folded) -> list[GapMessage]:
    kinds: tuple[tuple[type[GapMessage], dict[str, int]], ...] = (
        (GapMessage, folded.lost),
        (QuotesGap, folded.lost_quotes),
        (BarsGap, folded.lost_bars),
    )
    return [
        kind(
            symbol=symbol,
            timestamp=now_rfc3339(),
            from_=rfc3339(folded.from_ns - LATE_NS),  # it happened before it was received
            to=rfc3339(folded.to_ns),
            cause=folded.cause,
            backfilled=False,
            lost=lost,
        )
        for kind, counts in kinds
        for symbol, lost in counts.items()
    ]
