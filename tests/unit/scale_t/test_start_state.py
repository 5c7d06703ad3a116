"""What a ladder concludes from its earlier orders, and what it does not understand."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from main.scale_t.intents import Place
from main.scale_t.ladder import Ladder
from main.scale_t.start_state import NotUnderstood, restore
from main.scale_t.terms import Side
from tests.unit.scale_t.fake_venue import FakeVenue
from tests.unit.scale_t.terms import terms


def order(name: str, price: str, *, filled: int = 0, status: str = "new") -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "client_order_id": f"bot:AAPL:{name}",
        "symbol": "AAPL",
        "side": "buy" if name.startswith("entry") else "sell",
        "qty": "10",
        "limit_price": price,
        "filled_qty": str(filled),
        "status": "filled" if filled == 10 else status,
        "updated_at": "2026-11-20T15:00:00Z",
    }


def restored(
    *orders: dict[str, Any], start: str | None = None, saved: str | None = None, **words: Any
) -> Ladder:
    fresh = Ladder(terms(**words))
    given, known = (None if each is None else Decimal(each) for each in (start, saved))
    restore(fresh, orders, given, known)
    return fresh


def wanted(restored_ladder: Ladder) -> list[str]:
    intents = restored_ladder.decide(now=0.0, room=100)
    return [f"{type(i).__name__} {i.client_order_id.removeprefix('bot:AAPL:')}" for i in intents]


def test_without_orders_the_given_price_starts_it() -> None:
    """Generation one."""
    assert wanted(restored(start="100")) == ["Place entry:0:1"]


def test_without_orders_and_price_it_waits_for_the_first_price() -> None:
    """Nothing is guessed."""
    assert wanted(restored()) == []


def test_an_open_entry_tells_the_starting_price_and_is_not_doubled() -> None:
    """Rung 1 at 99.95 in steps of 0.05: the ladder began at 100."""
    again = restored(order("entry:1:4", "99.95"), order("entry:0:2", "100", filled=10))
    assert again.rungs[0].entry_price == 100
    assert wanted(again) == ["Place profit:0:1"]


def test_generations_go_on_where_the_list_ends() -> None:
    """An id is never used twice."""
    rounds = [
        each
        for number in range(1, 8)
        for each in (
            order(f"entry:0:{number}", "100", filled=10),
            order(f"profit:0:{number}", "100.05", filled=10),
        )
    ]
    assert wanted(restored(*rounds, start="100")) == ["Place entry:0:8"]


def test_a_name_that_is_missing_between_others_is_the_next() -> None:
    """A killed run may have sent it; if it comes in yet, Alpaca takes one of the two."""
    book = restored(order("profit:0:2", "100.05"), order("profit:0:4", "100.10"), start="100").book
    names = []
    for _ in range(4):
        names.append(book.next_name("profit", 0).text(""))
        book.begin(book.prefix + names[-1], Decimal(1), Decimal(101))
    assert names == ["profit:0:1", "profit:0:3", "profit:0:5", "profit:0:6"]


def test_a_request_that_a_killed_run_left_on_its_way_is_not_doubled() -> None:
    """Three slices, of which the second comes in after the next run has sent what it misses."""
    venue, words = FakeVenue(), {"max_position": 3, "component": 1, "initial": 3, "start": "100"}
    (entry,) = restored(**words).decide(now=0.0, room=1)
    assert isinstance(entry, Place)
    venue.take(entry)
    venue.fill(entry.client_order_id, entry.qty)

    def start() -> list[Place]:
        listed = [each.to_data() for each in venue.orders.values()]
        intents = restored(*listed, **words).decide(now=0.0, room=3)
        return [each for each in intents if isinstance(each, Place)]

    first, late, third = start()
    venue.take(first)
    venue.take(third)
    again = start()
    for place in (*again, late):
        venue.take(place)
    assert sum(each.open for each in venue.open_orders("profit")) == 3


def test_the_newest_entry_is_the_one_that_was_submitted_last_whatever_its_name() -> None:
    """The exit of what is bought at 110 does not stand at 100.05."""
    again = restored(
        order("profit:0:1", "100.05", filled=10), order("entry:0:2", "100", filled=10), start="110"
    )
    (place,) = again.decide(now=0.0, room=1)
    assert isinstance(place, Place)
    bought = order("entry:0:1", "110", filled=10)
    assert (place.client_order_id, place.limit_price) == (bought["client_order_id"], 110)
    again.see_order_data(bought, 0.0)
    (exit_,) = again.decide(now=0.0, room=1)
    assert isinstance(exit_, Place)
    assert exit_.limit_price == Decimal("110.05")
    assert again.book.rungs[0].held_cost() == 1_100

    older, newer = ({"submitted_at": f"2026-11-20T15:0{minute}:00Z"} for minute in (1, 2))
    listed = [bought | newer, order("profit:0:1", "100.05", filled=10) | older]
    later = restored(*listed, order("entry:0:2", "100", filled=10) | older, start="110")
    assert wanted(later)[0] == "Place profit:0:2"
    assert later.book.rungs[0].held_cost() == 1_100


def test_an_entry_cancelled_by_the_last_stop_does_not_hold_its_rung() -> None:
    """Its end was our own wish."""
    assert wanted(restored(order("entry:0:1", "100", status="canceled"), start="100")) == [
        "Place entry:0:2"
    ]


def test_entries_of_two_ladders_are_both_cancelled_and_the_first_price_decides() -> None:
    """Nothing is held, so nothing is lost by beginning anew."""
    again = restored(order("entry:0:1", "100"), order("entry:0:2", "90"))
    assert again.rungs == ()
    assert wanted(again) == ["Cancel entry:0:1", "Cancel entry:0:2"]


def test_an_open_entry_at_another_price_gives_way_to_the_given_one() -> None:
    """The same rung, the wrong price."""
    again = restored(order("entry:0:1", "90"), start="98")
    assert wanted(again) == ["Cancel entry:0:1"]


def test_the_exit_stands_over_the_entry_that_is_still_held() -> None:
    """The list comes newest first; the older entry of the rung was sold long ago."""
    again = restored(
        order("entry:0:2", "98", filled=10),
        order("profit:0:1", "100.05", filled=10),
        order("entry:0:1", "100", filled=10),
    )
    exits = [i for i in again.decide(now=0.0, room=100) if "profit" in i.client_order_id]
    assert [getattr(each, "limit_price", None) for each in exits] == [Decimal("98.05")]


def test_more_offered_than_held_is_taken_back() -> None:
    """The newest exit is too much."""
    again = restored(
        order("entry:0:1", "100", filled=10),
        order("profit:0:1", "100.05"),
        order("profit:0:2", "100.05"),
    )
    assert wanted(again) == ["Cancel profit:0:2", "Place entry:1:1"]


def test_a_short_ladder_goes_on_above_its_starting_price() -> None:
    """Rung 1 at 100.05 in steps of 0.05: it began at 100."""
    again = restored(
        order("entry:1:4", "100.05") | {"side": "sell"},
        order("entry:0:2", "100", filled=10) | {"side": "sell"},
        side=Side.SHORT,
    )
    assert again.rungs[0].entry_price == 100
    assert wanted(again) == ["Place profit:0:1"]


def test_a_percent_ladder_finds_its_start_again() -> None:
    """From any rung, though every rung was rounded."""
    for start in ("187.43", "20.01", "3.07"):
        rungs = restored(start=start, increment="0.7%", max_position=100).rungs
        deep = rungs[-1]
        price = str(deep.entry_price)
        again = restored(
            order(f"entry:{deep.component}:1", price, filled=10),
            increment="0.7%",
            max_position=100,
        )
        assert again.rungs[-1].entry_price == deep.entry_price


def test_what_was_saved_decides_where_orders_leave_a_choice() -> None:
    """Of several starts that would fit, the one of the run before."""
    held = order("entry:5:1", "96.54", filled=10)
    for saved in ("100.00", "99.99"):
        again = restored(held, saved=saved, increment="0.7%", max_position=100)
        if again.rungs[5].entry_price == Decimal("96.54"):
            assert again.start_price in (Decimal(saved), Decimal("99.99"), Decimal("100.00"))


def test_a_ladder_that_moves_is_where_its_orders_are() -> None:
    """Not where the parameters once began it."""
    again = restored(order("entry:0:9", "110", filled=10), start="100", re_anchor=3)
    assert again.rungs[0].entry_price == 110


def test_an_existing_position_is_owned_beside_the_orders_of_this_run() -> None:
    """The same words start it again: what was sold of it since is in the orders."""
    again = restored(
        order("profit:0:1", "100.05", filled=10),
        start="100",
        existing_position=Decimal(20),
    )
    assert again.position == 10
    assert wanted(again) == ["Place profit:1:1", "Place entry:0:1"]


@pytest.mark.parametrize(
    ("orders", "start", "told"),
    [
        ([order("entry:0", "100")], None, "no name of ours"),
        ([order("profit:0:1", "100.05", filled=10)], None, "left 10 more than it entered"),
        ([order("entry:1:1", "99.95", filled=10)], "98", "not on a ladder from 98"),
        (
            [order("entry:0:1", "100", filled=10), order("entry:1:1", "99.90", filled=10)],
            None,
            "not on a ladder from 100",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_words(
    orders: list[dict[str, Any]], start: str | None, told: str
) -> None:
    """And nothing is sent."""
    with pytest.raises(NotUnderstood, match=re.escape(told)):
        restored(*orders, start=start)
