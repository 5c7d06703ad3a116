"""Whether Redis takes events, told once when that changes."""

from __future__ import annotations

from typing import Final

import structlog

from .counts import Counts

log: Final = structlog.get_logger("tickerbus.trade_events")


class Health:
    """Any thread reads; whoever has the sender's turn writes."""

    def __init__(self, counters: Counts, capacity: int) -> None:
        self.trouble: str | None = None  # why Redis is not taking events, while it is not
        self.behind = False  # somebody waited too long for Redis: the next need not wait as well
        self._counters, self._capacity = counters, capacity
        self._dropping = False

    def note_trouble(self, error: BaseException, spooled: int) -> None:
        self.behind = True
        if self.trouble is None:
            log.warning("trade_events.redis_unavailable", error=str(error), spooled=spooled)
        self.trouble = str(error)
        self._counters.add("send_failures")

    def note_recovery(self, spooled: int) -> None:
        self.behind = False
        self._dropping = False
        if self.trouble is not None:
            self.trouble = None
            log.info("trade_events.redis_back", spooled=spooled)

    def note_dropped(self, count: int) -> None:
        self._counters.add("dropped", count)
        if not self._dropping:
            self._dropping = True
            log.error("trade_events.spool_full", capacity=self._capacity, trouble=self.trouble)
