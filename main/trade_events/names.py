"""Every channel and key of the trade event bus: the only place in Python where one is spelled.

The server-side functions make the same names from the same prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .kinds import Subject, TradeEventType

ANOMALY: Final = "anomaly"  # stands where the event type stands in a channel's name


@dataclass(frozen=True)
class TradeNames:
    """The names of one bus: all of them start with `prefix`."""

    prefix: str = ""

    def channel(self, symbol: str, kind: TradeEventType | str) -> str:
        """`trades:XAUUSD:order.created`, or `trades:XAUUSD:anomaly`."""
        return f"{self.prefix}trades:{symbol}:{kind}"

    def pattern(self, kind: TradeEventType | str | None) -> str:
        """Of every symbol: all channels, or those of one kind."""
        return f"{self.prefix}trades:*" if kind is None else f"{self.prefix}trades:*:{kind}"

    def sender(self, name: str) -> str:
        """The number of the last batch that one sender got through."""
        return f"{self.prefix}trades:sender:{name}"

    def state(self, subject: Subject, symbol: str, subject_id: str) -> str:
        """The hash of one order or position: `order:XAUUSD:12345`."""
        return f"{self.prefix}{subject}:{symbol}:{subject_id}"

    def every_state(self, subject: Subject, symbol: str | None = None) -> str:
        """A pattern of keys. No prefix and no symbol holds a glob character."""
        return f"{self.prefix}{subject}:{symbol or '*'}:*"

    def open_index(self, subject: Subject, symbol: str) -> str:
        """Sorted set: ids of what is open, by the time of its opening in ms."""
        head = "orders:open:" if subject == "order" else "positions:active:"
        return f"{self.prefix}{head}{symbol}"

    @property
    def log(self) -> str:
        """Stream: every event of every symbol, in the order of publication."""
        return f"{self.prefix}trades:log"

    @property
    def anomalies(self) -> str:
        """Stream: the events that made no legal move."""
        return f"{self.prefix}trades:anomalies"

    @property
    def failed(self) -> str:
        """Stream: what handlers and durable consumers failed at."""
        return f"{self.prefix}trades:failed"

    @property
    def config(self) -> str:
        """Hash: the operational configuration."""
        return f"{self.prefix}trades:config"

    @property
    def counters(self) -> str:
        """Hash: what happened so far."""
        return f"{self.prefix}trades:counters"

    @property
    def symbols(self) -> str:
        """Set: the symbols that ever had an order or a position."""
        return f"{self.prefix}trades:symbols"

    @property
    def shadow(self) -> str:
        """What `rebuild` puts before the names of the state that it makes aside."""
        return f"{self.prefix}trades:rebuild:"
