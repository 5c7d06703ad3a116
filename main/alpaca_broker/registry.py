"""Pure: who follows which ticker until when.

A ticker is followed while at least one holder has it. All anonymous subscribers of a ticker are
one holder, which stays until an anonymous unsubscribe. A holder with a lease ends by itself.
First come, first served: the budget counts tickers per stream, in the order of their arrival.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

ANONYMOUS: Final = ""
TRADES: Final = frozenset({"trades"})


def is_crypto(ticker: str) -> bool:
    """A slash makes a pair: Alpaca carries those on its crypto stream."""
    return "/" in ticker


@dataclass(frozen=True, kw_only=True)
class Holding:
    """One holder's hold on one ticker. `until_ms` is Unix time; None is without end."""

    ticker: str
    client_id: str
    until_ms: int | None
    data: frozenset[str] = TRADES
    lease_s: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        return (self.ticker, self.client_id)


class Registry:
    """The holdings. Not thread-safe: the registration thread owns it."""

    def __init__(self, symbol_limit: int) -> None:
        """`symbol_limit` is the plan's bound per stream, 0 for none."""
        self.symbol_limit = symbol_limit
        self._holdings: dict[str, dict[str, Holding]] = {}

    def restore(self, holdings: Iterable[Holding], now_ms: int) -> None:
        """Take over what was held before a restart, without what has expired meanwhile."""
        for holding in holdings:
            if holding.until_ms is None or holding.until_ms > now_ms:
                self.hold(holding)

    def hold(self, holding: Holding) -> None:
        """Begin, renew or change a hold."""
        self._holdings.setdefault(holding.ticker, {})[holding.client_id] = holding

    def release(self, ticker: str, client_id: str) -> Holding | None:
        """End one holder's hold; None when there was none. Others keep theirs."""
        holders = self._holdings.get(ticker, {})
        holding = holders.pop(client_id, None)
        if not holders:
            self._holdings.pop(ticker, None)
        return holding

    def expire(self, now_ms: int) -> list[Holding]:
        """End every hold whose lease is over, and return them."""
        over = [
            holding
            for holding in self.holdings()
            if holding.until_ms is not None and holding.until_ms <= now_ms
        ]
        for holding in over:
            self.release(holding.ticker, holding.client_id)
        return over

    def shift(self, by_ms: int) -> None:
        """The clock was set: every lease goes on for as long as it had left."""
        for holding in self.holdings() if by_ms else ():
            if holding.until_ms is not None:
                self.hold(replace(holding, until_ms=holding.until_ms + by_ms))

    def holdings(self) -> list[Holding]:
        return [h for holders in self._holdings.values() for h in holders.values()]

    def count(self) -> int:
        """How many holdings there are. The one method that any thread may call."""
        return sum(map(len, list(self._holdings.values())))

    def holders(self, ticker: str) -> int:
        return len(self._holdings.get(ticker, {}))

    def follows(self, ticker: str) -> bool:
        return ticker in self._holdings

    def has_room_for(self, ticker: str) -> bool:
        """Whether the plan's symbol limit admits this ticker (one that is followed always fits)."""
        if self.symbol_limit == 0 or ticker in self._holdings:
            return True
        crypto = is_crypto(ticker)
        return sum(is_crypto(other) == crypto for other in self._holdings) < self.symbol_limit

    def wanted(self) -> Mapping[str, frozenset[str]]:
        """What is to be followed upstream: for each ticker, in order of arrival, its data kinds."""
        return {
            ticker: frozenset().union(*(holding.data for holding in holders.values()))
            for ticker, holders in self._holdings.items()
        }


Following: TypeAlias = Mapping[str, frozenset[str]]  # ticker -> kinds of data


def with_symbols(following: Following, more: Following) -> dict[str, frozenset[str]]:
    """Pure: what is followed once `more` is, too."""
    return dict(following) | {t: following.get(t, frozenset()) | more[t] for t in more}


def without_symbols(following: Following, less: Following) -> dict[str, frozenset[str]]:
    """Pure: what is followed once `less` is not any more."""
    left = {t: data - less.get(t, frozenset()) for t, data in following.items()}
    return {ticker: data for ticker, data in left.items() if data}
