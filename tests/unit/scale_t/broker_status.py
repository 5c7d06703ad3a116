"""A broker's heartbeat, as a test needs it."""

from __future__ import annotations

from main.utils.redis.messages import (
    BrokerStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    UpstreamStatus,
    now_rfc3339,
)


def status(
    *, ready: bool = True, paper: bool = True, account: str | None = "A1", epoch: int = 1
) -> BrokerStatus:
    now = now_rfc3339()
    return BrokerStatus(
        epoch=epoch,
        state="RUNNING",
        account_id=account,
        paper=paper,
        timestamp=now,
        started_at=now,
        version="test",
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(state="LIVE", since=now),
            orders=OrderStreamStatus(state="LIVE", since=now, ready=ready),
        ),
        counters={},
        journal={},
    )
