"""`TradeEvent`: one frozen, checked event. It needs neither redis-py nor a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .checks import (
    FrozenDict,
    check_data,
    check_id,
    check_symbol,
    check_text,
    check_timestamp,
    check_type,
)
from .helpers import Helpers
from .ids import default_event_id
from .kinds import SHAPES, TradeEventType


@dataclass(frozen=True, kw_only=True, slots=True)
class TradeEvent(Helpers):
    """What happened, to which symbol, when.

    `timestamp`: ISO 8601 text or a datetime, kept as RFC 3339 in UTC (`…Z`); without an offset it
    counts as UTC; without any it is now. `data` is copied, and does not change any more: see
    `kinds.SHAPES` for what each type must hold; anything else that JSON can hold may stand there
    too. `event_id`: the same id twice is the same event; not given, an order's event gets one that
    another witness of the same fact arrives at as well (see `ids.event_id_of`), any other a random
    one. `account`: whose.

    On an event that was received, `log_id` is its place in the log, and `anomaly` says why it made
    no legal move, if it made none.

    Raises:
        InvalidTradeEvent: names the field.
    """

    event_type: TradeEventType
    symbol: str
    timestamp: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str | None = None
    source: str | None = None
    event_id: str = ""
    account: str | None = None
    log_id: str | None = None
    anomaly: str | None = None

    def __post_init__(self) -> None:
        kind = check_type(self.event_type)
        symbol = check_symbol(self.symbol)
        data = check_data(self.data, SHAPES[kind])
        account = None if self.account is None else check_id(self.account, "account")
        put = object.__setattr__
        put(self, "event_type", kind)
        put(self, "timestamp", check_timestamp(self.timestamp) if self.timestamp else _now())
        put(self, "data", data)
        put(self, "account", account)
        check_text(self.correlation_id, "correlation_id")
        check_text(self.source, "source")
        given = self.event_id or default_event_id(kind, symbol, account, data)
        put(self, "event_id", check_id(given, "event_id"))

    @property
    def subject_id(self) -> str | None:
        """The id of the order or position that it is about, where its type has one."""
        subject = SHAPES[self.event_type].subject
        return self.data[f"{subject}_id"] if subject else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")[:26] + "Z"  # without its "+00:00"


def received(fields: Mapping[str, Any]) -> TradeEvent:
    """An event as Redis gave it, checked when it was published: not again."""
    event = object.__new__(TradeEvent)
    put = object.__setattr__
    put(event, "event_type", TradeEventType(fields["event_type"]))
    put(event, "data", FrozenDict(fields["data"]))
    for name in ("symbol", "timestamp", "event_id"):
        put(event, name, fields[name])
    for name in ("correlation_id", "source", "account", "log_id", "anomaly"):
        put(event, name, fields.get(name))
    return event
