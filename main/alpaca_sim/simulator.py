"""The whole local Alpaca without its sockets: market, streams, REST, venue, oracle. Pure.

One thread calls it. Time comes in with each call, as nanoseconds by the simulator's clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .assets import AssetBook, invent_asset
from .config import SessionPhase, SimConfig
from .data_streams import DataStreams
from .fault_board import FaultBoard
from .feeds import MarketName
from .history import History
from .hub import Hub
from .market import FAKEPACA, Market
from .messages import (
    CHANNEL_OF,
    CancelError,
    Correction,
    MarketMessage,
    Quote,
    Trade,
    book_of,
    in_round_lots,
)
from .oracle import Oracle
from .outbox import Published
from .replay import Replay
from .rest import RestApi
from .trading_desk import TradingDesk
from .trading_hours import TradingHours, hours_for
from .venue_config import Reply

_HALF_MINUTE_NS = 30_000_000_000
_MARKS_MADE_UP_NS = 20 * _HALF_MINUTE_NS


class Simulator:
    """Everything that happens, given the time and what clients send."""

    def __init__(self, config: SimConfig, now_ns: int) -> None:
        self.config = config
        self.assets = AssetBook.built_in(config.tickers, any_ticker=config.any_ticker)
        self.hours: TradingHours = hours_for(config.market.session)
        bounds = config.market.history_per_symbol, config.market.history_total
        self.history = History(*bounds)
        self.oracle = Oracle(*bounds)
        self.hub = Hub()
        self.market = Market(self.assets, config.market, self._on_event)
        self.desk = TradingDesk(config, self.assets, self.oracle)
        self.board = FaultBoard(self.hub.offer_late, self.desk.tell_late)
        self.streams = DataStreams(config, self.hub, self.board, self._interest)
        self.hub.filter = self.board.filter_data
        self.hub.faulty = self.board.busy
        self.desk.filter = self.board.filter_event
        self.rest = RestApi(self)
        self.replay: Replay | None = None
        self._round_lots = config.streams.quote_size_unit == "round_lots"
        self._phase_until_ns = 0
        self.forced_phase: SessionPhase | None = None
        self._next_mark_ns = _next_mark(now_ns)
        self._now_ns = now_ns
        self._follow_the_hours(now_ns)
        for symbol in config.market.rates:
            self.activate(symbol, now_ns)

    # Time

    def note_time(self, now_ns: int) -> None:
        """The time at which the next thing happens."""
        self._now_ns = now_ns
        self.board.tick(now_ns)

    def shift_time(self, by_ns: int, now_ns: int) -> None:
        """The clock was stepped: what was to happen soon still happens soon."""
        for part in (self.market, self.streams, self.board, self.rest):
            part.shift(by_ns)
        if by_ns < 0:
            self._next_mark_ns = _next_mark(now_ns)
        if self.forced_phase is None:
            phase, self._phase_until_ns = self.hours.phase(now_ns)
            self._set_phase(phase, now_ns)

    def tick(self, now_ns: int) -> None:
        """Let everything happen that is due."""
        self.note_time(now_ns)
        self._follow_the_hours(now_ns)
        self.market.advance(now_ns)
        self._play(now_ns)
        while now_ns >= self._next_mark_ns:
            self._close_bars(now_ns)
        self.hub.release_delayed(now_ns)
        self.desk.advance(now_ns)

    def _follow_the_hours(self, now_ns: int) -> None:
        if now_ns < self._phase_until_ns or self.forced_phase is not None:
            return
        rolled = self._phase_until_ns > 0
        phase, self._phase_until_ns = self.hours.phase(now_ns)
        if rolled and phase == "regular":
            # The virtual session never closes, but its day does: day orders end here.
            self.desk.set_session("closed", now_ns)
        self._set_phase(phase, now_ns)

    def force_phase(self, phase: SessionPhase | None, now_ns: int) -> None:
        """Open or close the market by hand; None goes back to its hours."""
        self.forced_phase = phase
        self._phase_until_ns = 0
        if phase is None:
            self._follow_the_hours(now_ns)
        else:
            self._set_phase(phase, now_ns)

    def _set_phase(self, phase: SessionPhase, now_ns: int) -> None:
        self.market.set_phase(phase, now_ns)
        self.desk.set_session(phase, now_ns)

    def start_replay(self, replay: Replay, prices: Mapping[str, float], now_ns: int) -> None:
        """Play recorded events; their tickers no longer walk, and begin at these prices."""
        for symbol, price in prices.items():
            if self.assets.find(symbol) is None:
                self.assets.add(invent_asset(symbol))
            self.market.start_prices[symbol] = price
            self.activate(symbol, now_ns)
            self.market.set_rate(symbol, 0.0, now_ns)
        self.replay = replay

    def _play(self, now_ns: int) -> None:
        if self.replay is None:
            return
        for event in self.replay.due(now_ns):
            self.market.follow(event)
            self.publish(event, now_ns)
        if self.replay.done:
            self.replay = None

    def _close_bars(self, now_ns: int) -> None:
        mark, self._next_mark_ns = self._next_mark_ns, self._next_mark_ns + _HALF_MINUTE_NS
        if now_ns - mark > _MARKS_MADE_UP_NS:  # the clock was stepped far
            self._next_mark_ns = _next_mark(now_ns)
        bars = self.history.bars
        if mark % (2 * _HALF_MINUTE_NS):
            self._publish_all(bars.updated(), now_ns)
        else:
            self._publish_all(bars.close_minute(mark), now_ns)
            self._publish_all(bars.daily(mark), now_ns)

    # The market

    def activate(self, symbol: str, now_ns: int) -> bool:
        """Bring a ticker to life; False if nobody knows it."""
        known = symbol in self.market.live
        walk = self.market.activate(symbol, now_ns)
        if walk is None:
            return False
        if not known and self.history.last_trade(walk.asset.symbol) is None:
            self.history.set_first_trade(walk.last_print(now_ns))
        return True

    def _interest(self, market: MarketName, symbol: str, now_ns: int) -> None:
        if symbol == "*":
            self._activate_all(market, now_ns)
        elif (market == "test") == (symbol == FAKEPACA.symbol):
            self.activate(symbol, now_ns)

    def _activate_all(self, market: MarketName, now_ns: int) -> None:
        if market == "test":
            self.activate(FAKEPACA.symbol, now_ns)
        elif market in ("stocks", "crypto"):
            for asset in list(self.assets):
                if _market_of(asset.symbol) == market:
                    self.activate(asset.symbol, now_ns)

    def show_quote(self, symbol: str, now_ns: int) -> None:
        """From now on the venue sees this ticker's quotes."""
        asset = self.assets.find(symbol)
        if asset is not None and self.activate(asset.symbol, now_ns):
            quote = self.history.last_quote(asset.symbol)
            if quote is not None:
                self.desk.follow(quote, now_ns)

    def requote(self, symbol: str, now_ns: int) -> None:
        """The present quote again, after something has changed it."""
        walk = self.market.activate(symbol, now_ns)
        if walk is not None:
            self.publish(walk.quote(now_ns), now_ns)
            self.desk.deliver()

    def publish(self, message: MarketMessage, now_ns: int) -> int:
        """Let a message happen: kept, recorded, and sent to whom it concerns. Its serial."""
        serial = 0
        if isinstance(message, Trade):
            self.history.add_trade(message)
            serial = self.oracle.record(message)
        elif isinstance(message, Quote):
            self.history.add_quote(message)
            self.desk.on_quote(message, now_ns)
            message = self._shown(message, now_ns)
        elif isinstance(message, Correction):
            self.history.add_correction(message)
        elif isinstance(message, CancelError):
            self.history.add_cancel(message)
        self._send(message, now_ns, serial)
        return serial

    def _shown(self, quote: Quote, now_ns: int) -> Quote:
        # What the streams make of a quote: a pair's order book, or sizes in another unit.
        if "/" in quote.symbol:
            self._send(book_of(quote), now_ns)
            return quote
        return in_round_lots(quote) if self._round_lots else quote

    def _send(self, message: MarketMessage, now_ns: int, serial: int = 0) -> None:
        item = Published(message, CHANNEL_OF[type(message)], serial)
        self.hub.publish(_market_of(message.symbol), item, now_ns)

    def _on_event(self, event: Quote | Trade) -> None:
        self.publish(event, self._now_ns)

    def _publish_all(self, messages: Sequence[MarketMessage], now_ns: int) -> None:
        for message in messages:
            self._send(message, now_ns)

    # Trading

    def trading_request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, now_ns: int
    ) -> Reply:
        """One trading REST call; the tickers that it concerns come to life first."""
        for symbol in self.desk.symbols_of(path, body):
            self.show_quote(symbol, now_ns)
        return self.desk.request(method, path, query, body, now_ns)


def _next_mark(now_ns: int) -> int:
    return now_ns - now_ns % _HALF_MINUTE_NS + _HALF_MINUTE_NS


def _market_of(symbol: str) -> MarketName:
    if symbol == FAKEPACA.symbol:
        return "test"
    return "crypto" if "/" in symbol else "stocks"
