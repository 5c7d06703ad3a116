"""scale_t trades at the local Alpaca, hearing of it only through the ticker's channel."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.alpaca_sim import LocalAlpaca
from main.scale_t import asking, order_fates
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import AccountOrders
from tests.integration.scale_t.stand_in_broker import StandInBroker
from tests.integration.scale_t.unreliable_road import UnreliableRoad

pytestmark = pytest.mark.integration


def test_a_filled_buy_arms_its_sell_one_rung_up_and_the_next_buy_one_rung_down(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """The whole trade: down two rungs, up again, and each step at Alpaca as it should be."""
    scale_t = start_scale_t(max_position=Decimal(25))
    wait_for(lambda: broker.requests["subscribe"])
    broker.price(90.0, last_eligible=False)
    broker.price(100.0)
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "100.00")})
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "100.05"), "entry:1:1": ("10", "99.95")}
    )
    alpaca.quote("AAPL", 99.89, 99.91)
    wait_for(
        lambda: (
            orders.working()
            == {
                "profit:0:1": ("10", "100.05"),
                "profit:1:1": ("10", "100.00"),
                "entry:2:1": ("5", "99.90"),
            }
        )
    )
    alpaca.quote("AAPL", 100.01, 100.03)
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "100.05"), "entry:1:2": ("10", "99.95")}
    )
    assert orders.position() == 10
    assert scale_t.stop() == 0
    assert orders.working() == {"profit:0:1": ("10", "100.05")}, "exits stay, entries do not"
    assert broker.requests["unsubscribe"] == 1


def test_an_order_whose_answer_is_lost_exists_once_and_trading_goes_on(
    broker: StandInBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    road: UnreliableRoad,
    start_scale_t: Any,
) -> None:
    """Unresolved is looked up, never assumed, and never sent a second time."""
    broker.relaying = False  # not even the bus tells that it exists
    road.lose_answers = 1
    start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "100.00")})
    wait_for(lambda: road.counts["GET"] >= 4, what="the look-up")
    broker.relaying = True
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "100.05"), "entry:1:1": ("10", "99.95")}
    )
    assert len(orders.all()) == 3


def test_an_order_that_never_arrived_is_sent_again_under_its_own_name(
    broker: StandInBroker,
    orders: AccountOrders,
    road: UnreliableRoad,
    start_scale_t: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Should the first one arrive after all, Alpaca takes only one of the two."""
    monkeypatch.setattr(order_fates, "ABSENT_AFTER_S", 0.3)
    road.lose_requests = 1
    start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "100.00")})


def test_an_id_that_exists_already_is_looked_up_and_not_taken_for_a_refusal(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """A second scale_t of the same name was faster: its order is ours too, and stays the only."""
    broker.ready = broker.relaying = False
    scale_t = start_scale_t(max_position=Decimal(10), start_price=Decimal(100))
    wait_for(lambda: broker.requests["subscribe"])
    orders.buy("entry:0:1", 100.0)
    broker.ready = True
    ladder_of_it = scale_t.scale_t.engine.ladder
    wait_for(lambda: ladder_of_it.working_ids() == {"scale-t:AAPL:entry:0:1"})
    broker.relaying = True
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.working() == {"profit:0:1": ("10", "100.05")})
    assert len(orders.all()) == 2


def test_fills_that_the_bus_lost_are_found_by_comparing_the_open_orders(
    broker: StandInBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    start_scale_t: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One lost fill must not leave a position without its exit."""
    monkeypatch.setattr(asking, "REFRESH_S", 0.3)
    broker.relaying = False
    start_scale_t(max_position=Decimal(10), start_price=Decimal(100))
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "100.00")})
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.working() == {"profit:0:1": ("10", "100.05")})


def test_a_refused_order_holds_its_rung_and_is_not_hammered(
    broker: StandInBroker, orders: AccountOrders, road: UnreliableRoad, start_scale_t: Any
) -> None:
    """More than the account can buy: one request, then the wait of five seconds."""
    scale_t = start_scale_t(
        max_position=Decimal(9000), component=Decimal(9000), start_price=Decimal(100)
    )
    wait_for(lambda: road.counts["POST"] == 1)
    wait_for(lambda: scale_t.scale_t.engine.counters["refused"] == 1)
    assert scale_t.stop() == 0
    assert road.counts["POST"] == 1
    assert orders.all() == []


def test_no_entry_is_sent_while_the_order_stream_is_not_ready_but_exits_are(
    broker: StandInBroker, alpaca: LocalAlpaca, orders: AccountOrders, start_scale_t: Any
) -> None:
    """An entry whose fill nobody would tell is a risk; an exit is not."""
    start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: orders.working() == {"entry:0:1": ("10", "100.00")})
    broker.ready = False
    beats = broker.beats
    wait_for(lambda: broker.beats >= beats + 3, what="heartbeats that say so")
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.working() == {"profit:0:1": ("10", "100.05")})
    broker.ready = True
    wait_for(lambda: "entry:1:1" in orders.working())


def test_a_broker_of_another_account_is_not_traded_on(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any
) -> None:
    """Its channel would never tell of our fills."""
    broker.account_id = "somebody-else"
    scale_t = start_scale_t(max_position=Decimal(20), start_price=Decimal(100))
    wait_for(lambda: broker.requests["subscribe"])
    beats = broker.beats
    wait_for(lambda: broker.beats >= beats + 5)
    assert scale_t.stop() == 0
    assert orders.all() == []
