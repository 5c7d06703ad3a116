"""What professionals know from ScaleTrader: the published examples of its manual, to the cent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.scale_t.terms import Side
from tests.unit.scale_t.trade import ENTRY, PROFIT, Trade


def test_a_restored_component_returns_to_its_level_and_the_next_is_cancelled() -> None:
    """Its example 4: 400 at 413.02, out at 413.22; 413.00 is cancelled, 413.02 stands again."""
    trade = Trade(10_000, "413.02", component=400, increment="0.02", profit_offset="0.20")
    trade.run()
    trade.fill(f"{ENTRY}0:1", 400)
    assert (trade.entries(), trade.exits()) == ([(400, "413.00")], [(400, "413.22")])
    trade.fill(f"{PROFIT}0:1", 400)
    assert (trade.entries(), trade.exits()) == ([(400, "413.02")], [])


def test_a_larger_initial_component_is_left_in_slices_one_level_further_each() -> None:
    """Its example 3: 800 at 26.28 as if they were two entries; out at 26.48 and 26.46."""
    trade = Trade(
        10_000, "26.28", component=400, initial=800, increment="0.02", profit_offset="0.20"
    )
    assert len(trade.ladder.rungs) == 24
    trade.run()
    trade.fill(f"{ENTRY}0:1", 800)
    assert trade.exits() == [(400, "26.48"), (400, "26.46")]
    assert trade.entries() == [(400, "26.26")]


def test_profits_of_a_large_component_grow_as_its_portions_execute() -> None:
    """The first slice is filled up before the second begins; what works is not touched."""
    trade = Trade(800, "26.28", component=400, initial=800, increment="0.02", profit_offset="0.20")
    trade.run()
    trade.fill(f"{ENTRY}0:1", 250)
    trade.fill(f"{ENTRY}0:1", 300)
    assert trade.exits() == [(250, "26.48"), (150, "26.48"), (150, "26.46")]


def test_a_slice_that_was_sold_is_offered_as_itself_again() -> None:
    """The nearer slice goes first, is restored, bought again, and offered at its own price."""
    trade = Trade(800, "26.28", component=400, initial=800, increment="0.02", profit_offset="0.20")
    trade.run()
    trade.fill(f"{ENTRY}0:1", 800)
    trade.fill(f"{PROFIT}0:2", 400)
    assert trade.entries() == [(400, "26.28")]
    trade.fill(f"{ENTRY}0:2", 400)
    assert sorted(trade.exits()) == [(400, "26.46"), (400, "26.48")]


def test_an_existing_position_restarts_at_the_right_component() -> None:
    """Its example 5: 200 are owned as the first two components; the third is bought at 10.06."""
    trade = Trade(
        1_000,
        "10.10",
        component=100,
        increment="0.02",
        profit_offset="0.03",
        existing_position=Decimal(200),
    )
    trade.run()
    assert trade.entries() == [(100, "10.06")]
    assert trade.exits() == [(100, "10.13"), (100, "10.11")]
    trade.fill(f"{ENTRY}2:1", 100)
    assert trade.exits()[-1] == (100, "10.09")
    trade.fill(f"{PROFIT}0:1", 100)
    assert trade.entries() == [(100, "10.10")], "restored at its own level"


def test_a_partly_filled_initial_component_goes_on_with_its_rest() -> None:
    """Its example 6: 1,200 of 2,000 had been bought, 500 are left: first 800 at 10.15, and then
    the 700 that were sold again."""
    trade = Trade(
        5_000,
        "10.15",
        component=1_000,
        initial=2_000,
        increment="0.01",
        profit_offset="0.02",
        existing_position=Decimal(500),
        filled_initial=Decimal(1_200),
    )
    trade.run()
    assert trade.entries() == [(800, "10.15")]
    assert trade.exits() == [(500, "10.17")]
    trade.fill(f"{ENTRY}0:1", 800)
    assert trade.entries() == [(700, "10.15")]
    trade.fill(f"{ENTRY}0:2", 700)
    assert trade.ladder.position == 2_000
    assert trade.entries() == [(1_000, "10.14")]


def test_without_restore_what_was_left_is_not_entered_again() -> None:
    """The ladder is gone through once."""
    trade = Trade(20, restore=False)
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{PROFIT}0:1")
    assert trade.entries() == [(10, "99.95")]
    trade.fill(f"{ENTRY}1:1")
    trade.fill(f"{PROFIT}1:1")
    assert trade.working() == {}


def test_without_a_profit_offset_nothing_is_offered() -> None:
    """Scaling in alone."""
    trade = Trade(20, profit_offset="0.05")
    object.__setattr__(trade.ladder.terms, "profit_offset", None)
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{ENTRY}1:1")
    assert (trade.working(), trade.ladder.position) == ({}, 20)


def test_several_entries_may_work_at_a_time() -> None:
    """The first ones that are not full, and never more than the maximum together."""
    trade = Trade(25, working_entries=3)
    trade.run()
    assert trade.entries() == [(10, "100.00"), (10, "99.95"), (5, "99.90")]
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{PROFIT}0:1")
    assert sorted(trade.entries()) == [(5, "99.90"), (10, "100.00"), (10, "99.95")]


def test_a_short_ladder_sells_at_rising_prices_and_buys_back_cheaper() -> None:
    """The mirror image, to the cent; slices, too."""
    trade = Trade(30, "100", initial=20, side=Side.SHORT, increment="0.05", profit_offset="0.20")
    trade.run()
    assert trade.entries() == [(20, "100.00")]
    assert trade.venue.orders[f"{ENTRY}0:1"].place.side == "sell"
    trade.fill(f"{ENTRY}0:1", 20)
    assert trade.exits() == [(10, "99.80"), (10, "99.85")]
    assert trade.venue.orders[f"{PROFIT}0:1"].place.side == "buy"
    assert trade.entries() == [(10, "100.05")]
    trade.fill(f"{PROFIT}0:2")
    assert trade.ladder.profit().realised == Decimal("1.50")
    trade.price("101")
    assert trade.ladder.profit().open == -10


@pytest.mark.parametrize(
    ("side", "fill", "limit_price", "told"),
    [
        (Side.LONG, "99.40", "limit", "100.05"),
        (Side.LONG, "99.40", "fill", "99.45"),
        (Side.SHORT, "100.60", "limit", "99.95"),
        (Side.SHORT, "100.60", "fill", "100.55"),
    ],
)
def test_a_profit_is_counted_from_the_limit_or_from_the_fill(
    side: Side, fill: str, limit_price: str, told: str
) -> None:
    """The fill may be better than what was asked."""
    trade = Trade(10, side=side, profit_from=limit_price)
    trade.run()
    trade.fill(f"{ENTRY}0:1", 10, fill)
    assert trade.exits() == [(10, told)]


def test_increments_and_offsets_may_be_percent() -> None:
    """Of the price that they are measured from; on Alpaca's price steps."""
    trade = Trade(30, "200", increment="1%", profit_offset="0.5%")
    assert [str(rung.entry_price) for rung in trade.ladder.rungs] == ["200.00", "198.00", "196.02"]
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    assert trade.exits() == [(10, "201.00")]


