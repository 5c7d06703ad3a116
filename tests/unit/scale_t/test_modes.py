"""Pausing, holding, stopping, flattening, and the moves of a ladder's terms while it runs."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest

from main.scale_t.intents import Cancel, Place
from main.scale_t.ladder import Gate
from main.scale_t.modes import MODE_MOVES, IllegalMode, Mode
from main.utils.answers import Refused
from tests.unit.scale_t.trade import ENTRY, PROFIT, Trade


def holding_one(**words: object) -> Trade:
    """Ten are owned and offered, the second rung works."""
    trade = Trade(**words)  # type: ignore[arg-type]
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    return trade


def test_a_paused_ladder_takes_entries_back_and_still_exits() -> None:
    """Exits only make the risk smaller."""
    trade = holding_one()
    trade.ladder.become(Mode.PAUSED, "by hand")
    trade.run()
    assert set(trade.working()) == {"profit:0:1"}
    trade.fill(f"{PROFIT}0:1", 4)
    trade.ladder.become(Mode.TRADING, "by hand")
    trade.run()
    assert trade.entries() == [(4, "100.00")]


def test_a_held_ladder_sends_nothing_new_at_all() -> None:
    """What is owned is in doubt, so a new exit may be wrong too."""
    trade = holding_one()
    trade.ladder.become(Mode.HELD, "a split")
    trade.run()
    assert set(trade.working()) == {"profit:0:1"}
    trade.venue.end(f"{PROFIT}0:1", "expired")
    trade.now += 600
    assert trade.run() == []


@pytest.mark.parametrize(
    ("before", "after"),
    [(a, b) for a in Mode for b in Mode if a is not b and b not in MODE_MOVES[a]],
)
def test_a_move_that_the_table_lacks_changes_nothing(before: Mode, after: Mode) -> None:
    """A stop never becomes a trade again; only a person ends a hold."""
    trade = Trade()
    trade.ladder.mode = before
    with pytest.raises(IllegalMode):
        trade.ladder.become(after, "no")
    assert trade.ladder.mode is before


def test_flatten_cancels_its_own_first_and_then_closes_only_what_it_owns() -> None:
    """No exit works beside the market order: nothing could be sold twice."""
    trade = holding_one()
    trade.fill(f"{ENTRY}1:1", 7)
    trade.ladder.become(Mode.FLATTENING, "by hand")
    first = trade.wants()
    assert {type(intent) for intent in first} == {Cancel}
    assert len(first) == 3, "two exits and the rest of an entry"
    for intent in first:
        trade.venue.end(intent.client_order_id)
    trade.hear()
    closes = [intent for intent in trade.wants() if isinstance(intent, Place)]
    assert [(c.side, c.qty, c.limit_price) for c in closes] == [
        ("sell", 10, None),
        ("sell", 7, None),
    ]
    for close in closes:
        trade.venue.take(close)
        trade.venue.fill(close.client_order_id, close.qty, Decimal("99.90"))
    trade.run()
    assert trade.ladder.is_flat
    assert trade.ladder.profit().total == trade.venue.cash == Decimal("-1.35")


def test_a_late_fill_while_flattening_is_closed_too() -> None:
    """A fill that follows the cancel."""
    trade = holding_one(max_position=20)
    trade.ladder.become(Mode.FLATTENING, "by hand")
    trade.run()
    for name in list(trade.venue.orders):
        if "profit:0:2" in name:
            trade.venue.fill(name, Decimal(10), Decimal(99))
    trade.venue.fill_late(f"{ENTRY}1:1", Decimal(3))
    trade.run()
    assert trade.working() == {"profit:1:1": (3, None)}


@pytest.mark.parametrize(("flatten", "mode"), [(False, Mode.STOPPING), (True, Mode.FLATTENING)])
def test_the_maximum_loss_stops_it_and_flattens_if_asked(flatten: bool, mode: Mode) -> None:
    """Realised and open together, at the last price."""
    trade = holding_one(max_loss=Decimal(20), flatten_on_loss=flatten)
    trade.price("98.01")
    assert trade.ladder.mode is Mode.TRADING
    trade.price("98.00")
    assert trade.ladder.mode is mode
    assert trade.ladder.loss_reached
    assert trade.entries() == []
    assert ("profit:0:1" in trade.working()) is not flatten


@pytest.mark.parametrize("flatten", [False, True])
def test_a_split_overnight_is_no_loss_before_anybody_has_looked(flatten: bool) -> None:
    """The first price of the new shares comes before the session's check; it is judged after it."""
    trade = holding_one(max_loss=Decimal(20), flatten_on_loss=flatten)
    trade.ladder.market_open = False
    trade.ladder.see_price(Decimal(10))
    assert (trade.ladder.mode, trade.ladder.loss_reached) == (Mode.TRADING, False)
    trade.ladder.become(Mode.HELD, "a split")
    trade.ladder.market_open = True
    trade.ladder.see_price(Decimal(10))
    assert trade.ladder.mode is Mode.HELD
    trade.ladder.rescale(Decimal(10))
    trade.ladder.become(Mode.TRADING, "")
    trade.ladder.judge_loss()
    assert trade.ladder.mode is Mode.TRADING, "no price of the new shares is known yet"
    trade.ladder.see_price(Decimal("9.81"))
    assert trade.ladder.mode is Mode.TRADING
    trade.ladder.see_price(Decimal("9.80"))
    assert trade.ladder.loss_reached


