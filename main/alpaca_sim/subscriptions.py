"""What one market-data connection has subscribed to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from .errors import stream_error
from .feeds import AUTOMATIC, EVERY_CHANNEL, Feed

Wanted = Mapping[str, list[str]]
_UNCOUNTED_STARS = frozenset({"bars", "updatedBars", "dailyBars", "statuses", "lulds"})


class SubscriptionError(Exception):
    """A request that Alpaca refuses as a whole. `code` is Alpaca's."""

    def __init__(self, code: int) -> None:
        super().__init__(str(stream_error(code)["msg"]))
        self.code = code


class Subscriptions:
    """Channels and their symbols. A refused request changes nothing."""

    def __init__(
        self, feed: Feed, *, limit: int = 0, counts: Literal["symbols", "entries"] = "symbols"
    ) -> None:
        self._feed = feed
        self.limit = limit
        self._counts = counts
        self._channels: dict[str, dict[str, None]] = {
            name: {} for name in (*feed.acknowledged, *feed.optional)
        }

    def subscribe(self, wanted: Wanted) -> None:
        """Add symbols. Raises SubscriptionError with 405 when the plan's limit is passed."""
        after = {name: dict(symbols) for name, symbols in self._channels.items()}
        for channel, symbols in wanted.items():
            after[channel].update(dict.fromkeys(symbols))
        _follow_trades(after)
        if self.limit and self._count(after) > self.limit:
            raise SubscriptionError(405)
        self._channels = after

    def unsubscribe(self, unwanted: Wanted) -> None:
        """Take symbols away; those not subscribed are ignored."""
        for channel, symbols in unwanted.items():
            for symbol in symbols:
                self._channels[channel].pop(symbol, None)
        _follow_trades(self._channels)

    def forget(self) -> None:
        """Lose everything (a fault: the server forgot)."""
        for symbols in self._channels.values():
            symbols.clear()

    def acknowledgement(self) -> dict[str, object]:
        """The ack: always everything, `T` first."""
        ack: dict[str, object] = {"T": "subscription"}
        for channel in self._feed.acknowledged:
            ack[channel] = list(self._channels[channel])
        for channel in self._feed.optional:
            if self._channels[channel]:
                ack[channel] = list(self._channels[channel])
        return ack

    def entries(self) -> list[tuple[str, str]]:
        """Every (channel, symbol) pair, the wildcard as `*`."""
        return [(channel, s) for channel, symbols in self._channels.items() for s in symbols]

    def _count(self, channels: Mapping[str, Mapping[str, None]]) -> int:
        counted = [
            (channel, symbol)
            for channel, symbols in channels.items()
            if channel not in AUTOMATIC
            for symbol in symbols
        ]
        if any(symbol == "*" and channel not in _UNCOUNTED_STARS for channel, symbol in counted):
            return self.limit + 1
        if self._counts == "entries":
            return sum(channel in ("trades", "quotes") for channel, _ in counted)
        return len({symbol for _, symbol in counted if symbol != "*"})


def read_request(feed: Feed, request: Mapping[str, object]) -> dict[str, list[str]]:
    """The channels and symbols of a subscribe or unsubscribe.

    Raises SubscriptionError: 400 for what is malformed, 410 for a channel of another feed,
    413 for a wildcard on option quotes.
    """
    wanted: dict[str, list[str]] = {}
    for channel, symbols in request.items():
        if channel == "action" or symbols in (None, []):
            continue
        if channel not in feed.requestable:
            raise SubscriptionError(
                410 if channel in EVERY_CHANNEL and channel not in AUTOMATIC else 400
            )
        wanted[channel] = _read_symbols(feed, channel, symbols)
    return wanted


def _read_symbols(feed: Feed, channel: str, symbols: object) -> list[str]:
    if not isinstance(symbols, list):
        raise SubscriptionError(400)
    for symbol in symbols:
        if not isinstance(symbol, str):
            raise SubscriptionError(400)
        if symbol == "*":
            if feed.market == "options" and channel == "quotes":
                raise SubscriptionError(413)
        elif not feed.symbol.fullmatch(symbol):
            raise SubscriptionError(400)
    return symbols


def _follow_trades(channels: dict[str, dict[str, None]]) -> None:
    for name in AUTOMATIC:
        if name in channels:
            channels[name] = dict(channels["trades"])
