"""Pure: what the heartbeats say of the broker, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .messages import BrokerStatus

SILENCE_S: Final = 3.0  # three heartbeats missed: there is no broker
WORKING: Final = ("RUNNING", "DEGRADED")
FLOWING: Final = ("LIVE", "QUIET")
UNKNOWN, AWAY = "UNKNOWN", "AWAY"


@dataclass(frozen=True, kw_only=True)
class BrokerView:
    """The broker as it is now. Times are RFC 3339, UTC: since when its neighbour is what it is.

    `state` is the broker's own word; `AWAY` after 3 s without a heartbeat, and `UNKNOWN` until the
    first one. `prices_ready`: prices flow. `orders_ready` false means: send no new entries.
    """

    state: str
    ready: bool
    since: str
    prices_ready: bool
    prices_since: str
    orders_ready: bool
    orders_since: str
    status: BrokerStatus | None

    @property
    def away(self) -> bool:
        """No heartbeat for 3 s."""
        return self.state == AWAY


@dataclass(kw_only=True)
class _Fact:
    """Something that is so, or is not, since a moment."""

    holds: bool = False
    since: str

    def note(self, holds: bool, when: str) -> None:
        if holds != self.holds:
            self.holds, self.since = holds, when


class BrokerWatch:
    """Fed with every heartbeat. `now` is the monotonic clock, in seconds."""

    def __init__(self, now: float, moment: str) -> None:
        """`moment` is the same time as RFC 3339."""
        self._heard_at = now
        self._opened = moment
        self._status: BrokerStatus | None = None
        self._prices, self._orders = _Fact(since=moment), _Fact(since=moment)
        self._all = _Fact(since=moment)

    def hear(self, status: BrokerStatus, now: float) -> None:
        first, was_away = self._status is None, self.is_away(now)
        if was_away and self._status is not None:
            for fact in (self._prices, self._orders, self._all):
                fact.note(False, self._status.timestamp)
        self._status, self._heard_at = status, now
        working = status.state in WORKING
        prices, orders = status.upstream.prices, status.upstream.orders
        # Who comes late takes the streams' own word for how long it has been so.
        self._prices.note(
            working and prices.state in FLOWING, prices.since if first else status.timestamp
        )
        self._orders.note(working and orders.ready, orders.since if first else status.timestamp)
        latest = max(self._prices.since, self._orders.since) if first else status.timestamp
        self._all.note(self._prices.holds and self._orders.holds, latest)

    def is_away(self, now: float) -> bool:
        return now - self._heard_at >= SILENCE_S

    def view(self, now: float) -> BrokerView:
        status = self._status
        if status is None or self.is_away(now):
            return self._silent(AWAY if self.is_away(now) else UNKNOWN)
        return BrokerView(
            state=status.state,
            ready=self._all.holds,
            since=self._all.since,
            prices_ready=self._prices.holds,
            prices_since=self._prices.since,
            orders_ready=self._orders.holds,
            orders_since=self._orders.since,
            status=status,
        )

    def _silent(self, state: str) -> BrokerView:
        last = self._status.timestamp if self._status else self._opened
        facts = (self._all, self._prices, self._orders)
        since, prices_since, orders_since = (last if f.holds else f.since for f in facts)
        return BrokerView(
            state=state,
            ready=False,
            since=since,
            prices_ready=False,
            prices_since=prices_since,
            orders_ready=False,
            orders_since=orders_since,
            status=self._status,
        )