def test_a_loss_from_before_the_session_counts_once_it_begins() -> None:
    """A price that fell without any split: the check has passed, so it is a loss."""
    trade = holding_one(max_loss=Decimal(20))
    trade.ladder.market_open = False
    trade.ladder.see_price(Decimal(97))
    trade.ladder.market_open = True
    trade.ladder.judge_loss()
    assert (trade.ladder.mode, trade.ladder.loss_reached) == (Mode.STOPPING, True)


@pytest.mark.parametrize("limit", ["lowest", "highest", "max_loss"])
def test_limits_of_the_price_hold_the_first_entry_until_a_price_is_known(limit: str) -> None:
    """After a restart the rungs are known, but not on which side of the limit the market is."""
    trade = Trade(start=None, **{limit: Decimal({"lowest": 90, "highest": 110}.get(limit, 20))})
    trade.ladder.start_at(Decimal(100))
    assert trade.run() == []
    trade.price("99")
    assert trade.entries() == [(10, "100.00")]
    free = Trade(start=None)
    free.ladder.start_at(Decimal(100))
    free.run()
    assert free.entries() == [(10, "100.00")], "without such a limit the starting price is enough"


def test_a_ladder_that_leaves_is_not_stopped_from_it_by_a_refusal() -> None:
    """An entry was in flight when it was held, stopped or flattened; then Alpaca refuses it."""
    answers = (
        Refused(status=422, message='asset "AAPL" is not tradable'),
        Refused(status=401, message="unauthorized."),
    )
    for mode in (Mode.HELD, Mode.STOPPING, Mode.FLATTENING):
        for answer in answers:
            trade = Trade()
            (place,) = trade.wants()
            trade.ladder.become(mode, "by hand")
            trade.ladder.see_refused(place.client_order_id, answer, trade.now)
            assert (trade.ladder.mode, trade.ladder.reason) == (mode, "by hand")
            assert trade.ladder.is_flat


def test_a_ladder_that_owns_nothing_follows_the_price_only_if_asked() -> None:
    """Three increments above its first rung it begins anew there; after a fill never."""
    still = Trade()
    still.run()
    still.price("110")
    assert still.entries() == [(10, "100.00")]
    moving = Trade(re_anchor=3)
    moving.run()
    moving.price("100.15")
    assert moving.entries() == [(10, "100.00")]
    moving.price("100.16")
    assert moving.entries() == [(10, "100.16")]
    moving.fill(f"{ENTRY}0:2")
    moving.price("110")
    assert moving.exits() == [(10, "100.21")]
    assert moving.entries() == [(10, "100.11")]


def test_a_moving_ladder_waits_for_the_end_of_its_old_entry() -> None:
    """It may still fill, and then the ladder stands where it stood."""
    trade = Trade(re_anchor=3)
    trade.run()
    trade.ladder.see_price(Decimal(101))
    assert [type(intent) for intent in trade.wants()] == [Cancel]
    trade.venue.fill(f"{ENTRY}0:1", Decimal(10))
    trade.run()
    assert trade.exits() == [(10, "100.05")]


