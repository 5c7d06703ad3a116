"""How scale_t starts again from its own orders, and what it refuses to start from."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from main.alpaca_sim import LocalAlpaca
from main.scale_t import ScaleTConfig, run_scale_t, starting
from main.scale_t.modes import Mode
from main.scale_t.saved import StateFile
from main.settings import Settings
from main.utils.order_calls import OrderCalls
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import AccountOrders, RunningScaleT
from tests.integration.scale_t.stand_in_broker import StandInBroker
from tests.integration.scale_t.unreliable_road import UnreliableRoad

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


def config(**words: Any) -> ScaleTConfig:
    return ScaleTConfig.from_text(**{"ticker": "AAPL", "max_position": "20"} | words)


def started_and_refused(orders: AccountOrders, settings: Settings, **words: Any) -> int:
    before = orders.all()
    code = run_scale_t([config(**words)], settings)
    assert orders.all() == before, "what is not understood is not touched"
    return code


def test_a_position_on_another_ladder_is_not_touched(
    broker: StandInBroker, orders: AccountOrders, settings: Settings, tmp_path: Path
) -> None:
    """Bought at 100.05 on rung 0, and now told to start at 98."""
    orders.buy("entry:0:1", 100.05)
    wait_for(lambda: orders.position() == 10)
    assert started_and_refused(orders, settings, start_price="98", state_dir=tmp_path) == 1


@pytest.mark.parametrize("adopt", [False, True])
def test_a_position_that_somebody_else_sold_is_held_or_adopted(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, adopt: bool
) -> None:
    """Its exit would open a short position. Adopted, the ladder begins anew."""
    orders.buy("entry:0:1", 100.05)
    wait_for(lambda: orders.position() == 10)
    orders.client.submit_order(
        MarketOrderRequest(
            symbol="AAPL", qty=10, side=OrderSide.SELL, time_in_force=TimeInForce.DAY
        )
    )
    wait_for(lambda: orders.position() == 0)
    before = len(orders.all())
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal("100.05"), adopt=adopt)
    if adopt:
        wait_for(lambda: "entry:0:2" in {each["client_order_id"][13:] for each in orders.all()})
        return
    wait_for(lambda: scale_t.scale_t.engine is not None)
    ladder = scale_t.scale_t.engine.ladder
    wait_for(lambda: ladder.mode is Mode.HELD)
    assert "somebody else traded" in ladder.reason
    assert scale_t.stop() == 0
    assert len(orders.all()) == before


def test_a_name_that_cannot_be_read_is_not_guessed(
    broker: StandInBroker, orders: AccountOrders, settings: Settings, tmp_path: Path
) -> None:
    """It begins like ours, so it is ours, but it does not say which rung."""
    orders.buy("entry:first", 90.0)
    wait_for(lambda: orders.all()[0]["status"] == "new")
    assert started_and_refused(orders, settings, state_dir=tmp_path) == 1


def test_a_broker_that_is_away_is_waited_for(
    alpaca: LocalAlpaca, redis_config: RedisConfig, orders: AccountOrders, start_scale_t: Any
) -> None:
    """No entry before its first heartbeat, and no crash."""
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: scale_t.scale_t.engine is not None)
    broker = StandInBroker(redis_config, alpaca.trading_stream_url)
    broker.account_id = orders.account_id()
    with broker:
        assert orders.all() == []
        wait_for(lambda: set(orders.working()) == {"entry:0:1"})
        wait_for(lambda: broker.requests["subscribe"])
        assert scale_t.stop() == 0


def test_an_alpaca_that_is_away_is_waited_for_until_it_is_stopped(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens on that port."""
    asked = threading.Event()
    monkeypatch.setattr(starting.log, "warning", lambda *_, **__: asked.set(), raising=False)
    away = settings.model_copy(update={"alpaca_trading_url": "http://127.0.0.1:1"})
    scale_t = RunningScaleT(config(), away)
    assert asked.wait(5)
    assert scale_t.stop() == 0


def test_wrong_keys_end_it_with_three(settings: Settings) -> None:
    """Never a retry loop."""
    wrong = settings.model_copy(update={"alpaca_api_key": settings.alpaca_api_secret})
    assert run_scale_t([config()], wrong) == 3


