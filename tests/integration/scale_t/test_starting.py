"""How scale_t starts again from its own orders, and what it refuses to start from."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from main.alpaca_sim import LocalAlpaca
from main.scale_t import ScaleTConfig, run_scale_t, service
from main.settings import Settings
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import AccountOrders, RunningScaleT
from tests.integration.scale_t.stand_in_broker import StandInBroker

pytestmark = pytest.mark.integration


def test_a_restart_doubles_nothing_and_goes_on(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """The exit of the first run still works; the second run continues one rung down."""
    first = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: "entry:0:1" in orders.working())
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: set(orders.working()) == {"profit:0:1", "entry:1:1"})
    assert first.stop() == 0
    wait_for(lambda: set(orders.working()) == {"profit:0:1"})
    start_scale_t(max_position=Decimal(20))
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "100.05"), "entry:1:2": ("10", "99.95")}
    )
    assert orders.position() == 10


def test_what_was_bought_and_not_yet_offered_is_offered_at_the_next_start(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """Killed between a fill and its exit: the order list tells all that is needed."""
    orders.buy("entry:0:1", 100.05)
    wait_for(lambda: orders.position() == 10)
    start_scale_t(max_position=Decimal(20))
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "100.10"), "entry:1:1": ("10", "100.00")}
    )


def test_an_open_entry_of_another_ladder_is_cancelled_before_the_new_one(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any
) -> None:
    """Nothing is held, so a new starting price may be given."""
    orders.buy("entry:3:7", 90.0)
    start_scale_t(max_position=Decimal(20), start_price=Decimal(98))
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "98.00")})


def started_and_refused(orders: AccountOrders, settings: Settings, **parameters: Any) -> int:
    before = orders.all()
    config = ScaleTConfig(ticker="AAPL", max_position=Decimal(20), **parameters)
    code = run_scale_t(config, settings)
    assert orders.all() == before, "what is not understood is not touched"
    return code


def test_a_position_on_another_ladder_is_not_touched(
    broker: StandInBroker, orders: AccountOrders, settings: Settings
) -> None:
    """Bought at 100.05 on rung 0, and now told to start at 98."""
    orders.buy("entry:0:1", 100.05)
    wait_for(lambda: orders.position() == 10)
    assert started_and_refused(orders, settings, start_price=Decimal(98)) == 1


def test_a_position_that_somebody_else_sold_is_not_sold_again(
    broker: StandInBroker, orders: AccountOrders, settings: Settings
) -> None:
    """Its exit would open a short position."""
    orders.buy("entry:0:1", 100.05)
    wait_for(lambda: orders.position() == 10)
    orders.client.submit_order(
        MarketOrderRequest(
            symbol="AAPL", qty=10, side=OrderSide.SELL, time_in_force=TimeInForce.DAY
        )
    )
    wait_for(lambda: orders.position() == 0)
    assert started_and_refused(orders, settings) == 1


def test_a_name_that_cannot_be_read_is_not_guessed(
    broker: StandInBroker, orders: AccountOrders, settings: Settings
) -> None:
    """It begins like ours, so it is ours, but it does not say which rung."""
    orders.buy("entry:first", 90.0)
    wait_for(lambda: orders.all()[0]["status"] == "new")
    assert started_and_refused(orders, settings) == 1


def test_a_broker_that_is_away_is_waited_for(
    alpaca: LocalAlpaca, redis_config: RedisConfig, orders: AccountOrders, start_scale_t: Any
) -> None:
    """No entry before its first heartbeat, and no crash."""
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: scale_t.scale_t.engine is not None)
    with StandInBroker(redis_config, alpaca.trading_stream_url) as broker:
        assert orders.all() == []
        wait_for(lambda: set(orders.working()) == {"entry:0:1"})
        wait_for(lambda: broker.requests["subscribe"])
        assert scale_t.stop() == 0


def test_an_alpaca_that_is_away_is_waited_for_until_it_is_stopped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens on that port."""
    asked = threading.Event()
    monkeypatch.setattr(service.log, "warning", lambda *_, **__: asked.set(), raising=False)
    away = settings.model_copy(update={"alpaca_trading_url": "http://127.0.0.1:1"})
    config = ScaleTConfig(ticker="AAPL", max_position=Decimal(20))
    scale_t = RunningScaleT(config, away)
    assert asked.wait(5)
    assert scale_t.stop() == 0


def test_wrong_keys_end_it_with_three(settings: Settings) -> None:
    """Never a retry loop."""
    wrong = settings.model_copy(update={"alpaca_api_key": settings.alpaca_api_secret})
    assert run_scale_t(ScaleTConfig(ticker="AAPL", max_position=Decimal(20)), wrong) == 3


def test_live_trading_is_refused(settings: Settings) -> None:
    """Paper only, until its own issue makes it complete."""
    live = settings.model_copy(update={"alpaca_paper": False, "alpaca_live_confirmed": True})
    assert run_scale_t(ScaleTConfig(ticker="AAPL", max_position=Decimal(20)), live) == 2


def test_missing_keys_and_a_missing_redis_end_it_with_two(settings: Settings) -> None:
    """Both are for the user to set."""
    config = ScaleTConfig(ticker="AAPL", max_position=Decimal(20))
    assert run_scale_t(config, settings.model_copy(update={"alpaca_api_key": None})) == 2
    nowhere = settings.model_copy(update={"redis_url": None, "redis_port": 1})
    assert run_scale_t(config, nowhere) == 2


def test_a_ticker_that_the_broker_does_not_know_ends_it_with_one(
    broker: StandInBroker, orders: AccountOrders, settings: Settings
) -> None:
    """There is nothing to wait for."""
    broker.reject_with = "unknown_ticker"
    config = ScaleTConfig(ticker="ZZZZZ", max_position=Decimal(20))
    assert run_scale_t(config, settings) == 1
    assert orders.all() == []
