"""The whole local Alpaca without its sockets: market, streams, REST, venue, oracle. Pure.

One thread calls it. Time comes in with each call, as nanoseconds by the simulator's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .assets import AssetBook
from .config import SimConfig
from .data_session import DataSession, Turn
from .encoding import encoding_for
from .feeds import Feed, MarketName
from .history import History
from .hub import Hub, Reader
from .limits import RateWindow, Slots
from .market import FAKEPACA, Market
from .messages import CHANNEL_OF, CancelError, Correction, MarketMessage, Quote, Trade
from .oracle import Oracle
from .outbox import Published
from .rest import RestApi
from .trading_desk import TradingDesk
from .trading_hours import TradingHours, hours_for
from .venue_config import Reply

_HALF_MINUTE_NS = 30_000_000_000


class Simulator:
    """Everything that happens, given the time and what clients send."""

    def __init__(self, config: SimConfig, now_ns: int) -> None:
        self.config = config
        self.assets = AssetBook.built_in(config.tickers, any_ticker=config.any_ticker)
        self.hours: TradingHours = hours_for(config.market.session)
        self.history = History(config.market.history_per_symbol)
        self.oracle = Oracle(config.market.history_per_symbol)
        self.hub = Hub()
        self.market = Market(self.assets, config.market, self._on_event)
        self.slots = Slots(config.streams.connection_limit)
        self.handshakes: dict[str, RateWindow] = {}
        self.desk = TradingDesk(config, self.assets, self.oracle)
        self.rest = RestApi(self)
        self._reader_count = 0
        self._phase_until_ns = 0
        self._next_mark_ns = now_ns - now_ns % _HALF_MINUTE_NS + _HALF_MINUTE_NS
        self._now_ns = now_ns
        self._follow_the_hours(now_ns)
        for symbol in config.market.rates:
            self.activate(symbol, now_ns)

    # Time

    def tick(self, now_ns: int) -> None:
        """Let everything happen that is due."""
        self._now_ns = now_ns
        self._follow_the_hours(now_ns)
        self.market.advance(now_ns)
        if now_ns >= self._next_mark_ns:
            self._close_bars(now_ns)
        self.hub.release_delayed(now_ns)
        self.desk.advance(now_ns)

    def _follow_the_hours(self, now_ns: int) -> None:
        if now_ns < self._phase_until_ns:
            return
        rolled = self._phase_until_ns > 0
        phase, self._phase_until_ns = self.hours.phase(now_ns)
        if rolled and phase == "regular":
            # The virtual session never closes, but its day does: day orders end here.
            self.desk.set_session("closed", now_ns)
        self.market.set_phase(phase, now_ns)
        self.desk.set_session(phase, now_ns)

    def _close_bars(self, now_ns: int) -> None:
        mark, self._next_mark_ns = self._next_mark_ns, self._next_mark_ns + _HALF_MINUTE_NS
        if now_ns - mark > 2 * _HALF_MINUTE_NS:  # the clock was stepped
            self._next_mark_ns = now_ns - now_ns % _HALF_MINUTE_NS + _HALF_MINUTE_NS
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

    def publish(self, message: MarketMessage, now_ns: int) -> int:
        """Let a message happen: kept, recorded, and sent to whom it concerns. Its serial."""
        serial = 0
        if isinstance(message, Trade):
            self.history.add_trade(message)
            serial = self.oracle.record(message)
        elif isinstance(message, Quote):
            self.history.add_quote(message)
            self.desk.on_quote(message, now_ns)
        elif isinstance(message, Correction):
            self.history.add_correction(message)
        elif isinstance(message, CancelError):
            self.history.add_cancel(message)
        item = Published(message, CHANNEL_OF[type(message)], serial)
        self.hub.publish(_market_of(message.symbol), item, now_ns)
        return serial

    def _on_event(self, event: Quote | Trade) -> None:
        self.publish(event, self._now_ns)

    def _publish_all(self, messages: Sequence[MarketMessage], now_ns: int) -> None:
        for message in messages:
            item = Published(message, CHANNEL_OF[type(message)])
            self.hub.publish(_market_of(message.symbol), item, now_ns)

    # Data streams

    def allow_handshake(self, path: str, now_ns: int) -> bool:
        """Whether this handshake is one too many within the window (HTTP 429)."""
        rules = self.config.streams
        window = self.handshakes.get(path)
        if window is None:
            window = RateWindow(rules.handshake_limit, rules.handshake_window_s)
            self.handshakes[path] = window
        return window.take(now_ns).allowed

    def open_reader(
        self, feed: Feed, headers: Mapping[str, str], wake: Callable[[], None], now_ns: int
    ) -> Reader:
        """A data connection was accepted: its conversation begins."""
        self._reader_count += 1
        session = DataSession(
            feed,
            encoding_for(headers.get("Content-Type")),
            self.config.credentials,
            self.config.streams,
            lambda: self._admit(reader),
        )
        reader = Reader(self._reader_count, session, self.config.streams)
        reader.wake = wake
        self._now_ns = now_ns
        self.hub.attach(reader)
        return reader

    def subscribed(self, reader: Reader, now_ns: int) -> None:
        """A connection's subscriptions have changed: route, and wake the tickers."""
        market = reader.session.feed.market
        for _, symbol in reader.session.subscriptions.entries():
            if symbol != "*" and (market == "test") == (symbol == FAKEPACA.symbol):
                self.activate(symbol, now_ns)
            elif symbol == "*":
                self._activate_all(market, now_ns)
        self.hub.resubscribe(reader)

    def hear(self, reader: Reader, frame: bytes | str) -> Turn | None:
        """What the server says to a client's frame; None: the connection dies instead."""
        return reader.session.receive(frame)

    def ack_delay_s(self, reader: Reader) -> float:
        """How long an ack takes."""
        return self.config.streams.ack_delay_s

    def note_time(self, now_ns: int) -> None:
        """The time at which the next thing is heard."""
        self._now_ns = now_ns

    def close_reader(self, reader: Reader, *, clean: bool, now_ns: int) -> None:
        """A data connection has ended. Unclean: its slot stays taken for a while."""
        self.hub.detach(reader)
        if reader.slot is not None:
            zombie_ns = int(self.config.streams.zombie_slot_s * 1e9)
            self.slots.release(reader.slot, 0 if clean or not zombie_ns else now_ns + zombie_ns)
            reader.slot = None

    def _admit(self, reader: Reader) -> int | None:
        by_user = self.config.streams.connection_limit_key == "user"
        key = "user" if by_user else reader.session.feed.path
        if not self.slots.acquire(key, self._now_ns):
            return 406
        reader.slot = key
        return None

    def _activate_all(self, market: MarketName, now_ns: int) -> None:
        if market == "test":
            self.activate(FAKEPACA.symbol, now_ns)
        elif market in ("stocks", "crypto"):
            for asset in list(self.assets):
                if _market_of(asset.symbol) == market:
                    self.activate(asset.symbol, now_ns)

    # Trading

    def trading_request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, now_ns: int
    ) -> Reply:
        """One trading REST call; the tickers that it concerns come to life first."""
        for symbol in self.desk.symbols_of(path, body):
            if self.activate(symbol, now_ns):
                quote = self.history.last_quote(symbol)
                if quote is not None:
                    self.desk.follow(quote, now_ns)
        return self.desk.request(method, path, query, body, now_ns)


def _market_of(symbol: str) -> MarketName:
    if symbol == FAKEPACA.symbol:
        return "test"
    return "crypto" if "/" in symbol else "stocks"
