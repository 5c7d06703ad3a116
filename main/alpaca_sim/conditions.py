"""Which trades may set a bar's prices, count for its volume, or set the last price.

From the tapes' sale-condition rules, as Alpaca's market-data FAQ (D6) applies them: a trade
counts for what all of its conditions allow. Every code that is not named here is allowed all.
"""

from __future__ import annotations

from collections.abc import Iterable

# No price at all: averages, cash and next-day trades, odd lots, contingent, seller, corrected.
_NO_RANGE = frozenset("CHIMNQRUVW79")
# No open or close, although the range counts: late and out-of-sequence prints.
_NO_LAST = _NO_RANGE | frozenset("GLPZ4")
_NO_VOLUME = frozenset("MQ9")
# Extended hours: prices of minute bars, but never of the day or the last regular price.
_EXTENDED = frozenset("T")
# `B` is an average price on tapes A and B, and an ordinary bunched trade on tape C.
_AVERAGE = frozenset("B")


def _by_tape_and_day(barred: frozenset[str]) -> dict[tuple[bool, bool], frozenset[str]]:
    return {
        (tape_c, daily): barred
        | (frozenset() if tape_c else _AVERAGE)
        | (_EXTENDED if daily else frozenset())
        for tape_c in (True, False)
        for daily in (True, False)
    }


_RANGE_BARS = _by_tape_and_day(_NO_RANGE)
_LAST_BARS = _by_tape_and_day(_NO_LAST)


def sets_range(conditions: Iterable[str], tape: str = "C", *, daily: bool = False) -> bool:
    """May it set high and low?"""
    return _RANGE_BARS[tape == "C", daily].isdisjoint(conditions)


def sets_last(conditions: Iterable[str], tape: str = "C", *, daily: bool = False) -> bool:
    """May it set open, close and the last price?"""
    return _LAST_BARS[tape == "C", daily].isdisjoint(conditions)


def counts_volume(conditions: Iterable[str]) -> bool:
    """Does its size count?"""
    return _NO_VOLUME.isdisjoint(conditions)
