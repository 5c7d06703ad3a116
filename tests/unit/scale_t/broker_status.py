"""A broker's heartbeat, as a test needs it."""

from __future__ import annotations

from msgspec import UNSET

from main.utils.redis.messages import (
    BrokerStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    TickerStatus,
    UpstreamStatus,
    now_rfc3339,
)


def status(
    *,
    ready: bool = True,
    paper: bool = True,
    account: str | None = "A1",
    epoch: int = 1,
    ticker_state: str | None = None,
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
        tickers={"AAPL": TickerStatus(seq=1, state=ticker_state)} if ticker_state else UNSET,
        counters={},
        journal={},
    )
