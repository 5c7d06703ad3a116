"""A person's commands to a running scale_t, over Redis and back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from main.alpaca_sim import LocalAlpaca
from main.commands import scale_t_control
from main.commands.common import Mistake
from main.scale_t import asking, engine
from main.scale_t.account import open_venue
from main.scale_t.control import ControlReply, ask
from main.scale_t.flatten import flatten_alone
from main.scale_t.modes import Mode
from main.scale_t.venue import TooManyOrders, Venue
from main.settings import Settings
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import AccountOrders, RunningScaleT
from tests.integration.scale_t.stand_in_broker import StandInBroker

pytestmark = pytest.mark.integration


class Person:
    """`person.says("pause")`: the one reply."""

    def __init__(self, config: RedisConfig) -> None:
        self._config = config

    def says(self, command: Any, **arguments: Any) -> ControlReply:
        replies = wait_for(lambda: ask(self._config, "scale-t", "AAPL", command, arguments))
        return replies[0]


@pytest.fixture
def person(redis_config: RedisConfig) -> Person:
    return Person(redis_config)


def started(start_scale_t: Any, orders: AccountOrders, **words: Any) -> engine.Engine:
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100), **words)
    wait_for(lambda: "entry:0:1" in orders.working())
    running: engine.Engine = scale_t.scale_t.engine
    return running


@pytest.fixture
def beside_seven(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> RunningScaleT:
    """It owns ten shares and offers them; seven more were bought by hand."""
    alpaca.order_by_hand(symbol="AAPL", qty="7", side="buy", type="market", time_in_force="day")
    wait_for(lambda: orders.position() == 7)
    scale_t: RunningScaleT = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: "entry:0:1" in orders.working())
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: set(orders.working()) == {"profit:0:1", "entry:1:1"})
    return scale_t


def test_pause_takes_entries_back_and_resume_sends_them_again(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, person: Person
) -> None:
    """The exits stay, and status tells all of it."""
    started(start_scale_t, orders)
    assert person.says("pause").ok
    wait_for(lambda: orders.working() == {})
    state = person.says("status").state
    assert (state["mode"], state["position"], state["orders"]) == ("PAUSED", "0", [])
    assert "trading again" in person.says("resume").words
    wait_for(lambda: "entry:0:2" in orders.working())


def test_stop_ends_it_with_zero(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, person: Person
) -> None:
    """As a signal does."""
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: "entry:0:1" in orders.working())
    assert person.says("stop").ok
    wait_for(lambda: scale_t.ended)
    assert (scale_t.code, orders.working()) == (0, {})


def test_flatten_closes_what_it_owns_and_nothing_else(
    beside_seven: RunningScaleT, orders: AccountOrders, person: Person
) -> None:
    assert "10 at the market" in person.says("flatten").words
    wait_for(lambda: beside_seven.ended)
    assert beside_seven.code == 0
    assert (orders.working(), orders.position()) == ({}, 7)


def test_update_finds_what_the_bus_did_not_tell(
    broker: StandInBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    start_scale_t: Any,
    person: Person,
) -> None:
    """Fetched by REST on demand."""
    broker.relaying = False
    started(start_scale_t, orders)
    wait_for(lambda: person.says("status").state["orders"])
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.position() == 10)
    assert person.says("update").ok
    wait_for(lambda: "profit:0:1" in orders.working())


def test_orders_are_fetched_by_themselves_while_the_order_stream_is_not_ready(
    broker: StandInBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    start_scale_t: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every few seconds, so that what filled is offered."""
    monkeypatch.setattr(asking, "REFRESH_UNREADY_S", 0.3)
    monkeypatch.setattr(asking, "REFRESH_S", 0.3)
    running = started(start_scale_t, orders)
    broker.ready = broker.relaying = False
    wait_for(lambda: "not ready" in str(running.obstacle))
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.working() == {"profit:0:1": ("10", "100.05")})


@pytest.mark.parametrize("price", ["-3", "0", "nan", "lots", "Infinity"])
def test_a_price_by_hand_must_be_one(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, person: Person, price: str
) -> None:
    """What is no price changes nothing."""
    running = started(start_scale_t, orders)
    reply = person.says("price", price=price)
    assert not reply.ok
    assert "is no price" in reply.words
    assert running.ladder.last_price != Decimal(price) if price != "lots" else True


