"""Pure: who wants which events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .events import TradeEvent
from .kinds import TradeEventType
from .names import ANOMALY, TradeNames

Handler: TypeAlias = Callable[[TradeEvent], Any]
LogId: TypeAlias = tuple[int, int]
BEFORE_ALL: LogId = (0, 0)


def parse_log_id(text: str) -> LogId:
    """`"1795271405000-3"`, in an order."""
    milliseconds, _, number = text.partition("-")
    return int(milliseconds), int(number or 0)


def log_id_text(log_id: LogId) -> str:
    return f"{log_id[0]}-{log_id[1]}"


@dataclass(eq=False, kw_only=True)
class Subscription:
    """One handler and what it wants. `symbol` None: every one. `kind` None: every event; ANOMALY:
    those that made no legal move. It has had, or does not want, everything up to `since`; once it
    is `served` it follows the listener's place in the log."""

    symbol: str | None
    kind: TradeEventType | str | None
    handler: Handler
    since: LogId
    served: bool = False

    def channel(self, names: TradeNames) -> str:
        """The channel, or the pattern."""
        if self.kind is None:
            return names.pattern(self.symbol)
        if self.kind == ANOMALY:
            return names.anomalies_channel(self.symbol)
        return names.channel(self.symbol or "*", TradeEventType(self.kind))

    def wants(self, event: TradeEvent) -> bool:
        if self.symbol is not None and event.symbol != self.symbol:
            return False
        if self.kind is None:
            return True
        return self.kind == (ANOMALY if event.anomaly else event.event_type)
