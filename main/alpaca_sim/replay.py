"""Recorded events, played again: at true speed, N times, or as fast as possible. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from .messages import Quote, Timestamp, Trade

_AT_ONCE = 20_000  # events a step when there is no speed to keep


class Replay:
    """Hands out events when they are due.

    With `shift` every event carries the moment at which it is played; without, its own time.
    `speed` 0 is as fast as possible.
    """

    def __init__(
        self, events: Sequence[Trade | Quote], *, speed: float, shift: bool, start_ns: int
    ) -> None:
        if speed < 0:
            raise ValueError(f"speed must not be negative: {speed}")
        self._events = events
        self._speed = speed
        self._shift = shift
        self._start_ns = start_ns
        self._first_ns = events[0].timestamp.ns if events else 0
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether everything has been played."""
        return self._next >= len(self._events)

    @property
    def played(self) -> int:
        """How many events have been played."""
        return self._next

    def due(self, now_ns: int) -> Iterator[Trade | Quote]:
        """What is to happen by now. `now_ns` runs at true speed from `start_ns`."""
        last = min(self._next + _AT_ONCE, len(self._events))
        while self._next < last:
            event = self._events[self._next]
            at_ns = self._moment(event.timestamp.ns)
            if self._speed and at_ns > now_ns:
                return
            self._next += 1
            yield _moved(event, at_ns if self._speed else now_ns) if self._shift else event

    def _moment(self, recorded_ns: int) -> int:
        if not self._speed:
            return self._start_ns
        return self._start_ns + int((recorded_ns - self._first_ns) / self._speed)


def first_prices(events: Sequence[Trade | Quote]) -> dict[str, float]:
    """Where each ticker begins: its first trade's price, or its first bid."""
    prices: dict[str, float] = {}
    for event in events:
        price = event.price if isinstance(event, Trade) else event.bid_price
        prices.setdefault(event.symbol, price)
    return prices


def _moved(event: Trade | Quote, at_ns: int) -> Trade | Quote:
    return msgspec.structs.replace(event, timestamp=Timestamp(at_ns))