def test_a_live_ladder_never_trades_on_a_paper_broker(
    broker: StandInBroker, orders: AccountOrders, settings: Settings, tmp_path: Path
) -> None:
    """Both confirmations are given, but the channel tells of another account's fills."""
    live = settings.model_copy(update={"alpaca_paper": False, "alpaca_live_confirmed": True})
    scale_t = RunningScaleT(config(start_price="100", state_dir=tmp_path), live)
    wait_for(lambda: scale_t.scale_t.engine is not None)
    wait_for(lambda: "paper account" in str(scale_t.scale_t.engine.obstacle))
    wait_for(lambda: scale_t.scale_t.engine.session.is_open)
    assert scale_t.stop() == 0
    assert orders.all() == []


def test_missing_keys_and_a_missing_redis_end_it_with_two(
    settings: Settings, tmp_path: Path
) -> None:
    """Both are for the user to set."""
    alone = [config(state_dir=tmp_path)]
    assert run_scale_t(alone, settings.model_copy(update={"alpaca_api_key": None})) == 2
    nowhere = settings.model_copy(update={"redis_url": None, "redis_port": 1})
    assert run_scale_t(alone, nowhere) == 2


def test_a_state_that_cannot_be_read_or_kept_ends_it_with_two(
    settings: Settings, tmp_path: Path
) -> None:
    """Not knowing what was adopted or split, it would trade on wrong figures."""
    blocked = tmp_path / "a file"
    blocked.write_text("")
    assert run_scale_t([config(state_dir=blocked)], settings) == 2
    file = StateFile(tmp_path, "PA3LOCALSIM1", "scale-t", "AAPL")
    file.path.write_text("{not json")
    assert run_scale_t([config(state_dir=tmp_path)], settings) == 2


def test_a_ticker_that_alpaca_does_not_know_ends_it_with_one(
    settings: Settings, tmp_path: Path
) -> None:
    """There is nothing to wait for."""
    assert run_scale_t([config(ticker="ZZZZZ", state_dir=tmp_path)], settings) == 1


def test_a_ticker_that_the_broker_does_not_know_ends_it_with_one(
    broker: StandInBroker, orders: AccountOrders, settings: Settings, tmp_path: Path
) -> None:
    """There is nothing to wait for."""
    broker.reject_with = "unknown_ticker"
    assert run_scale_t([config(state_dir=tmp_path)], settings) == 1
    assert orders.all() == []


def test_a_data_api_that_is_away_holds_nothing_up(
    broker: StandInBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    settings: Settings,
    tmp_path: Path,
) -> None:
    """The check before the session does without its prices, and what fills is offered."""
    away = settings.model_copy(update={"alpaca_data_url": "http://127.0.0.1:1"})
    scale_t = RunningScaleT(config(start_price="100", state_dir=tmp_path), away)
    try:
        wait_for(lambda: set(orders.working()) == {"entry:0:1"})
        alpaca.quote("AAPL", 99.97, 99.99)
        wait_for(lambda: "profit:0:1" in orders.working())
    finally:
        assert scale_t.stop() == 0


def test_it_ends_within_five_seconds_though_alpaca_hangs(
    broker: StandInBroker, orders: AccountOrders, road: UnreliableRoad, start_scale_t: Any
) -> None:
    """Its entries may still work then, and it says so."""
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: set(orders.working()) == {"entry:0:1"})
    road.open.clear()
    try:
        assert scale_t.stop() == 0
    finally:
        road.open.set()


def test_a_stop_while_its_orders_are_listed_ends_it_at_once(
    broker: StandInBroker,
    orders: AccountOrders,
    start_scale_t: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long history has many pages; none is asked for any more."""
    listing = threading.Event()

    def slowly(self: Any, symbol: str, *_: Any) -> list[Any]:
        while True:
            listing.set()
            self._budget()
            time.sleep(0.01)

    monkeypatch.setattr(OrderCalls, "all_orders", slowly)
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    assert listing.wait(10)
    assert scale_t.stop() == 0
