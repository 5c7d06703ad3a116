"""Who gets what: the routes from channels to feeds, behind one lock.

The reader holds the lock once per read from its socket, not once per message.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import msgspec

from .constants import BusNames
from .feed import Feed, Numbers
from .messages import TypedMessage, decode_for
from .outlet import Decode, Handler, Outlet, Undecoded

_decode_typed = msgspec.json.Decoder(TypedMessage).decode
_decode_numbers = msgspec.json.Decoder(Numbers).decode


@dataclass(kw_only=True, slots=True)
class Route:
    """One channel, or one pattern of channels (`…*`), as Redis knows it."""

    channel: str
    numbered: bool
    feeds: list[Feed] = field(default_factory=list)
    asked: int = 0  # SUBSCRIBEs sent whose confirmation has not come
    confirmed: bool = False


class Switchboard:
    """Everything but `lock` and `changed` is touched with the lock held only."""

    def __init__(self, names: BusNames) -> None:
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)  # a confirmation came
        self.names = names
        self.counters: Counter[str] = Counter()
        self.routes: dict[bytes, Route] = {}
        self.outlets: list[Outlet] = []
        self._touched: list[Outlet] = []

    # -- routes

    def route(self, channel: str) -> Route:
        """The route of a channel, made if it is new."""
        key = channel.encode()
        if key not in self.routes:
            self.routes[key] = Route(channel=channel, numbered=self._is_numbered(channel))
        return self.routes[key]

    def outlet_of(self, handler: Handler) -> Outlet | None:
        """The same handler on several channels has one queue, so that order across them stays."""
        return next((outlet for outlet in self.outlets if outlet.handler == handler), None)

    def remove(self, channel: str) -> Route | None:
        """Take a channel's route out; outlets that nothing feeds any more end by themselves."""
        route = self.routes.pop(channel.encode(), None)
        for feed in route.feeds if route else ():
            feed.outlet.feeds -= 1
            if feed.outlet.feeds == 0:
                feed.outlet.end_when_empty()
                self.outlets.remove(feed.outlet)
        return route

    def plain_decode(self) -> Decode:
        names = self.names
        return lambda channel, payload: decode_for(names, channel, payload)

    def _is_numbered(self, channel: str) -> bool:
        names = self.names
        kinds = (names.TICKER_UPDATES, names.TICKER_QUOTES, names.TICKER_BARS)
        return channel.startswith(kinds) and not channel.endswith("*")

    # -- messages

    def deliver(self, pattern: bytes, channel: bytes, payload: bytes) -> None:
        """Stage one message for all that follow its channel. `flush` hands over what is staged."""
        route = self.routes.get(pattern)
        if route is None:
            return  # unsubscribed while it was under way
        if not route.numbered:
            self._deliver_plain(route, channel, payload)
            return
        message: TypedMessage | None
        numbers: TypedMessage | Numbers
        try:
            numbers = message = _decode_typed(payload)
        except msgspec.ValidationError:
            numbers, message = self._read_numbers(payload), None
        except msgspec.DecodeError:
            self.counters["ignored"] += 1
            return
        for feed in route.feeds:
            outlet = feed.outlet
            if not outlet.staged:
                self._touched.append(outlet)
            tracker = feed.tracker
            if (
                numbers.seq == tracker.expected  # type: ignore[union-attr]
                and numbers.epoch == tracker.epoch  # type: ignore[union-attr]
                and feed.decode is None
                and message is not None
            ):
                tracker.expected += 1  # type: ignore[union-attr]
                outlet.staged.append(message)
            else:
                feed.take(payload, message, numbers)

    def flush(self) -> None:
        for outlet in self._touched:
            if outlet.staged:
                outlet.flush()
        self._touched.clear()

    def _deliver_plain(self, route: Route, channel: bytes, payload: bytes) -> None:
        for feed in route.feeds:
            outlet = feed.outlet
            if outlet.room <= 0:
                self.counters["queue_full_dropped"] += 1
                continue
            assert feed.decode is not None
            if not outlet.staged:
                self._touched.append(outlet)
            outlet.staged.append(Undecoded(channel.decode(), payload, feed.decode))

    def _read_numbers(self, payload: bytes) -> Numbers:
        try:
            return _decode_numbers(payload)
        except msgspec.DecodeError:
            return Numbers()
