"""Pure: from where a late joiner wants a ticker's messages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from .gap_tracker import Place


@dataclass(frozen=True)
class Start:
    """Where a subscription begins. Made by `live`, `from_last`, `from_id` and `since`."""

    kind: Literal["live", "last", "id", "since"]
    place: Place | None = None
    timestamp: str = ""

    @classmethod
    def live(cls) -> Start:
        """What is published from now on."""
        return cls("live")

    @classmethod
    def from_last(cls) -> Start:
        """The last price (the newest that may set it), and everything after."""
        return cls("last")

    @classmethod
    def from_id(cls, entry_id: str) -> Start:
        """Everything after `"<epoch>-<seq>"`: the last message that was dealt with.

        Raises:
            ValueError: it is not such an id.
        """
        return cls("id", place=Place.parse(entry_id))

    @classmethod
    def since(cls, when: str | datetime) -> Start:
        """Everything from the first message that happened at `when` or later.

        Raises:
            ValueError: not an RFC 3339 time in UTC (`…Z`), or a `datetime` without a zone.
        """
        if isinstance(when, datetime):
            if when.tzinfo is None:
                raise ValueError("since needs a time with a zone")
            when = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        sortable_time(when)
        return cls("since", timestamp=when)


def sortable_time(timestamp: str) -> tuple[str, str]:
    """A key that sorts RFC 3339 times in UTC however many digits their seconds have.

    Raises:
        ValueError: it is not such a time.
    """
    seconds, _, fraction = timestamp.removesuffix("Z").partition(".")
    if not timestamp.endswith("Z") or len(seconds) != len("2026-11-21T14:30:05"):
        raise ValueError(f"{timestamp[:40]!r} is not a time like 2026-11-21T14:30:05.123Z")
    return seconds, fraction.ljust(9, "0")