def test_a_price_by_hand_is_acted_on_until_the_next_trade(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, person: Person
) -> None:
    """Below the range entries are taken back; status says that it was given by hand."""
    started(start_scale_t, orders, lowest=Decimal("99.50"))
    assert person.says("price", price="99.40").ok
    wait_for(lambda: orders.working() == {})
    state = person.says("status").state
    assert state["price_by_hand"]
    assert "below the lowest" in state["range"]
    broker.price(99.80)
    wait_for(lambda: "entry:0:2" in orders.working())
    assert not person.says("status").state["price_by_hand"]


def test_a_stale_price_is_replaced_by_a_latest_trade_by_rest(
    broker: StandInBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    start_scale_t: Any,
    person: Person,
) -> None:
    """The bus is silent, but the ticker trades."""
    alpaca.trade("AAPL", 99.97, 100)
    start_scale_t(max_position=Decimal(20), max_price_age_s=6.0)
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "99.97")})
    wait_for(lambda: person.says("status").state["price_is_stale"])


def test_a_held_ladder_needs_a_person_who_has_looked(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, person: Person
) -> None:
    """`resume` alone does not end it."""
    running = started(start_scale_t, orders)
    running.hold("a test")
    wait_for(lambda: orders.working() == {})
    refused = person.says("resume")
    assert not refused.ok
    assert "--confirm" in refused.words
    assert person.says("resume", confirm=True).ok
    assert running.ladder.mode is Mode.TRADING


def test_nobody_of_that_name_is_said_at_once(redis_config: RedisConfig) -> None:
    """And a request for another ticker is not answered."""
    assert ask(redis_config, "nobody", None, "status") == []


def test_who_asks_for_the_wrong_client_is_told_whose_ladders_run(
    broker: StandInBroker,
    orders: AccountOrders,
    start_scale_t: Any,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started(start_scale_t, orders)
    monkeypatch.setattr(scale_t_control, "open_settings", lambda: settings)
    with pytest.raises(Mistake, match=r"no scale_t of mine answers .*: --client-id scale-t$"):
        scale_t_control.scale_t_status(client_id="mine")
    with pytest.raises(Mistake, match=r"scale-t on MSFT answers on this Redis: is it running"):
        scale_t_control.scale_t_status(ticker="MSFT")


def test_what_nobody_trades_any_more_is_flattened_by_rest_alone(
    beside_seven: RunningScaleT, orders: AccountOrders, settings: Settings, tmp_path: Path
) -> None:
    """From Alpaca's list of orders: its own shares only."""
    assert beside_seven.stop() == 0
    venue, said = open_venue(settings), list[str]()
    try:
        assert flatten_alone(settings, venue, "scale-t", "AAPL", tmp_path, said.append, 20)
    finally:
        venue.close()
    assert said == ["cancel scale-t:AAPL:profit:0:1", "sell 10 AAPL at the market"]
    assert orders.position() == 7
    assert orders.working() == {}


@pytest.fixture
def without_redis(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is typed where Redis does not answer."""
    away = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    monkeypatch.setattr(scale_t_control, "open_settings", lambda: away)


def test_flatten_works_without_a_redis(
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    without_redis: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The very case for REST; it says that nobody who runs could be told."""
    alpaca.quote("AAPL", 99.97, 99.99)
    orders.buy("entry:0:1", 100.0)
    wait_for(lambda: orders.position() == 10)
    scale_t_control.flatten(ticker="AAPL", yes=True, state_dir=tmp_path)
    told = " ".join(capsys.readouterr().out.split())
    assert "is not reached: stop it first" in told
    assert told.endswith("flat")
    assert (orders.position(), orders.working()) == (0, {})


def test_flatten_says_it_when_the_orders_cannot_all_be_read(
    orders: AccountOrders, without_redis: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words, with nothing sent."""
    orders.buy("entry:0:1", 90.0)

    def too_many(*_: object, **__: object) -> None:
        raise TooManyOrders("AAPL has more than 200,000 orders")

    monkeypatch.setattr(Venue, "all_orders", too_many)
    with pytest.raises(Mistake, match="more than 200,000 orders"):
        scale_t_control.flatten(ticker="AAPL", yes=True, state_dir=tmp_path)
    assert set(orders.working()) == {"entry:0:1"}, "it still works"
