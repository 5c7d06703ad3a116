"""Who gets what: the routes from channels to feeds, behind one lock.

The reader holds the lock once per read from its socket, not once per message.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .constants import BusNames
from .entries import decode_ticker_message, read_entry
from .errors import NotPermitted
from .feed import Feed
from .gap_tracker import UNTIMELY, Entry, Place
from .messages import OrderMessage, decode_for
from .outlet import Decode, Handler, Outlet, Undecoded


@dataclass(kw_only=True, slots=True)
class Route:
    """One channel, or one pattern of channels (`…*`), as Redis knows it."""

    channel: str
    symbol: str | None  # of the channels that carry numbered messages
    feeds: list[Feed] = field(default_factory=list)
    only_feed: Feed | None = None  # of a channel with numbered messages: its feed, if it is alone
    asked: int = 0  # SUBSCRIBEs sent whose answer has not come
    confirmed: bool = False
    refused: NotPermitted | None = None

    def add(self, feed: Feed) -> None:
        self.feeds.append(feed)
        self._find_only_feed()

    def remove(self, feed: Feed) -> None:
        self.feeds.remove(feed)
        self._find_only_feed()

    def _find_only_feed(self) -> None:
        alone = self.symbol is not None and len(self.feeds) == 1
        self.only_feed = self.feeds[0] if alone else None


class _Seq(msgspec.Struct, frozen=True):
    seq: int


class _Heartbeat(msgspec.Struct, frozen=True):
    """What the reader itself wants of a BROKER_STATUS."""

    epoch: int
    tickers: dict[str, _Seq] | None = None


_decode_heartbeat = msgspec.json.Decoder(_Heartbeat).decode


class Switchboard:
    """All but `lock` and `changed` is touched with the lock held only."""

    def __init__(self, names: BusNames) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # an answer to a SUBSCRIBE came
        self.names = names
        self.counters: Counter[str] = Counter()
        self.routes: dict[bytes, Route] = {}
        self.outlets: list[Outlet] = []
        self.retired: list[Outlet] = []  # fed by nothing any more, but perhaps not yet empty
        self.heard_epoch: int | None = None  # of the last heartbeat
        self.heartbeat_at = self.map_heard_at = float("-inf")
        self._touched: list[Outlet] = []
        self._status_key = names.BROKER_STATUS.encode()

    # -- routes

    def route(self, channel: str) -> Route:
        """The route of a channel, made if it is new."""
        key = channel.encode()
        if key not in self.routes:
            self.routes[key] = Route(channel=channel, symbol=self._symbol(channel))
        return self.routes[key]

    def feeds(self) -> Iterator[Feed]:
        for route in self.routes.values():
            yield from route.feeds

    def outlet_of(self, handler: Handler) -> Outlet | None:
        """The same handler on several channels has one queue, so that order across them stays."""
        return next((outlet for outlet in self.outlets if outlet.handler == handler), None)

    def remove(self, channel: str, handler: Handler | None) -> Route | None:
        """Take out a channel's feeds (of one handler, or all). The route, if nothing is left.

        Outlets that nothing feeds any more end by themselves, once they are empty.
        """
        route = self.routes.get(channel.encode())
        if route is None:
            return None
        for feed in [f for f in route.feeds if handler is None or f.outlet.handler == handler]:
            feed.closed = True
            route.remove(feed)
            feed.outlet.feeds -= 1
            if feed.outlet.feeds == 0:
                feed.outlet.end_when_empty()
                self.outlets.remove(feed.outlet)
                self._retire(feed.outlet)
        if route.feeds or self.is_needed_inside(channel):
            return None
        return self.routes.pop(channel.encode())

    def _retire(self, outlet: Outlet) -> None:
        self.counters.update(sum((old.counts for old in self.retired if not old.alive), Counter()))
        self.retired = [old for old in self.retired if old.alive]
        self.retired.append(outlet)

    def is_needed_inside(self, channel: str) -> bool:
        """The heartbeat is heard as long as a ticker is followed: it tells of lost messages."""
        return channel == self.names.BROKER_STATUS and any(feed.journalled for feed in self.feeds())

    def plain_decode(self) -> Decode:
        names = self.names
        return lambda channel, payload: decode_for(names, channel, payload)

    def is_journalled(self, channel: str) -> bool:
        return channel.startswith(self.names.TICKER_UPDATES) and not channel.endswith("*")

    def _symbol(self, channel: str) -> str | None:
        names = self.names
        for kind in (names.TICKER_UPDATES, names.TICKER_QUOTES, names.TICKER_BARS):
            if channel.startswith(kind) and not channel.endswith("*"):
                return channel.removeprefix(kind)
        return None

    # -- messages

    def deliver_all(self, next_reply: Callable[[], Any]) -> Iterator[Any]:
        """Stage every message that was received; yields the replies that are none.

        The hot loop: nearly every message is the next one of a ticker that one handler follows.
        """
        routes, touched, decode = self.routes, self._touched, decode_ticker_message
        while (reply := next_reply()) is not False:
            if type(reply) is not list or reply[0] != b"message":
                yield reply
                continue
            _, channel, payload = reply
            if (route := routes.get(channel)) is None:
                continue  # unsubscribed while it was under way
            if (feed := route.only_feed) is None:
                self.deliver(route, channel, payload)
                continue
            try:
                message = decode(payload)
            except msgspec.DecodeError:
                self.deliver(route, channel, payload)
                continue
            tracker, outlet = feed.tracker, feed.outlet
            if not outlet.staged:
                touched.append(outlet)
                outlet.full = outlet.room <= 0
            if (
                message.seq == tracker.expected
                and message.epoch == tracker.epoch
                and feed.is_simple
                and not outlet.full
            ):
                tracker.expected += 1
                if type(message) not in UNTIMELY:
                    feed.delivery.last = message
                elif type(message) is OrderMessage and not feed.delivery.is_new_order(message):
                    continue
                outlet.staged.append(message)
            else:
                feed.take(Entry(message, payload, message))

    def deliver(self, route: Route, channel: bytes, payload: bytes) -> None:
        """Stage one message for all that follow its channel."""
        if route.symbol is None:
            self._deliver_plain(route, channel, payload)
            return
        entry = read_entry(payload)
        if entry is None:
            self.counters["ignored"] += 1
            return
        for feed in route.feeds:
            if not feed.outlet.staged:
                self._touched.append(feed.outlet)
            feed.take(entry)

    def flush(self) -> None:
        for outlet in self._touched:
            outlet.flush()
        self._touched.clear()

    def _deliver_plain(self, route: Route, channel: bytes, payload: bytes) -> None:
        if channel == self._status_key:
            self._hear_heartbeat(payload)
        for feed in route.feeds:
            outlet = feed.outlet
            if outlet.room <= 0:
                self.counters["queue_full_dropped"] += 1
                continue
            decode = feed.delivery.decode
            assert decode is not None
            if not outlet.staged:
                self._touched.append(outlet)
            outlet.staged.append(Undecoded(channel.decode(), payload, decode))

    def _hear_heartbeat(self, payload: bytes) -> None:
        try:
            heartbeat = _decode_heartbeat(payload)
        except msgspec.DecodeError:
            return
        self.heard_epoch = heartbeat.epoch
        self.heartbeat_at = time.monotonic()
        if heartbeat.tickers is None:
            return
        self.map_heard_at = time.monotonic()
        prefix = self.names.TICKER_UPDATES
        for symbol, ticker in heartbeat.tickers.items():
            route = self.routes.get((prefix + symbol).encode())
            for feed in route.feeds if route else ():
                feed.hint(Place(heartbeat.epoch, ticker.seq))
