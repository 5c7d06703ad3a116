"""What may go wrong with the market and the account: each has its defined, documented answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.alpaca_sim import LocalAlpaca
from main.scale_t import asking, engine
from main.scale_t.modes import Mode
from main.utils.redis.messages import GapMessage, StatusMessage, now_rfc3339
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import AccountOrders
from tests.integration.scale_t.stand_in_broker import StandInBroker

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def a_quick_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "CLOCK_S", 0.2)


def started(start_scale_t: Any, orders: AccountOrders, **words: Any) -> engine.Engine:
    words = {"max_position": Decimal(20), "start_price": Decimal(100)} | words
    scale_t = start_scale_t(**words)
    wait_for(lambda: "entry:0:1" in orders.working())
    running: engine.Engine = scale_t.scale_t.engine
    return running


def owning_ten(
    alpaca: LocalAlpaca, start_scale_t: Any, orders: AccountOrders, **words: Any
) -> engine.Engine:
    running = started(start_scale_t, orders, **words)
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: set(orders.working()) == {"profit:0:1", "entry:1:1"})
    return running


def test_a_halt_holds_entries_until_the_first_eligible_trade_after_it(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """The exits work all the while."""
    running = started(start_scale_t, orders)
    broker.publisher.publish_batch([trading_status("H", "Trading Halt")])
    wait_for(lambda: "halted" in str(running.obstacle))
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.working() == {"profit:0:1": ("10", "100.05")})
    broker.publisher.publish_batch([trading_status("T", "Trading Resumption")])
    broker.price(99.98, last_eligible=False)
    broker.price(99.98)
    wait_for(lambda: "entry:1:1" in orders.working())


def test_a_halt_from_before_a_start_holds_entries_too(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any
) -> None:
    """A restart forgets nothing: the ticker's journal has it."""
    broker.price(100.0)
    broker.publisher.publish_batch([trading_status("H", "Trading Halt")])
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: scale_t.scale_t.engine is not None)
    running = scale_t.scale_t.engine
    wait_for(lambda: "halted" in str(running.obstacle))
    assert orders.all() == []
    broker.price(99.98)
    wait_for(lambda: "entry:0:1" in orders.working())


def trading_status(code: str, message: str) -> StatusMessage:
    return StatusMessage(
        symbol="AAPL",
        timestamp=now_rfc3339(),
        code=code,
        message=message,
        reason_code="T1",
        reason_message="",
    )


def test_a_gap_lets_it_compare_its_orders_with_alpacas_at_once(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """What filled in the gap is offered."""
    broker.relaying = False
    running = started(start_scale_t, orders)
    wait_for(running.ladder.working_ids)
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.position() == 10)
    now = now_rfc3339()
    gap = GapMessage(
        symbol="AAPL",
        timestamp=now,
        from_=now,
        to=now,
        cause="upstream_disconnected",
        backfilled=False,
        lost=None,
    )
    broker.publisher.publish_batch([gap])
    wait_for(lambda: "profit:0:1" in orders.working())


def test_no_buying_power_is_waited_out(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any
) -> None:
    """The rung waits, the ladder goes on trading, and status says what was refused."""
    scale_t = start_scale_t(
        max_position=Decimal(9000), component=Decimal(9000), start_price=Decimal(100)
    )
    wait_for(lambda: scale_t.scale_t.engine is not None)
    running = scale_t.scale_t.engine
    wait_for(lambda: running.counters["refused"] == 1)
    assert running.ladder.mode is Mode.TRADING
    assert orders.all() == []


@pytest.mark.parametrize("price", [-3.0, 0.0])
def test_a_price_that_is_none_changes_nothing(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, price: float
) -> None:
    """It neither starts a ladder nor counts as the last price."""
    running = started(start_scale_t, orders)
    running.prices.give(Decimal("99.98"))
    wait_for(lambda: running.ladder.last_price == Decimal("99.98"))
    running.prices.give(Decimal(str(price)))
    wait_for(lambda: running.prices.take() is None)
    assert running.ladder.last_price == Decimal("99.98")


def test_the_market_closes_and_opens_again(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """Its day orders end; after the check they are armed again."""
    running = owning_ten(alpaca, start_scale_t, orders)
    alpaca.set_session("closed")
    wait_for(lambda: orders.working() == {} and not running.session.is_open)
    running.ladder.holds.clear(("entry", 1))
    running.ladder.holds.clear(("profit", 0))
    alpaca.set_session("regular")
    wait_for(lambda: set(orders.working()) == {"profit:0:2", "entry:1:2"})


def test_a_split_overnight_holds_it_until_a_person_confirms(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """A tenth of the price would buy every rung. Confirmed, it goes on with the new shares."""
    running = owning_ten(alpaca, start_scale_t, orders)
    alpaca.set_session("closed")
    wait_for(lambda: orders.working() == {} and not running.session.is_open)
    alpaca.split("AAPL", 10)
    sent = len(orders.all())
    alpaca.set_session("regular")
    alpaca.quote("AAPL", 9.98, 10.00)
    wait_for(lambda: running.ladder.mode is Mode.HELD)
    assert "SPLIT: 10 for 1" in running.ladder.reason
    assert len(orders.all()) == sent
    assert running.session.confirm(running.ladder, now_rfc3339(), adopt=False, ratio=None) is None
    running.ladder.become(Mode.TRADING, "")
    running.ladder.holds.clear(("entry", 1))
    running.ladder.holds.clear(("profit", 0))
    wait_for(
        lambda: orders.working() == {"profit:0:2": ("100", "10.01"), "entry:1:2": ("100", "9.99")}
    )


def test_a_loss_limit_closes_what_it_owns_and_ends_with_four(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """By the last price from the channel."""
    scale_t = start_scale_t(
        max_position=Decimal(10),
        start_price=Decimal(100),
        max_loss=Decimal(20),
        flatten_on_loss=True,
    )
    wait_for(lambda: "entry:0:1" in orders.working())
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: "profit:0:1" in orders.working())
    alpaca.quote("AAPL", 97.98, 98.00)
    broker.price(97.99)
    wait_for(lambda: scale_t.ended)
    assert (scale_t.code, orders.working(), orders.position()) == (4, {}, 0)


def test_a_short_ladder_trades_the_mirror_image(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """At Alpaca itself: sold short, bought back, nothing left."""
    start_scale_t(max_position=Decimal(20), start_price=Decimal(100), side="short")
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "100.00")})
    alpaca.quote("AAPL", 100.01, 100.03)
    wait_for(lambda: orders.position() == -10)
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "99.95"), "entry:1:1": ("10", "100.05")}
    )
    alpaca.quote("AAPL", 99.92, 99.94)
    wait_for(lambda: orders.position() == 0)


def test_a_split_overnight_is_not_taken_for_the_maximum_loss(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """The new shares trade before the open already; nothing is sold, and a person can go on."""
    running = owning_ten(alpaca, start_scale_t, orders, max_loss=Decimal(20), flatten_on_loss=True)
    alpaca.set_session("closed")
    wait_for(lambda: orders.working() == {} and not running.session.is_open)
    alpaca.split("AAPL", 10)
    broker.price(9.99)
    wait_for(lambda: running.ladder.last_price == Decimal("9.99"))
    alpaca.set_session("regular")
    alpaca.quote("AAPL", 9.98, 10.00)
    wait_for(lambda: running.ladder.mode is Mode.HELD)
    broker.price(9.98)
    wait_for(lambda: running.ladder.last_price == Decimal("9.98"))
    assert (running.ladder.mode, running.ladder.loss_reached) == (Mode.HELD, False)
    assert orders.position() == 100
