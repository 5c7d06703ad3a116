"""The ladder, example by example, with a written fake of the venue and a clock that is a number."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from main.scale_t.intents import Cancel, LookUp, Place, Stage
from main.scale_t.ladder import Gate
from main.scale_t.modes import Mode
from main.scale_t.order_fates import ABSENT_AFTER_S
from main.utils.answers import Refused
from tests.unit.scale_t.trade import ENTRY, PROFIT, Trade

NO_MONEY = Refused(status=403, code=40310000, message="insufficient buying power")


def test_the_first_price_becomes_the_starting_price_and_no_later_one_moves_it() -> None:
    """Rungs are fixed prices."""
    trade = Trade(start="189.2034")
    trade.ladder.see_price(Decimal("200"))
    assert trade.run()
    assert trade.working() == {"entry:0:1": (10, Decimal("189.20"))}


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_a_price_that_is_none_starts_nothing(price: str) -> None:
    """Whatever comes over the bus."""
    assert Trade(start=price).run() == []


def test_one_entry_works_at_a_time() -> None:
    """The next is sent when it fills, one rung down; the filled one's exit one rung up."""
    trade = Trade()
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    assert trade.working() == {
        "profit:0:1": (10, Decimal("100.05")),
        "entry:1:1": (10, Decimal("99.95")),
    }


def test_the_last_rung_takes_only_what_the_maximum_leaves() -> None:
    """25 shares in components of 10: 10, 10 and 5, and then nothing more."""
    trade = Trade(max_position=25)
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{ENTRY}1:1")
    assert trade.working()["entry:2:1"] == (5, Decimal("99.90"))
    trade.fill(f"{ENTRY}2:1")
    assert {name.split(":")[0] for name in trade.working()} == {"profit"}
    assert trade.ladder.position == 25


def test_a_sold_rung_is_bought_again_and_the_entry_below_is_cancelled_first() -> None:
    """The cancelled entry may still fill, so the new one waits until it has ended."""
    trade = Trade()
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.venue.fill(f"{PROFIT}0:1", Decimal(10))
    trade.hear()
    assert [type(intent) for intent in trade.wants()] == [Cancel]
    assert trade.wants() == [], "nothing more until the cancel is known to be done"
    trade.venue.end(f"{ENTRY}1:1")
    trade.run()
    assert trade.working() == {"entry:0:2": (10, Decimal("100.00"))}


def test_profits_appear_as_portions_execute() -> None:
    """A partly filled entry has an exit for its part already."""
    trade = Trade()
    trade.run()
    trade.fill(f"{ENTRY}0:1", 4)
    assert trade.working() == {
        "entry:0:1": (6, Decimal("100.00")),
        "profit:0:1": (4, Decimal("100.05")),
    }
    trade.fill(f"{ENTRY}0:1", 6)
    assert trade.working()["profit:0:2"] == (6, Decimal("100.05"))


def test_no_entry_is_sent_while_it_is_not_allowed_but_exits_are() -> None:
    """The order stream is not ready: a fill would not be heard of."""
    trade = Trade()
    trade.run()
    trade.ladder.entry_gate = Gate.NO_NEW
    sent = trade.fill(f"{ENTRY}0:1")
    assert [intent.client_order_id for intent in sent] == [f"{PROFIT}0:1"]
    trade.ladder.entry_gate = Gate.OPEN
    assert [intent.client_order_id for intent in trade.run()] == [f"{ENTRY}1:1"]


def test_the_most_urgent_is_sent_first_when_requests_are_short() -> None:
    """The exit before the entry; the rest is wanted again the next time."""
    trade = Trade()
    trade.run()
    trade.venue.fill(f"{ENTRY}0:1", Decimal(10))
    trade.hear()
    assert trade.ladder.decide(trade.now, 0) == []
    assert [i.client_order_id for i in trade.ladder.decide(trade.now, 1)] == [f"{PROFIT}0:1"]
    assert [i.client_order_id for i in trade.ladder.decide(trade.now, 1)] == [f"{ENTRY}1:1"]


def test_without_buying_power_the_rung_waits_longer_each_time_and_then_goes_on() -> None:
    """30, 60, … up to 300 seconds; never at once."""
    trade, waits = Trade(), []
    for _ in range(6):
        (place,) = trade.wants()
        waits.append(trade.ladder.see_refused(place.client_order_id, NO_MONEY, trade.now))
        trade.now += waits[-1] - 1
        assert trade.wants() == []
        trade.now += 1
    assert waits == [30, 60, 120, 240, 300, 300]
    assert trade.ladder.mode is Mode.TRADING


def test_an_order_that_the_venue_ends_by_itself_is_not_repeated_at_once() -> None:
    """Rejected after it was taken, or cancelled by hand: the same wait."""
    trade = Trade()
    trade.run()
    trade.venue.end(f"{ENTRY}0:1", "rejected")
    assert trade.run() == []
    trade.now += 5
    assert [intent.client_order_id for intent in trade.run()] == [f"{ENTRY}0:2"]


