"""What became of a published event."""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import PublishRefused

Status = Literal["published", "duplicate", "anomaly", "spooled", "dropped"]


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """`published`; `duplicate`: this event id was there before, so nothing changed; `anomaly`: it
    made no legal move (`reason` says why), so it was logged, counted and told, and the state stays;
    `spooled`: Redis is away or slow, it goes out later and in order; `dropped`: the spool is full.
    """

    event_id: str
    status: Status
    log_id: str | None = None
    reason: str | None = None


def read_outcome(event_id: str, outcome: bytes) -> Receipt | PublishRefused:
    """One part of the publishing function's reply."""
    kind, rest = outcome[:1], outcome[1:].decode(errors="replace")
    if kind == b"P":
        return Receipt(event_id=event_id, status="published", log_id=rest)
    if kind == b"D":
        return Receipt(event_id=event_id, status="duplicate")
    if kind == b"A":
        log_id, _, reason = rest.partition(" ")
        return Receipt(event_id=event_id, status="anomaly", log_id=log_id, reason=reason)
    return PublishRefused(event_id, rest)