def test_a_split_scales_what_is_owned_and_where_it_trades() -> None:
    """Ten for one: a tenth of the prices, ten times the quantities, the same dollars."""
    trade = holding_one(max_position=30, increment="1.00")
    before = trade.ladder.profit().cost
    for name in ("profit:0:1", "entry:1:1"):
        trade.venue.end(f"bot:AAPL:{name}", "expired")
    trade.hear()
    trade.ladder.rescale(Decimal(10))
    trade.ladder.see_price(Decimal("10.02"))
    trade.now += 60
    trade.run()
    assert (trade.ladder.position, trade.ladder.profit().cost) == (100, before)
    assert trade.exits() == [(100, "10.10")]
    assert trade.entries() == [(100, "9.90")]
    trade.fill(f"{PROFIT}0:2", 100)
    assert trade.ladder.profit().realised == 10


def test_what_somebody_else_sold_is_taken_off_the_rungs_nearest_to_the_market() -> None:
    """Adopted: it is entered again there, and no more is offered than is left."""
    trade = holding_one(max_position=20)
    trade.fill(f"{ENTRY}1:1")
    assert trade.ladder.adopt(Decimal(6)) == {1: -10, 0: -4}
    trade.now += 10
    trade.run()
    assert trade.ladder.position == 6
    assert trade.exits() == [(6, "100.05")]
    assert trade.entries() == [(4, "100.00")]


def test_nothing_is_sent_while_the_market_is_closed_but_cancels() -> None:
    """Day orders are armed again when it opens."""
    trade = holding_one()
    for name in ("profit:0:1", "entry:1:1"):
        trade.venue.end(f"bot:AAPL:{name}", "expired")
    trade.ladder.market_open = False
    assert trade.run() == []
    trade.now += 3_600
    assert trade.run() == []
    trade.ladder.market_open = True
    trade.run()
    assert set(trade.working()) == {"profit:0:2", "entry:1:2"}


def test_outside_of_its_hours_entries_are_taken_back() -> None:
    """The exits stay."""
    trade = holding_one()
    trade.ladder.entry_gate = Gate.TAKE_BACK
    trade.run()
    assert set(trade.working()) == {"profit:0:1"}


@pytest.mark.parametrize(
    ("kind", "refused", "mode"),
    [
        ("entry", Refused(status=403, message="insufficient buying power"), Mode.TRADING),
        ("entry", Refused(status=403, message="potential wash trade detected"), Mode.TRADING),
        ("entry", Refused(status=422, message='asset "AAPL" is not tradable'), Mode.PAUSED),
        ("entry", Refused(status=422, message="invalid limit_price. sub-penny"), Mode.PAUSED),
        ("entry", Refused(status=401, message="unauthorized."), Mode.HELD),
        ("profit", Refused(status=422, message='asset "AAPL" is not tradable'), Mode.TRADING),
        ("profit", Refused(status=403, message="insufficient qty available"), Mode.TRADING),
        ("profit", Refused(status=401, message="unauthorized."), Mode.HELD),
        (
            "profit",
            Refused(status=403, message="insufficient qty", facts={"held_for_orders": "10"}),
            Mode.TRADING,
        ),
        ("profit", Refused(status=429, message="rate limit exceeded"), Mode.TRADING),
    ],
)
def test_each_refusal_has_its_own_answer(kind: str, refused: Refused, mode: Mode) -> None:
    """Hold, resume by itself, or stop and let a person look; an exit never gives up."""
    trade = Trade()
    trade.run()
    if kind == "profit":
        trade.venue.fill(f"{ENTRY}0:1", Decimal(10))
        trade.hear()
    else:
        trade.venue.end(f"{ENTRY}0:1")
        trade.hear()
        trade.now += 10
    (place, *_) = (i for i in trade.wants() if isinstance(i, Place) and i.kind == kind)
    wait_s = trade.ladder.see_refused(place.client_order_id, refused, trade.now)
    assert trade.ladder.mode is mode
    assert wait_s > 0
    again = [i for i in trade.wants() if isinstance(i, Place) and i.kind == kind]
    assert again == [], "never at once"
    if kind == "profit" and refused.status != 401:
        assert wait_s < math.inf
