"""Messages of the bus as the page's tests want them: only what a test is about is given."""

from __future__ import annotations

from typing import Any

from main.utils.redis.messages import (
    BrokerStatus,
    GapMessage,
    OrderMessage,
    OrderStreamStatus,
    PriceMessage,
    PriceStreamStatus,
    StatusMessage,
    TickerStatus,
    UpstreamStatus,
    rfc3339,
)

NOON_S = 1_795_276_800.0  # 2026-11-21T16:00:00Z, a Saturday; a Friday is a day before
FRIDAY_S = NOON_S - 86_400  # 11:00 in New York: the market is open


def at(seconds: float) -> str:
    return rfc3339(int(seconds * 1000) * 1_000_000)


def price(
    value: float = 100.0, at_s: float = FRIDAY_S, symbol: str = "AAPL", **given: Any
) -> PriceMessage:
    fields = {"volume": 10, "feed": "iex", "last_eligible": True, "backfilled": False}
    return PriceMessage(symbol=symbol, timestamp=at(at_s), price=value, **(fields | given))


def order(
    event: str = "new", at_s: float = FRIDAY_S, symbol: str = "AAPL", seq: int = 1, **given: Any
) -> OrderMessage:
    data = {"id": "o-1", "client_order_id": "bot:1", "side": "buy", "qty": "10", "type": "limit"}
    update = given.pop("update", {})
    return OrderMessage(
        symbol=symbol,
        timestamp=at(at_s),
        epoch=7,
        seq=seq,
        event=event,
        order_data=data | {"limit_price": "99.5", "filled_qty": "0"} | given,
        update=update,
        account_id="acc-1234",
        paper=True,
        source="stream",
    )


def gap(
    from_s: float,
    to_s: float,
    symbol: str = "AAPL",
    *,
    backfilled: bool = True,
    lost: int | None = 0,
    cause: str = "upstream_disconnected",
) -> GapMessage:
    return GapMessage(
        symbol=symbol,
        timestamp=at(to_s),
        epoch=7,
        seq=1,
        from_=at(from_s),
        to=at(to_s),
        cause=cause,
        backfilled=backfilled,
        lost=lost,
    )


def halt(code: str = "H", at_s: float = FRIDAY_S, symbol: str = "AAPL") -> StatusMessage:
    return StatusMessage(
        symbol=symbol,
        timestamp=at(at_s),
        epoch=7,
        seq=2,
        code=code,
        message="Trading Halt" if code == "H" else "Trading Resumption",
        reason_code="LUDP",
        reason_message="Volatility Trading Pause",
    )


def heartbeat(
    state: str = "RUNNING",
    *,
    prices: str = "LIVE",
    reason: str | None = None,
    ready: bool = True,
    tickers: dict[str, str] | None = None,
    **given: Any,
) -> BrokerStatus:
    if tickers is not None:
        given["tickers"] = {name: TickerStatus(seq=1, state=s) for name, s in tickers.items()}
    return BrokerStatus(
        epoch=7,
        state=state,
        account_id="account-1A2B",
        paper=True,
        timestamp=at(FRIDAY_S),
        started_at=at(FRIDAY_S),
        version="0.1.0",
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(state=prices, since=at(FRIDAY_S), reason=reason, symbols=1),
            orders=OrderStreamStatus(state="LIVE", since=at(FRIDAY_S), ready=ready),
        ),
        counters={"batches": 3},
        journal={},
        **given,
    )
