"""The simulated market: which tickers live, and what happens next in each. Pure.

A ticker comes alive with the first interest in it (a subscription, an order, a REST call) and
then stays alive whether or not anybody listens, so that what was missed can be asked for.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable

from .assets import Asset, AssetBook
from .config import MarketRules, SessionPhase
from .messages import Quote, Trade
from .walk import Walk

_MAX_EVENTS_PER_ADVANCE = 50_000
_MAX_BACKLOG_NS = 2_000_000_000

Emit = Callable[[Quote | Trade], None]
FAKEPACA = Asset(
    id="00000000-0000-5000-8000-000000fa4e0a",
    asset_class="us_equity",
    exchange="NASDAQ",
    symbol="FAKEPACA",
    name="Fake Alpaca, the test stream's only symbol",
    tradable=False,
    start_price=130.0,
)


class Market:
    """Walks every live ticker forward in time and hands each event to `emit`, in time order."""

    def __init__(self, assets: AssetBook, rules: MarketRules, emit: Emit) -> None:
        self._assets = assets
        self._rules = rules
        self._emit = emit
        self._walks: dict[str, Walk] = {}
        self._intervals: dict[str, int] = {}
        self._due: list[tuple[int, str]] = []
        self._quote_credit: dict[str, float] = {}
        self._phase: SessionPhase = "regular"
        self.start_prices = dict(rules.prices)
        self._burst_until_ns = 0
        self.halted: set[str] = set()
        self.skipped = 0  # events that an overloaded machine had no time for

    @property
    def live(self) -> Iterable[str]:
        """The tickers that move."""
        return self._walks.keys()

    def activate(self, symbol: str, now_ns: int) -> Walk | None:
        """Bring a ticker to life; None if nobody knows it."""
        walk = self._walks.get(symbol)
        if walk is not None:
            return walk
        asset = FAKEPACA if symbol == FAKEPACA.symbol else self._assets.find(symbol)
        if asset is None:
            return None
        if asset.symbol in self._walks:
            return self._walks[asset.symbol]
        start, rules = self.start_prices.get(asset.symbol), self._rules
        walk = Walk(asset, rules.seed, start, rules.exchanges)
        walk.extended_hours = self._phase in ("pre", "post")
        self._walks[asset.symbol] = walk
        self._emit(walk.quote(now_ns))
        self.set_rate(
            asset.symbol, self._rules.rates.get(asset.symbol, self._default(asset)), now_ns
        )
        return walk

    def set_rate(self, symbol: str, trades_per_s: float, now_ns: int) -> None:
        """Change how often a live ticker trades. 0 stops it."""
        self._due = [entry for entry in self._due if entry[1] != symbol]
        heapq.heapify(self._due)
        self._intervals[symbol] = int(1e9 / trades_per_s) if trades_per_s > 0 else 0
        if trades_per_s > 0:
            first = now_ns + int(self._walks[symbol].random.random() * self._intervals[symbol])
            heapq.heappush(self._due, (first, symbol))

    def set_phase(self, phase: SessionPhase, now_ns: int) -> None:
        """The stock market opens, closes, or goes to extended hours."""
        opens = phase == "regular" and self._phase != "regular"
        self._phase = phase
        if opens and self._rules.opening_burst > 1:
            self._burst_until_ns = now_ns + int(self._rules.opening_burst_s * 1e9)
        for walk in self._walks.values():
            walk.extended_hours = phase in ("pre", "post")

    @property
    def phase(self) -> SessionPhase:
        """The stock market's phase."""
        return self._phase

    def split(self, symbol: str, new_per_old: float) -> None:
        """A split: prices from now on are of the new shares."""
        walk = self._walks.get(symbol)
        if walk is not None:
            walk.scale(1 / new_per_old)

    def follow(self, event: Quote | Trade) -> None:
        """Something happened that no walk made: the walk goes on from there."""
        walk = self._walks.get(event.symbol)
        if walk is None:
            return
        if isinstance(event, Trade):
            walk.anchor(event.price)
        else:
            walk.set_quote(event.bid_price, event.ask_price)

    def rename(self, symbol: str, new_symbol: str, now_ns: int) -> None:
        """A new name: the old ticker falls silent, the new one goes on at its price."""
        old = self._walks.pop(symbol, None)
        self._due = [entry for entry in self._due if entry[1] != symbol]
        heapq.heapify(self._due)
        new = self.activate(new_symbol, now_ns)
        if old is not None and new is not None:
            new.anchor((old.bid + old.ask) / 2)

    def shift(self, by_ns: int) -> None:
        """The clock was stepped: what is due stays as far away as it was."""
        self._due = [(at_ns + by_ns, symbol) for at_ns, symbol in self._due]
        self._burst_until_ns += by_ns

    def advance(self, now_ns: int) -> None:
        """Emit everything that is due by now."""
        due, budget = self._due, _MAX_EVENTS_PER_ADVANCE
        while due and due[0][0] <= now_ns and budget:
            at_ns, symbol = due[0]
            if now_ns - at_ns > _MAX_BACKLOG_NS:
                at_ns = self._skip_ahead(symbol, at_ns, now_ns)
            walk = self._walks[symbol]
            if self._trades_now(walk):
                self._move(walk, at_ns)
            heapq.heapreplace(due, (at_ns + self._gap(walk, at_ns), symbol))
            budget -= 1

    def _move(self, walk: Walk, at_ns: int) -> None:
        symbol = walk.asset.symbol
        credit = self._quote_credit.get(symbol, 0.0) + self._rules.quotes_per_trade
        while credit >= 1:
            walk.step()
            self._emit(walk.quote(walk.moment(at_ns)))
            credit -= 1
        self._quote_credit[symbol] = credit
        self._emit(walk.trade(walk.moment(at_ns)))

    def _gap(self, walk: Walk, at_ns: int) -> int:
        # Evenly spread around the mean, so that a chosen rate is kept exactly over time.
        interval = self._intervals[walk.asset.symbol]
        if at_ns < self._burst_until_ns:
            interval = int(interval / self._rules.opening_burst)
        return max(2, int(interval * (0.5 + walk.random.random())))

    def _trades_now(self, walk: Walk) -> bool:
        if walk.asset.symbol in self.halted:
            return False
        return self._phase != "closed" or walk.crypto or walk.asset is FAKEPACA

    def _skip_ahead(self, symbol: str, at_ns: int, now_ns: int) -> int:
        self.skipped += (now_ns - at_ns) // max(self._intervals[symbol], 1)
        return now_ns

    def _default(self, asset: Asset) -> float:
        return self._rules.default_rate