def test_random_sizes_are_drawn_once_and_kept() -> None:
    """Whole shares, within the percentage, adding up; the same again after a restart."""
    words: dict[str, Any] = {"component": 40, "randomize_percent": Decimal(55)}
    sizes = [rung.size for rung in Trade(1_000, **words).ladder.rungs]
    assert sizes == [rung.size for rung in Trade(1_000, **words).ladder.rungs]
    assert len(set(sizes)) > 5
    assert sum(sizes) == 1_000
    assert all(18 <= size <= 62 and size == int(size) for size in sizes[:-1])


def test_an_entry_needs_a_price_in_the_range() -> None:
    """Below the lowest rungs are not entered; outside, working entries are taken back."""
    trade = Trade(30, lowest=Decimal("99.93"), highest=Decimal("101"))
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    trade.fill(f"{ENTRY}1:1")
    assert trade.entries() == [], "the third rung, at 99.90, is out of the range"
    trade.fill(f"{PROFIT}1:1")
    assert trade.entries() == [(10, "99.95")]
    trade.price("99.50")
    assert (trade.entries(), trade.exits()) == ([], [(10, "100.05")])
    trade.price("99.94")
    assert trade.entries() == [(10, "99.95")]


def test_a_session_has_a_limit_of_its_own() -> None:
    """So much may be entered, restored quantity included, until the next session begins."""
    trade = Trade(30, session_limit=Decimal(15))
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    assert trade.entries() == [(5, "99.95")]
    trade.fill(f"{ENTRY}1:1", 5)
    trade.fill(f"{PROFIT}0:1")
    assert trade.entries() == []
    trade.ladder.session_entered = trade.ladder.book.entered
    trade.run()
    assert trade.entries() == [(10, "100.00")]


def test_the_same_generation_is_never_used_twice() -> None:
    """Ten times around the same rung."""
    trade = Trade(10)
    for number in range(1, 11):
        trade.run()
        trade.fill(f"{ENTRY}0:{number}")
        trade.fill(f"{PROFIT}0:{number}")
    assert trade.ladder.profit().realised == Decimal("5.00")
    assert len(trade.venue.orders) == 21