def test_an_unresolved_entry_counts_and_is_looked_up_with_growing_waits() -> None:
    """It may exist, so nothing else is bought; it is asked for, not sent again."""
    trade, asked = Trade(), []
    (place,) = trade.wants()
    trade.ladder.see_unresolved(place.client_order_id, trade.now)
    assert trade.ladder.book.pending_entries == 10
    while trade.now < 20:
        for intent in trade.wants():
            assert isinstance(intent, LookUp)
            trade.ladder.see_absent(intent.client_order_id, trade.now)
            asked.append(trade.now)
        trade.now += 0.25
    assert asked == [0, 0.5, 1.5, 3.5, 7.5, 15.5]


def test_an_unresolved_order_that_is_found_is_simply_there() -> None:
    """The answer was lost, the order was not."""
    trade = Trade()
    (place,) = trade.wants()
    assert isinstance(place, Place)
    trade.ladder.see_unresolved(place.client_order_id, trade.now)
    (look_up,) = trade.wants()
    found = trade.venue.take(place)
    assert found is not None
    trade.ladder.see_order_data(found, trade.now)
    assert trade.run() == []
    own = trade.ladder.book.get(look_up.client_order_id)
    assert own is not None
    assert own.stage is Stage.SEEN


def test_what_never_arrived_gives_its_name_to_the_next() -> None:
    """If it arrives after all, Alpaca takes only one of the two."""
    trade = Trade()
    (place,) = trade.wants()
    trade.ladder.see_unresolved(place.client_order_id, trade.now)
    trade.now += ABSENT_AFTER_S - 1
    trade.ladder.see_absent(place.client_order_id, trade.now)
    assert [type(intent) for intent in trade.wants()] == [LookUp], "too early to believe it"
    trade.now += 1
    trade.ladder.see_absent(place.client_order_id, trade.now)
    assert trade.wants() == [place]


def test_must_be_unique_means_look_and_not_refused() -> None:
    """422 is also the answer to an order that exists already."""
    trade = Trade()
    (place,) = trade.wants()
    assert isinstance(place, Place)
    found = trade.venue.take(place)
    assert found is not None
    trade.ladder.see_unresolved(place.client_order_id, trade.now, refusal="HTTP 422")
    assert [type(intent) for intent in trade.wants()] == [LookUp]
    trade.ladder.see_order_data(found, trade.now)
    assert trade.run() == []


def test_a_422_of_an_order_that_does_not_exist_counts_until_it_cannot_come_any_more() -> None:
    """Its name may be that of one which is on its way. Then it is a refusal."""
    trade = Trade()
    (place,) = trade.wants()
    trade.ladder.see_unresolved(place.client_order_id, trade.now, refusal="HTTP 422")
    trade.now += ABSENT_AFTER_S - 1
    trade.wants()
    trade.ladder.see_absent(place.client_order_id, trade.now)
    assert trade.ladder.book.pending_entries == 10
    trade.now += 1
    trade.wants()
    trade.ladder.see_absent(place.client_order_id, trade.now)
    assert trade.ladder.book.pending_entries == 0
    assert trade.wants() == []
    trade.now += 300
    assert [intent.client_order_id for intent in trade.wants()] == [f"{ENTRY}0:2"]


def test_of_two_orders_with_one_name_the_terms_of_the_one_that_alpaca_has_count() -> None:
    """A killed run's entry at 101 comes in before this one's at 99: it is not what is wanted."""
    trade = Trade(start="99")
    (place,) = trade.wants()
    assert isinstance(place, Place)
    found = trade.venue.take(replace(place, limit_price=Decimal(101)))
    assert found is not None
    trade.ladder.see_unresolved(place.client_order_id, trade.now, refusal="HTTP 422")
    trade.ladder.see_order_data(found, trade.now)
    (intent,) = trade.wants()
    assert isinstance(intent, Cancel)
    trade.fill(place.client_order_id, price="101")
    assert trade.working()["profit:0:1"] == (10, Decimal("101.05"))


def test_a_lost_answer_after_the_order_was_seen_changes_nothing() -> None:
    """The bus was faster than the time-out."""
    trade = Trade()
    (place,) = trade.wants()
    assert isinstance(place, Place)
    trade.venue.take(place)
    trade.hear()
    trade.ladder.see_unresolved(place.client_order_id, trade.now)
    trade.ladder.see_refused(place.client_order_id, NO_MONEY, trade.now)
    trade.ladder.see_absent(place.client_order_id, trade.now)
    assert trade.run() == []


def test_a_fill_after_a_cancel_counts_and_takes_the_room_of_a_new_entry() -> None:
    """The surprise fills rung 1 while rung 0 is bought again: then rung 1 is simply full."""
    trade = Trade(max_position=20)
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{PROFIT}0:1")
    trade.venue.fill_late(f"{ENTRY}1:1", Decimal(10))
    trade.run()
    assert trade.ladder.position == 10
    assert trade.working() == {
        "entry:0:2": (10, Decimal("100.00")),
        "profit:1:1": (10, Decimal("100.00")),
    }
    trade.fill(f"{ENTRY}0:2")
    assert trade.ladder.position == 20
    assert not any(name.startswith("entry") for name in trade.working())


