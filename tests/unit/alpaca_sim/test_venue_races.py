"""Replace and cancel against the executions that come in between, natural and on demand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.alpaca_sim.order_states import IllegalTransition
from main.alpaca_sim.venue_hooks import UnknownOrder
from tests.unit.alpaca_sim.venue_driver import VenueDriver


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "99.95", "100.00")
    return driver


def resting(venue: VenueDriver, **fields: Any) -> str:
    order = venue.submit(
        **{"qty": "10", "type": "limit", "limit_price": "95", "time_in_force": "gtc", **fields}
    )
    venue.settle()
    return str(order["id"])


def replace(venue: VenueDriver, order_id: str, **fields: Any) -> dict[str, Any]:
    reply = venue.call("PATCH", f"/v2/orders/{order_id}", None, **fields)
    assert reply.status == 200, reply
    assert isinstance(reply.body, dict)
    return reply.body


def test_a_replacement_is_another_order_and_the_old_one_knows_it(venue: VenueDriver) -> None:
    old_id = resting(venue, client_order_id="old")
    new = replace(venue, old_id, limit_price="96", qty="12", client_order_id="new")
    assert (new["replaces"], new["status"], new["limit_price"]) == (old_id, "pending_new", "96")
    assert venue.order(old_id)["status"] == "pending_replace"
    venue.settle()
    old = venue.order(old_id)
    assert (old["status"], old["replaced_by"]) == ("replaced", new["id"])
    assert old["replaced_at"] is not None
    assert venue.told(old_id)[-2:] == ["pending_replace", "replaced"]
    assert venue.told(new["id"]) == ["pending_new", "new"]
    assert venue.account("buying_power") == 200_000 - 12 * 96


def test_while_it_is_replaced_the_larger_order_counts(venue: VenueDriver) -> None:
    old_id = resting(venue)
    replace(venue, old_id, qty="5")
    assert venue.account("buying_power") == 200_000 - 950
    venue.settle()
    assert venue.account("buying_power") == 200_000 - 475


def test_a_fill_that_comes_first_rejects_the_replacement(venue: VenueDriver) -> None:
    old_id = resting(venue)
    new = replace(venue, old_id, limit_price="96")
    venue.quote("AAPL", "94", "94.05")
    venue.settle()
    assert venue.told(old_id)[-3:] == ["pending_replace", "fill", "order_replace_rejected"]
    assert venue.told(new["id"]) == ["pending_new", "rejected"]
    assert venue.position_qty() == 10
    assert venue.account("cash") == 100_000 - 940 - Decimal("0.5")


def test_a_replacement_asks_for_what_is_left(venue: VenueDriver) -> None:
    venue = VenueDriver(partial_fill_rate=1.0, partial_fill_pause_ns=10**12)
    venue.quote("AAPL", "99.95", "100.00")
    order = venue.submit(qty="10", type="limit", limit_price="101", time_in_force="gtc")
    venue.step()
    venue.step()
    done = Decimal(venue.order(order["id"])["filled_qty"])
    assert 0 < done < 10
    new = replace(venue, order["id"], limit_price="95")
    assert Decimal(new["qty"]) == 10 - done


def test_an_order_that_was_not_sent_cannot_be_replaced(venue: VenueDriver) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="95")
    reply = venue.call("PATCH", f"/v2/orders/{order['id']}", None, limit_price="96")
    assert (reply.status, reply.body) == (
        422,
        {
            "code": 40010001,
            "message": "unable to replace order, order isn't sent to exchange yet",
        },
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limit_price": "96.123"}, "invalid limit_price 96.123. sub-penny"),
        ({"stop_price": "90"}, "limit orders must not have stop_price"),
        ({"trail": "1"}, "limit orders must not have trail"),
        ({"qty": "1.5"}, "qty must be integer"),
        ({"qty": "0"}, "qty must be > 0"),
        ({"notional": "10"}, "notional orders cannot be replaced"),
    ],
)
def test_bad_replacements_change_nothing(
    venue: VenueDriver, fields: dict[str, Any], message: str
) -> None:
    order_id = resting(venue)
    reply = venue.call("PATCH", f"/v2/orders/{order_id}", None, **fields)
    assert reply.status == 422
    assert reply.body["message"].startswith(message)  # type: ignore[index]
    assert venue.order(order_id)["status"] == "new"


def test_an_ended_order_cannot_be_replaced(venue: VenueDriver) -> None:
    order = venue.submit(qty="1")
    venue.settle()
    reply = venue.call("PATCH", f"/v2/orders/{order['id']}", None, qty="2")
    assert reply.body == {
        "code": 42210000,
        "message": "unable to replace order, order is not open",
    }


def test_a_fill_after_a_cancel_request_wins(venue: VenueDriver) -> None:
    order_id = resting(venue)
    venue.cancel(order_id)
    venue.quote("AAPL", "94", "94.05")
    venue.settle()
    assert venue.told(order_id)[-3:] == ["pending_cancel", "fill", "order_cancel_rejected"]
    assert venue.order(order_id)["status"] == "filled"


@pytest.mark.parametrize(
    ("outcome", "events", "status"),
    [
        ("fill", ["pending_cancel", "fill", "order_cancel_rejected"], "filled"),
        ("partial_fill", ["pending_cancel", "partial_fill", "canceled"], "canceled"),
        ("refuse", ["pending_cancel", "order_cancel_rejected"], "new"),
        ("late_fill", ["pending_cancel", "canceled", "fill"], "filled"),
    ],
)
def test_a_cancel_loses_its_race_on_demand(
    venue: VenueDriver, outcome: Any, events: list[str], status: str
) -> None:
    order_id = resting(venue)
    venue.venue.lose_next_race(outcome)
    venue.cancel(order_id)
    venue.settle()
    assert venue.told(order_id)[-len(events) :] == events
    assert venue.order(order_id)["status"] == status


@pytest.mark.parametrize(
    ("outcome", "old_events", "new_last"),
    [
        ("fill", ["pending_replace", "fill", "order_replace_rejected"], "rejected"),
        ("partial_fill", ["pending_replace", "partial_fill", "replaced"], "new"),
        ("refuse", ["pending_replace", "order_replace_rejected"], "rejected"),
    ],
)
def test_a_replace_loses_its_race_on_demand(
    venue: VenueDriver, outcome: Any, old_events: list[str], new_last: str
) -> None:
    order_id = resting(venue)
    venue.venue.lose_next_race(outcome, order_id)
    new = replace(venue, order_id, limit_price="96")
    venue.settle()
    assert venue.told(order_id)[-len(old_events) :] == old_events
    assert venue.told(new["id"])[-1] == new_last


def test_what_fills_while_a_replacement_is_under_way_is_taken_from_it(venue: VenueDriver) -> None:
    order_id = resting(venue)
    venue.venue.lose_next_race("partial_fill")
    new = replace(venue, order_id, limit_price="96")
    venue.settle()
    done = Decimal(venue.order(order_id)["filled_qty"])
    assert 0 < done < 10
    assert Decimal(venue.order(new["id"])["qty"]) == 10 - done
    assert venue.account("buying_power") < 200_000 - (10 - done) * 96


def test_a_sale_finds_nothing_left_when_a_late_fill_came_first(venue: VenueDriver) -> None:
    venue.own(10)
    first = resting(venue, side="sell", limit_price="200")
    venue.venue.lose_next_race("late_fill")
    venue.cancel(first)
    venue.step()
    assert venue.told(first)[-1] == "canceled"
    second = venue.submit(side="sell", qty="10")
    venue.settle()
    assert venue.order(first)["status"] == "filled"
    assert venue.told(second["id"]) == ["pending_new", "new", "canceled"]
    assert venue.position_qty() == 0


def test_ended_orders_are_no_longer_among_the_open_ones(venue: VenueDriver) -> None:
    venue.own(1)
    venue.cancel(resting(venue))
    venue.settle()
    assert venue.venue.store.open_orders() == []
    assert venue.venue.store.open_orders("AAPL") == []


def test_an_order_goes_on_after_its_cancel_was_refused(venue: VenueDriver) -> None:
    order_id = resting(venue)
    venue.venue.lose_next_race("refuse")
    venue.cancel(order_id)
    venue.settle()
    venue.quote("AAPL", "94", "94.05")
    assert venue.order(order_id)["status"] == "filled"


@pytest.mark.parametrize("event", ["done_for_day", "stopped", "suspended", "restated"])
def test_rare_events_can_be_injected(venue: VenueDriver, event: str) -> None:
    order_id = resting(venue)
    venue.venue.inject_event(order_id, event, venue.now_ns)
    venue.events += venue.venue.take_events()
    assert venue.told(order_id)[-1] == event
    assert venue.order(order_id)["status"] == ("new" if event == "restated" else event)


def test_a_suspended_order_does_not_trade_until_it_is_new_again(venue: VenueDriver) -> None:
    order_id = resting(venue)
    venue.venue.inject_event(order_id, "suspended", venue.now_ns)
    venue.quote("AAPL", "94", "94.05")
    assert venue.order(order_id)["status"] == "suspended"
    venue.venue.inject_event(order_id, "new", venue.now_ns)
    venue.settle()
    assert venue.order(order_id)["status"] == "filled"


def test_done_for_day_comes_back_with_the_next_session(venue: VenueDriver) -> None:
    order_id = resting(venue)
    venue.venue.inject_event(order_id, "done_for_day", venue.now_ns)
    venue.phase("closed")
    venue.phase("regular")
    assert venue.order(order_id)["status"] == "new"


def test_an_illegal_injection_changes_nothing(venue: VenueDriver) -> None:
    order = venue.submit(qty="1")
    venue.settle()
    before = venue.order(order["id"])
    for event in ("canceled", "new", "pending_cancel", "fill", "no_such_event"):
        with pytest.raises(IllegalTransition):
            venue.venue.inject_event(order["id"], event, venue.now_ns)
    assert venue.order(order["id"]) == before
    with pytest.raises(UnknownOrder):
        venue.venue.inject_event("nobody", "fill", venue.now_ns)


def test_an_order_by_hand_looks_like_any_other_but_is_nobodys(venue: VenueDriver) -> None:
    venue.own(10)
    fields = {"symbol": "AAPL", "qty": "4", "side": "sell", "type": "market"}
    order_id = venue.venue.order_by_hand({**fields, "time_in_force": "day"}, venue.now_ns)
    venue.settle()
    assert venue.told(order_id) == ["pending_new", "new", "fill"]
    assert venue.position_qty() == 6
