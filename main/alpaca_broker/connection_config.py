"""Where a stream is, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class ConnectionConfig:
    """Where one stream is, and how long each step of reaching it may take."""

    name: str
    url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    connect_timeout_s: float = 3.0
    sign_in_timeout_s: float = 10.0
    ack_timeout_s: float = 5.0
    # Without any traffic for so long, a ping is sent; its answer is missed, and then waited for.
    ping_after_s: float = 0.5
    pong_missed_s: float = 0.9
    pong_timeout_s: float = 8.0
    close_timeout_s: float = 2.0
    max_frame_bytes: int = 64 * 1_048_576
    retry_first_s: float = 0.1
    retry_cap_s: float = 3.0


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """What the status says of a stream."""

    state: str
    since_ns: int
    reason: str | None = None
