"""What a client follows, and for whom: channels of the bus, and holds at the broker."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from .errors import IllegalUse, RegistrationRejected
from .follow_options import FollowOptions
from .holds import Holds
from .leases import DataKind
from .messages import OrderMessage
from .outlet import Handler, Policy
from .start import Start
from .subscriber import RedisSubscriber

LIVE: Final = Start.live()


class Follower(Protocol):
    """A stream, or the callbacks."""

    @property
    def handler(self) -> Handler: ...
    @property
    def policy(self) -> Policy: ...
    def learn_orders(self, ticker: str, all_orders: bool) -> None: ...
    def reject(self, ticker: str, error: RegistrationRejected) -> None: ...


class Followed:
    """Any thread may call it. Joining and leaving of one follower take turns."""

    def __init__(self, bus: RedisSubscriber, holds: Holds) -> None:
        self._bus, self._holds = bus, holds
        self._lock = threading.Lock()
        self._channels: dict[Follower, dict[str, list[str]]] = {}

    def tickers_of(self, follower: Follower) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._channels.get(follower, ()))

    def order_log(self, ticker: str) -> Iterator[OrderMessage]:
        return self._bus.orders(ticker)

    def join(self, follower: Follower, options: FollowOptions) -> None:
        """Follow; what the follower has already stays as it is.

        Raises:
            RegistrationRejected, RedisUnavailable, IllegalUse: nothing more is followed.
        """
        joined: list[tuple[str, str]] = []
        try:
            # Listening comes first: what is published after the broker's answer is not missed.
            for ticker in options.tickers:
                for channel in self._missing(follower, ticker, options):
                    self._subscribe(follower, channel, options.starts[ticker])
                    self._note(follower, ticker, channel)
                    joined.append((ticker, channel))
                follower.learn_orders(ticker, options.all_orders)
            self._holds.acquire(follower, options.tickers, options.data)
        except BaseException:
            for ticker, channel in joined:
                self._forget(follower, ticker, channel)
            raise

    def leave(self, follower: Follower, tickers: Iterable[str]) -> None:
        tickers = list(tickers)
        for ticker in tickers:
            self.unsubscribe(follower, ticker)
        self._holds.release(follower, tickers)

    def unsubscribe(self, follower: Follower, ticker: str) -> None:
        """From the bus alone."""
        with self._lock:
            known = self._channels.get(follower, {})
            channels = known.pop(ticker, [])
            if not known:
                self._channels.pop(follower, None)
        for channel in channels:
            self._bus.unsubscribe(channel, follower.handler)

    def _missing(self, follower: Follower, ticker: str, options: FollowOptions) -> list[str]:
        with self._lock:
            known = self._channels.get(follower, {}).get(ticker, [])
        if known and options.starts[ticker] != LIVE:
            raise IllegalUse(f"{ticker} is followed already: say from where when you begin")
        return [each for each in self._channels_of(ticker, options.data) if each not in known]

    def _subscribe(self, follower: Follower, channel: str, start: Start) -> None:
        journalled = channel.startswith(self._bus.names.TICKER_UPDATES)
        self._bus.subscribe(
            channel,
            follower.handler,
            start=start if journalled else LIVE,
            policy=follower.policy,
        )

    def _note(self, follower: Follower, ticker: str, channel: str) -> None:
        with self._lock:
            self._channels.setdefault(follower, {}).setdefault(ticker, []).append(channel)

    def _forget(self, follower: Follower, ticker: str, channel: str) -> None:
        self._bus.unsubscribe(channel, follower.handler)
        with self._lock:
            known = self._channels.get(follower, {})
            if channel in known.get(ticker, []):
                known[ticker].remove(channel)
            if not known.get(ticker):
                known.pop(ticker, None)

    def _channels_of(self, ticker: str, data: Iterable[DataKind]) -> Iterator[str]:
        names = self._bus.names
        yield names.get_ticker_channel(ticker)
        if "quotes" in data:
            yield names.get_quotes_channel(ticker)
        if "bars" in data:
            yield names.get_bars_channel(ticker)