def test_a_fill_after_a_cancel_on_the_working_rung_itself_cancels_what_is_too_much() -> None:
    """Ended, bought anew on the same rung, and then filled after all: the maximum is kept."""
    trade = Trade(max_position=10)
    trade.run()
    trade.venue.end(f"{ENTRY}0:1", "canceled")
    trade.run()
    trade.now += 5
    trade.run()
    assert set(trade.working()) == {"entry:0:2"}
    trade.venue.fill_late(f"{ENTRY}0:1", Decimal(10))
    trade.run()
    assert set(trade.working()) == {"profit:0:1"}


def test_a_late_fill_that_leaves_too_little_room_cancels_the_working_entry() -> None:
    """Four more than known: an entry for ten would exceed the maximum of ten."""
    trade = Trade(max_position=10)
    trade.run()
    trade.venue.end(f"{ENTRY}0:1", "canceled")
    trade.run()
    trade.now += 5
    trade.run()
    trade.venue.fill_late(f"{ENTRY}0:1", Decimal(4))
    trade.run()
    assert trade.working() == {
        "profit:0:1": (4, Decimal("100.05")),
        "entry:0:3": (6, Decimal("100.00")),
    }


def test_an_order_replaced_by_hand_stays_ours_with_its_fills() -> None:
    """Somebody moved our entry in Alpaca's app: it still fills our rung."""
    trade = Trade()
    trade.run()
    old = trade.venue.orders[f"{ENTRY}0:1"].to_data()
    new = old | {"id": "o-by-hand", "client_order_id": "hand", "replaces": old["id"]}
    trade.ladder.see_order_data(old | {"status": "replaced", "replaced_by": "o-by-hand"}, trade.now)
    trade.ladder.see_order_data(new, trade.now)
    assert trade.run() == []
    trade.ladder.stop(cancel_entries=True)
    assert trade.wants() == [Cancel(client_order_id=f"{ENTRY}0:1", order_id="o-by-hand")]
    trade.ladder.see_order_data(new | {"status": "filled", "filled_qty": "10"}, trade.now)
    assert trade.ladder.position == 10


def test_an_order_missing_from_the_list_of_open_orders_is_looked_up() -> None:
    """Its message was lost; it may have filled."""
    trade = Trade()
    trade.run()
    trade.ladder.see_open_orders([], trade.ladder.working_ids(), trade.now)
    assert trade.wants() == [LookUp(client_order_id=f"{ENTRY}0:1")]


def test_an_order_sent_after_the_list_was_asked_for_is_not_missed_in_it() -> None:
    """The list is older than the order."""
    trade = Trade()
    expected = trade.ladder.working_ids()
    trade.run()
    trade.ladder.see_open_orders([], expected, trade.now)
    assert trade.wants() == []


def test_a_cancel_that_nobody_confirms_is_asked_again_later() -> None:
    """First its truth, then once more."""
    trade = Trade()
    trade.run()
    trade.ladder.stop(cancel_entries=True)
    assert [type(intent) for intent in trade.wants()] == [Cancel]
    trade.ladder.look_up(f"{ENTRY}0:1")
    assert [type(intent) for intent in trade.wants()] == [LookUp]
    trade.now += 5
    assert Cancel in [type(intent) for intent in trade.wants()]


@pytest.mark.parametrize(("cancel_entries", "left"), [(True, {"profit:0:1"}), (False, None)])
def test_stopping_places_nothing_more_and_leaves_exits_working(
    cancel_entries: bool, left: set[str] | None
) -> None:
    """What happens to the working entry is the user's choice."""
    trade = Trade()
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.ladder.stop(cancel_entries)
    trade.run()
    assert set(trade.working()) == (left or {"profit:0:1", "entry:1:1"})


def test_the_ladder_ends_where_prices_would_not_be_positive() -> None:
    """A cheap stock and a wide increment."""
    trade = Trade(max_position=100, start="0.25", increment="0.10")
    assert [rung.entry_price for rung in trade.ladder.rungs] == [
        Decimal("0.25"),
        Decimal("0.15"),
        Decimal("0.05"),
    ]


def test_foreign_orders_change_nothing() -> None:
    """Another client's id may even begin with ours."""
    trade = Trade()
    trade.run()
    foreign = trade.venue.orders[f"{ENTRY}0:1"].to_data()
    for name in ("bot2:AAPL:entry:0:1", "bot:MSFT:entry:0:1", "by hand", None):
        data = foreign | {"id": f"f-{name}", "client_order_id": name, "filled_qty": "10"}
        assert trade.ladder.see_order_data(data, trade.now) is None
    assert trade.ladder.position == 0


def test_a_rung_that_was_left_in_parts_is_topped_up() -> None:
    """Nine were sold, and then one: nine are entered again at once, and then one more."""
    trade = Trade(max_position=10)
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{PROFIT}0:1", 9)
    assert trade.entries() == [(9, "100.00")]
    trade.fill(f"{PROFIT}0:1", 1)
    assert trade.entries() == [(9, "100.00"), (1, "100.00")]
