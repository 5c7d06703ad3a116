"""An entry is sent only while its fill would be heard of, and its price is real."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from main.scale_t.readiness import Readiness
from main.utils.redis.broker_watch import BrokerView, BrokerWatch
from main.utils.redis.messages import BrokerStatus, PriceMessage, StatusMessage, now_rfc3339
from tests.unit.scale_t.broker_status import status


def view(heard: BrokerStatus | None, silent_s: float = 0.0) -> BrokerView:
    watch = BrokerWatch(now=0.0, moment=now_rfc3339())
    if heard is not None:
        watch.hear(heard, now=0.0)
    return watch.view(silent_s)


def readiness(**fields: object) -> Readiness:
    return Readiness(account_names=frozenset({"A1"}), ticker="AAPL", **fields)  # type: ignore[arg-type]


def price(timestamp: str, *, eligible: bool = True) -> PriceMessage:
    return PriceMessage(
        symbol="AAPL",
        timestamp=timestamp,
        price=100.0,
        volume=100,
        feed="iex",
        last_eligible=eligible,
        backfilled=False,
    )


def halt(timestamp: str, code: str = "H") -> StatusMessage:
    return StatusMessage(
        symbol="AAPL",
        timestamp=timestamp,
        code=code,
        message="Trading Halt",
        reason_code="T1",
        reason_message="News Pending",
    )


def test_another_account_is_named_by_its_number_as_everywhere() -> None:
    """Not by its id, which nobody knows."""
    heard = replace(status(account="B2"), account_short="1A2B")
    assert readiness().obstacle(view(heard)) == "the broker publishes another account, …1A2B"


@pytest.mark.parametrize(
    ("heard", "obstacle"),
    [
        (status(), None),
        (status(account=None), "does not say which account"),
        (status(ready=False), "not ready"),
        (status(paper=False), "live account"),
        (status(account="B2"), "another account"),
        (status(ticker_state="QUIET"), None),
        (status(ticker_state="MUTE"), "MUTE"),
        (status(ticker_state="DOWN"), "DOWN"),
        (status(ticker_state="LAGGING"), "LAGGING"),
        (status(ticker_state="CONNECTING"), "CONNECTING"),
        (status(tickers=["MSFT"]), "does not follow AAPL"),
        (status(prices="CONNECTING"), "the broker's price stream is CONNECTING"),
        (status(prices="DOWN"), "DOWN"),
        (status(unwell={"MSFT": "MUTE"}), None),
        (status(unwell={"AAPL": "MUTE"}), "the ticker's prices are MUTE"),
        (status(unwell={"MSFT": "MUTE"}, sick=51), "not known"),
        (None, "no heartbeat"),
    ],
)
def test_each_obstacle_is_said_in_words(heard: BrokerStatus | None, obstacle: str | None) -> None:
    """And there is none without a reason."""
    found = readiness().obstacle(view(heard))
    assert found is None if obstacle is None else obstacle in str(found)


def test_a_broker_that_falls_silent_is_away() -> None:
    """After three missed heartbeats."""
    assert readiness().obstacle(view(status(), silent_s=2.9)) is None
    assert "heartbeat" in str(readiness().obstacle(view(status(), silent_s=3.1)))


def test_a_rejected_registration_holds_entries_until_prices_flow() -> None:
    """The broker may grant later what it refused."""
    ready = readiness(rejected="symbol_limit")
    assert "symbol_limit" in str(ready.obstacle(view(status())))
    ready.see_price(price("2026-11-20T15:00:00Z"))
    assert ready.obstacle(view(status())) is None


def test_a_halt_that_is_told_after_its_end_is_over() -> None:
    """The journal is read while prices come in already."""
    ready = readiness()
    ready.see_price(price("2026-11-20T15:05:01Z"))
    ready.see_trading_status(halt("2026-11-20T15:00:00Z"))
    assert ready.obstacle(view(status())) is None


def test_a_halt_ends_with_the_first_eligible_trade_after_it() -> None:
    """Not with the word that trading resumes, nor with a late print from before."""
    ready = readiness()
    ready.see_trading_status(halt("2026-11-20T15:00:00Z"))
    assert "News Pending" in str(ready.obstacle(view(status())))
    ready.see_trading_status(halt("2026-11-20T15:05:00Z", code="T"))
    ready.see_price(price("2026-11-20T14:59:59Z"))
    ready.see_price(price("2026-11-20T15:05:00Z", eligible=False))
    assert ready.obstacle(view(status())) is not None
    ready.see_price(price("2026-11-20T15:05:01Z"))
    assert ready.obstacle(view(status())) is None
