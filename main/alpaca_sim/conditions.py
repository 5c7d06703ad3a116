"""Which trades may set a bar's prices, count for its volume, or set the last price.

From the tapes' sale-condition rules, as Alpaca's market-data FAQ (D6) applies them: a trade
counts for what all of its conditions allow. Every code that is not named here is allowed all.
"""

from __future__ import annotations

from collections.abc import Iterable

# No price at all: averages, cash and next-day trades, odd lots, contingent, seller, corrected.
_NO_RANGE = frozenset("BCHIMNQRVW79")
# No open or close, although the range counts: late and out-of-sequence prints.
_NO_LAST = _NO_RANGE | frozenset("GLPZ4U")
_NO_VOLUME = frozenset("MQ9")
# Extended hours: prices of minute bars, but never of the day or the last regular price.
_EXTENDED = frozenset("TU")


def sets_range(conditions: Iterable[str], *, daily: bool = False) -> bool:
    """May it set high and low?"""
    return _free_of(conditions, _NO_RANGE | (_EXTENDED if daily else frozenset()))


def sets_last(conditions: Iterable[str], *, daily: bool = False) -> bool:
    """May it set open, close and the last price?"""
    return _free_of(conditions, _NO_LAST | (_EXTENDED if daily else frozenset()))


def counts_volume(conditions: Iterable[str]) -> bool:
    """Does its size count?"""
    return _free_of(conditions, _NO_VOLUME)


def _free_of(conditions: Iterable[str], barred: frozenset[str]) -> bool:
    return barred.isdisjoint(conditions)
