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

    def channels(self, names: TradeNames) -> tuple[str, ...]:
        """The channels, or the one pattern. One symbol's channels are named one by one: a Redis
        user may be granted `trades:*` and then subscribe to each of them, but not to a pattern
        among them; and a pattern costs every publisher a comparison."""
        if self.symbol is None:
            return (names.pattern(self.kind),)
        if self.kind is not None:
            return (names.channel(self.symbol, self.kind),)
        return tuple(names.channel(self.symbol, kind) for kind in (*TradeEventType, ANOMALY))

    def wants(self, event: TradeEvent) -> bool:
        if self.symbol is not None and event.symbol != self.symbol:
            return False
        if self.kind is None:
            return True
        return self.kind == (ANOMALY if event.anomaly else event.event_type)
