"""Callbacks on tickers: one queue and one thread for all of a policy, and never two at once."""

from __future__ import annotations

import inspect
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..event_log import EventLog
from ..tracebacks import plain_traceback
from .errors import RegistrationRejected
from .follow_options import FollowOptions
from .followed import Followed
from .leases import DataKind
from .messages import (
    BarMessage,
    CorrectionMessage,
    GapMessage,
    OrderMessage,
    PriceMessage,
    QuoteMessage,
    StatusMessage,
)
from .outlet import Handler, Policy
from .own_orders import OwnOrders

log: Final = EventLog("tickerbus.client")

Callback = Callable[[Any], object]
ERROR_LINE_S: Final = 1.0

KINDS: Final[Mapping[str, type]] = {
    "price": PriceMessage,
    "order": OrderMessage,
    "gap": GapMessage,
    "status": StatusMessage,
    "correction": CorrectionMessage,
    "quote": QuoteMessage,
    "bar": BarMessage,
}


def check_callbacks(callbacks: Mapping[str, Callback | None]) -> dict[type, Callback]:
    """Those that were given, by the type of their message.

    Raises:
        ValueError: none was given.
        TypeError: what was given cannot be called, or would have to be awaited.
    """
    found: dict[type, Callback] = {}
    for kind, callback in callbacks.items():
        if callback is None:
            continue
        if not callable(callback):
            raise TypeError(f"{kind}={callback!r} cannot be called: give a function f(message)")
        if inspect.iscoroutinefunction(callback):
            raise TypeError(
                f"{kind}={callback.__qualname__} would have to be awaited: callbacks run in a "
                "thread. Use `async for message in client.follow(…)`"
            )
        found[KINDS[kind]] = callback
    if not found:
        raise ValueError(f"no callback given: name one, of {', '.join(f'{k}=' for k in KINDS)}")
    return found


def data_of(callbacks: Mapping[type, Callback]) -> tuple[DataKind, ...]:
    """What has to be asked for, so that they are called."""
    quotes: tuple[DataKind, ...] = ("quotes",) if QuoteMessage in callbacks else ()
    bars: tuple[DataKind, ...] = ("bars",) if BarMessage in callbacks else ()
    return ("trades", *quotes, *bars)


@dataclass(frozen=True, kw_only=True)
class _Entry:
    callbacks: Mapping[type, Callback]
    all_orders: bool


class Callbacks:
    """All callbacks of one client with one policy. `turn` is shared with those of another."""

    def __init__(
        self, followed: Followed, client_id: str, policy: Policy, turn: threading.RLock
    ) -> None:
        self.policy: Policy = policy
        self.counters: Counter[str] = Counter()
        self.rejection: RegistrationRejected | None = None
        self._followed, self._turn = followed, turn
        self._own_orders = OwnOrders(client_id)
        self._entries: dict[str, list[_Entry]] = {}
        self._next_line_at, self._untold_errors = 0.0, 0

    @property
    def handler(self) -> Handler:
        return self._take

    def add(self, callbacks: Mapping[type, Callback], options: FollowOptions) -> None:
        """Call them from now on. Raises as `TickerClient.on`."""
        entry = _Entry(callbacks=callbacks, all_orders=options.all_orders)
        with self._turn:
            for ticker in options.tickers:
                self._entries.setdefault(ticker, []).append(entry)
        try:
            self._followed.join(self, options)
        except BaseException:
            with self._turn:
                for ticker in options.tickers:
                    self._entries[ticker].remove(entry)
            raise

    def leave(self, tickers: list[str]) -> None:
        self._followed.leave(self, tickers)
        with self._turn:
            for ticker in tickers:
                self._entries.pop(ticker, None)

    def learn_orders(self, ticker: str, all_orders: bool) -> None:
        with self._turn:
            for order in self._followed.order_log(ticker):
                self._own_orders.learn(order)

    def reject(self, ticker: str, error: RegistrationRejected) -> None:
        log.error("client.rejected", ticker=ticker, reason=error.reason, detail=error.detail)
        self.rejection = error
        self._followed.unsubscribe(self, ticker)

    # -- the worker's thread

    def _take(self, message: Any) -> None:
        with self._turn:
            if type(message) is OrderMessage:
                self._take_order(message)
                return
            for entry in self._entries.get(message.symbol, ()):
                self._call(entry, message)

    def _take_order(self, message: OrderMessage) -> None:
        for entry in self._entries.get(message.symbol, ()):
            if entry.all_orders:
                self._call(entry, message)
        picked = self._own_orders.pick(message)
        self.counters["foreign_orders"] += not picked
        for own in picked:
            for entry in self._entries.get(own.symbol, ()):
                if not entry.all_orders:
                    self._call(entry, own)

    def _call(self, entry: _Entry, message: Any) -> None:
        callback = entry.callbacks.get(type(message))
        if callback is None:
            return
        self.counters["handled"] += 1
        try:
            callback(message)
        except Exception:  # user code: whatever it raises ends nothing here
            self._note_error(getattr(callback, "__qualname__", repr(callback)), message)

    def _note_error(self, name: str, message: Any) -> None:
        """Counted always; told at most once a second, for it may fail with every message."""
        self.counters["handler_errors"] += 1
        if time.monotonic() < self._next_line_at:
            self._untold_errors += 1
            return
        log.error(
            "callback.raised",
            callback=name,
            id=message.id,
            more_before=self._untold_errors,
            traceback=plain_traceback(),
        )
        self._next_line_at, self._untold_errors = time.monotonic() + ERROR_LINE_S, 0
