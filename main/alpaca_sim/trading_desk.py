"""What stands between the sockets and the trading venue. Pure.

It feeds the venue the quotes of the tickers that concern it, and hands its events to every
connection that listens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from .assets import AssetBook
from .config import SessionPhase, SimConfig
from .messages import Quote
from .oracle import Oracle
from .trading_session import TradingSession
from .venue import TradingVenue
from .venue_config import Reply, VenueConfig

_FRAMES_BOUND = 100_000

Event = dict[str, Any]
EventFilter = Callable[["TradingReader", Event], list[Event]]


class TradingReader:
    """One connection to the trading stream, and the frames on their way to it."""

    endpoint = "trading"

    def __init__(self, number: int, session: TradingSession, wake: Callable[[], None]) -> None:
        self.number = number
        self.session = session
        self.frames: deque[bytes] = deque()
        self.wake = wake
        self.on_slow: Callable[[], None] = lambda: None

    def say(self, frames: list[bytes]) -> None:
        """Queue ready frames; orders are never dropped: too slow a reader is cut instead."""
        self.frames.extend(frames)
        if len(self.frames) > _FRAMES_BOUND:
            self.on_slow()
        if frames:
            self.wake()


class TradingDesk:
    """The venue with its readers."""

    def __init__(self, config: SimConfig, assets: AssetBook, oracle: Oracle) -> None:
        self.venue = TradingVenue(config.venue or VenueConfig(), assets)
        self.readers: dict[int, TradingReader] = {}
        self.filter: EventFilter | None = None
        self._assets = assets
        self._oracle = oracle
        self._followed: set[str] = set()
        self._count = 0
        self._credentials = config.credentials

    def request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, now_ns: int
    ) -> Reply:
        """One REST call."""
        reply = self.venue.request(method, path, query, body, now_ns)
        self.deliver()
        return reply

    def symbols_of(self, path: str, body: bytes) -> list[str]:
        """The tickers that a call is about, as the market knows them."""
        named = [path.rsplit("/", 1)[-1]] if path.startswith("/v2/positions/") else []
        if body and path == "/v2/orders":
            try:
                order = msgspec.json.decode(body)
            except (msgspec.DecodeError, UnicodeDecodeError):
                order = None
            if isinstance(order, dict) and isinstance(order.get("symbol"), str):
                named.append(order["symbol"])
        found = (self._assets.find(name) for name in named)
        return [asset.symbol for asset in found if asset is not None]

    def follow(self, quote: Quote, now_ns: int) -> None:
        """From now on the venue sees this ticker's quotes, beginning with this one."""
        if quote.symbol not in self._followed:
            self._followed.add(quote.symbol)
            self._pass_quote(quote, now_ns)

    def on_quote(self, quote: Quote, now_ns: int) -> None:
        """The market moved."""
        if quote.symbol in self._followed:
            self._pass_quote(quote, now_ns)

    def advance(self, now_ns: int) -> None:
        """Let delayed order transitions happen."""
        self.venue.advance(now_ns)
        self.deliver()

    def set_session(self, phase: SessionPhase, now_ns: int) -> None:
        """The market clock moved."""
        self.venue.set_session(phase, now_ns)
        self.deliver()

    def open_reader(self, encoding: str, wake: Callable[[], None]) -> TradingReader:
        """A trading-stream connection was accepted."""
        self._count += 1
        session = TradingSession(self._credentials, encoding=encoding)
        reader = TradingReader(self._count, session, wake)
        self.readers[reader.number] = reader
        return reader

    def close_reader(self, reader: TradingReader) -> None:
        """A trading-stream connection has ended."""
        self.readers.pop(reader.number, None)

    def deliver(self) -> None:
        """Hand the venue's new events to everyone who listens."""
        for event in self.venue.take_events():
            self._oracle.order_events.append(event)
            for reader in list(self.readers.values()):
                passed = [event] if self.filter is None else self.filter(reader, event)
                for each in passed:
                    frame = reader.session.offer(each)
                    if frame is not None:
                        reader.say([frame])

    def tell_late(self, number: int, event: Event) -> None:
        """An event that was held back."""
        reader = self.readers.get(number)
        frame = reader.session.offer(event) if reader else None
        if reader is not None and frame is not None:
            reader.say([frame])

    def _pass_quote(self, quote: Quote, now_ns: int) -> None:
        self.venue.on_quote(
            quote.symbol,
            Decimal(str(quote.bid_price)),
            Decimal(str(quote.ask_price)),
            Decimal(str(quote.bid_size)),
            Decimal(str(quote.ask_size)),
            now_ns,
        )
