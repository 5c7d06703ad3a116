"""The trade event bus's errors: whose fault, and what next. None of them needs redis-py."""

from __future__ import annotations


class TradeEventError(Exception):
    """The root. `retry` says whether the same call may succeed later."""

    retry = False


class InvalidTradeEvent(TradeEventError, ValueError):
    """An event, or an argument, that cannot be what it should: nothing was written.

    `field` is where, e.g. `"data.price"`; `lack` says what is wrong there and what would be right.
    """

    def __init__(self, field: str, lack: str) -> None:
        self.field, self.lack = field, lack
        super().__init__(f"{field}: {lack}")


class PublishRefused(TradeEventError):
    """Redis refuses the event for a reason that waiting does not mend; it was not written."""

    def __init__(self, event_id: str, cause: str) -> None:
        self.event_id, self.cause = event_id, cause
        super().__init__(f"Redis refuses event {event_id}: {cause}")


class RebuildFailed(TradeEventError):
    """The log kept growing faster than it could be read; nothing was changed."""

    retry = True
