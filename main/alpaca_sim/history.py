"""What has been streamed: the store behind the historical and latest REST calls. Pure, bounded."""

from __future__ import annotations

from .bars import BarBook
from .conditions import sets_last
from .messages import CancelError, Correction, Quote, Trade
from .share_out import ShareOut


class History:
    """Trades, quotes and bars per symbol, in the order in which they happened."""

    def __init__(self, keep_per_symbol: int, keep_total: int = 0) -> None:
        self._trades: ShareOut[Trade] = ShareOut(keep_per_symbol, keep_total)
        self._quotes: ShareOut[Quote] = ShareOut(keep_per_symbol, keep_total)
        self._last_trade: dict[str, Trade] = {}
        self._updates: dict[tuple[str, int], str] = {}
        self.bars = BarBook()

    def add_trade(self, trade: Trade) -> None:
        """A trade happened."""
        self._trades.add(trade.symbol, trade)
        self.bars.add(trade)
        if not isinstance(trade.conditions, tuple) or sets_last(trade.conditions, str(trade.tape)):
            self._last_trade[trade.symbol] = trade

    def set_first_trade(self, trade: Trade) -> None:
        """The last trade before the simulation: known as the latest, but never streamed."""
        self._last_trade.setdefault(trade.symbol, trade)

    def add_quote(self, quote: Quote) -> None:
        """A quote happened."""
        self._quotes.add(quote.symbol, quote)

    def add_correction(self, correction: Correction) -> None:
        """A trade turned out to be wrong: the corrected one stands beside it."""
        self._updates[correction.symbol, correction.original_id] = "incorrect"
        self._updates[correction.symbol, correction.corrected_id] = "corrected"
        original = self.find_trade(correction.symbol, correction.original_id)
        if original is not None:
            self._trades.add(correction.symbol, _corrected(original, correction))

    def add_cancel(self, cancel: CancelError) -> None:
        """A trade was cancelled."""
        self._updates[cancel.symbol, cancel.trade_id] = "canceled"

    def update_of(self, trade: Trade) -> str | None:
        """canceled, incorrect or corrected; None for a trade that stands as it was."""
        return self._updates.get((trade.symbol, trade.trade_id))

    def trades(self, symbol: str) -> list[Trade]:
        """By time, oldest first."""
        return sorted(self._trades.of(symbol), key=lambda trade: trade.timestamp.ns)

    def quotes(self, symbol: str) -> list[Quote]:
        """By time, oldest first."""
        return sorted(self._quotes.of(symbol), key=lambda quote: quote.timestamp.ns)

    def last_trade(self, symbol: str) -> Trade | None:
        """The newest trade that may set the last price."""
        return self._last_trade.get(symbol)

    def last_quote(self, symbol: str) -> Quote | None:
        """The present best bid and ask."""
        quotes = self._quotes.of(symbol)
        return quotes[-1] if quotes else None

    def find_trade(self, symbol: str, trade_id: int) -> Trade | None:
        """A kept trade by its id."""
        trades = self._trades.of(symbol)
        return next((trade for trade in trades if trade.trade_id == trade_id), None)


def _corrected(original: Trade, correction: Correction) -> Trade:
    return Trade(
        symbol=original.symbol,
        trade_id=correction.corrected_id,
        exchange=original.exchange,
        price=correction.corrected_price,
        size=correction.corrected_size,
        conditions=correction.corrected_conditions,
        timestamp=original.timestamp,
        tape=original.tape,
    )
