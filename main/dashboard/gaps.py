"""Pure: the gaps of the day. An outage is told on every ticker's channel: here it is one line."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from ..utils.redis.messages import GapMessage
from . import words

SAME_S: Final = 5.0  # gaps of one cause whose ends are so near belong to one outage
MAX_OUTAGES: Final = 200
MAX_NAMED: Final = 600

CAUSES: Final = {
    "upstream_disconnected": "the connection to Alpaca was lost",
    "upstream_slow": "Alpaca's stream was mute or late",
    "redis_unavailable": "Redis did not answer",
    "broker_restart": "the broker was restarted",
    "overload": "more came than could be carried",
    "journal_expired": "the journal no longer had it",
    "consumer_slow": "a reader was too slow",
}


@dataclass(kw_only=True)
class Outage:
    """One cause, and the tickers that it touched, each with whether it was refilled."""

    cause: str
    from_s: float
    to_s: float
    tickers: dict[str, bool] = field(default_factory=dict)
    lost: int | None = 0  # None: not known

    @property
    def words(self) -> str:
        return CAUSES.get(self.cause, words.word(self.cause))

    @property
    def refilled(self) -> int:
        return sum(self.tickers.values())

    @property
    def verdict(self) -> str:
        """`refilled`, `partly`, or `missing`."""
        if self.refilled == len(self.tickers):
            return "refilled"
        return "partly" if self.refilled else "missing"

    @property
    def lasted(self) -> str:
        return words.duration(max(0.0, self.to_s - self.from_s))

    @property
    def names(self) -> str:
        some = sorted(self.tickers)[:6]
        more = len(self.tickers) - len(some)
        return ", ".join(some) + (f" and {more} more" if more else "")


class GapBook:
    """The newest outages, the newest first."""

    def __init__(self) -> None:
        self.outages: deque[Outage] = deque(maxlen=MAX_OUTAGES)
        self.last_of: dict[str, Outage] = {}
        self.version = 0

    def take(self, gap: GapMessage) -> None:
        """Told again (in the journal and live), it is the same gap."""
        from_s, to_s = words.unix_s(gap.from_), words.unix_s(gap.to)
        if from_s is None or to_s is None:
            return
        symbol = words.word(gap.symbol, 32)
        outage = self._outage(gap.cause, from_s, to_s)
        known = symbol in outage.tickers
        if known or len(outage.tickers) < MAX_NAMED:
            outage.tickers[symbol] = gap.backfilled
            self._remember(symbol, outage)
        if not known and not gap.backfilled:
            outage.lost = (
                None if gap.lost is None or outage.lost is None else outage.lost + gap.lost
            )
        outage.from_s, outage.to_s = min(outage.from_s, from_s), max(outage.to_s, to_s)
        self.version += 1

    def forget_before(self, moment_s: float) -> None:
        """A new day begins."""
        kept = [outage for outage in self.outages if outage.to_s >= moment_s]
        if len(kept) != len(self.outages):
            self.outages = deque(kept, maxlen=MAX_OUTAGES)
            self.last_of = {s: o for s, o in self.last_of.items() if o.to_s >= moment_s}
            self.version += 1

    def _remember(self, symbol: str, outage: Outage) -> None:
        last = self.last_of.get(symbol)
        if last is None or last.to_s <= outage.to_s:
            self.last_of[symbol] = outage

    def _outage(self, cause: str, from_s: float, to_s: float) -> Outage:
        for outage in self.outages:
            near = abs(outage.from_s - from_s) <= SAME_S and abs(outage.to_s - to_s) <= SAME_S
            if outage.cause == cause and near:
                return outage
        outage = Outage(cause=cause, from_s=from_s, to_s=to_s)
        older = next((i for i, o in enumerate(self.outages) if o.to_s <= to_s), len(self.outages))
        if len(self.outages) == MAX_OUTAGES:
            if older == MAX_OUTAGES:
                return outage  # older than all that are kept
            self.outages.pop()
        self.outages.insert(older, outage)
        return outage
