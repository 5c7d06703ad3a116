"""`status`: a heartbeat as a person reads it."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from main.commands.status_table import status_table, troubles
from main.utils.redis.messages import (
    BrokerStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    TickerStatus,
    UpstreamStatus,
    rfc3339,
)

STARTED_S = 1_795_276_800
AT = rfc3339(STARTED_S * 1_000_000_000 + 467_467_814)


def _heartbeat(**fields: Any) -> BrokerStatus:
    known: dict[str, Any] = {
        "epoch": 1_795_276_800_001,
        "state": "RUNNING",
        "account_id": "a",
        "paper": True,
        "timestamp": AT,
        "started_at": AT,
        "version": "0.1.0",
        "upstream": UpstreamStatus(
            prices=PriceStreamStatus(state="LIVE", since=AT, symbols=2, lag_ms=3.4),
            orders=OrderStreamStatus(state="LIVE", since=AT, ready=True),
        ),
        "tickers": {
            "AAPL": TickerStatus(seq=1_500, state="LIVE"),
            "BTC/USD": TickerStatus(seq=7, state="QUIET"),
        },
        "counters": {"messages": 1_507, "orders": 12, "registrations": 9, "restarts": 2},
        "journal": {"max_per_ticker": 10_000},
    }
    return BrokerStatus(**(known | fields))


def _shown(heartbeat: BrokerStatus, *, everything: bool = False, after_s: float = 250) -> str:
    console = Console(width=110, color_system=None)
    with console.capture() as captured:
        now_s = STARTED_S + after_s
        console.print(status_table(heartbeat, everything=everything, now_s=now_s))
    return captured.get()


def test_the_start_is_told_as_how_long_ago() -> None:
    shown = _shown(_heartbeat())
    assert "4 min ago (2026-11-21 16:00:00 UTC)" in shown
    assert "467467814" not in shown
    assert "yesterday" in _shown(_heartbeat(started_at="yesterday")), "what is no time is shown"


def test_counters_are_told_in_words_and_by_name_only_when_all_is_asked_for() -> None:
    heartbeat = _heartbeat()
    shown = _shown(heartbeat)
    assert "the list of tickers changed 2 times" in shown
    assert "restarts" not in shown
    assert "none since the start" in shown
    everything = _shown(heartbeat, everything=True)
    assert "restarts" in everything
    assert "Stops and starts of the producers" in everything
    assert str(heartbeat.epoch) in everything


def test_what_went_wrong_is_told_and_what_is_nought_is_not() -> None:
    counters = {"messages": 9, "reconnects": 0, "orders_reconciled": 2, "stocks_disconnects": 1}
    assert list(troubles(counters)) == [
        "order events that the stream missed, recovered by REST: 2",
        "connections to Alpaca lost (stocks): 1",
    ]


def test_tickers_stand_in_columns() -> None:
    lines = [line for line in _shown(_heartbeat()).splitlines() if " messages  " in line]
    assert len({line.index(" messages  ") for line in lines}) == 1
    assert len(lines) == 2


def test_what_the_broker_says_is_text_and_no_markup() -> None:
    prices = PriceStreamStatus(state="DOWN", since=AT, reason="[bold]why", symbols=0)
    orders = OrderStreamStatus(state="LIVE", since=AT, ready=False)
    shown = _shown(_heartbeat(upstream=UpstreamStatus(prices=prices, orders=orders)))
    assert "DOWN ([bold]why)" in shown
    assert "send no new entries" in shown
