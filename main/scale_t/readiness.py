"""Pure: may an entry be sent now? Only while its fill would be heard of.

Exits and cancels never ask: they always work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..utils.redis.messages import BrokerStatus

HEARTBEAT_TIMEOUT_S = 5.0


@dataclass
class Readiness:
    """What the broker last said, and when. `account_names`: ours, under all its names."""

    account_names: frozenset[str]
    rejected: str | None = None  # why the broker does not follow the ticker
    status: BrokerStatus | None = None
    heard_at: float = field(default=float("-inf"))

    def see_status(self, status: BrokerStatus, now: float) -> None:
        self.status, self.heard_at = status, now

    def obstacle(self, now: float) -> str | None:
        """Why no entry may be sent now, or None."""
        status = self.status
        if status is None or now - self.heard_at > HEARTBEAT_TIMEOUT_S:
            return f"no heartbeat of a broker for {HEARTBEAT_TIMEOUT_S:g} s"
        if not status.paper:
            return "the broker publishes a live account"
        if status.account_id is not None and status.account_id not in self.account_names:
            return f"the broker publishes another account, …{status.account_id[-4:]}"
        if not status.upstream.orders.ready:
            return f"the broker's order stream is not ready: {status.upstream.orders.state}"
        if self.rejected is not None:
            return f"the broker rejected the registration: {self.rejected}"
        return None
