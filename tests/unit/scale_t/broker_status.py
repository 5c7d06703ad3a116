"""A broker's heartbeat, as a test needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    tickers: Sequence[str] = ("AAPL",),
    prices: str = "LIVE",
    unwell: Mapping[str, str] | None = None,
    sick: int | None = None,
) -> BrokerStatus:
    """With a map of `tickers`, or only `unwell` ones of very many, or, without both, neither."""
    now = now_rfc3339()
    is_listed = unwell is None and (ticker_state is not None or tuple(tickers) != ("AAPL",))
    return BrokerStatus(
        epoch=epoch,
        state="RUNNING",
        account_id=account,
        paper=paper,
        timestamp=now,
        started_at=now,
        version="test",
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(state=prices, since=now),
            orders=OrderStreamStatus(state="LIVE", since=now, ready=ready),
        ),
        tickers={t: TickerStatus(seq=1, state=ticker_state or "LIVE") for t in tickers}
        if is_listed
        else UNSET,
        states=UNSET if unwell is None else {"LIVE": 300, "MUTE": sick or len(unwell)},
        unwell=UNSET if unwell is None else dict(unwell),
        counters={},
        journal={},
    )
