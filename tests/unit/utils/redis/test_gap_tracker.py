"""What a place in the sequence means, and what two journals together can still give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.utils.redis.entries import Numbers
from main.utils.redis.gap_tracker import (
    BEGINNING,
    Entry,
    GapTracker,
    Loss,
    Place,
    Verdict,
    has_hole,
    plan_refill,
    with_orders,
)
from main.utils.redis.messages import OrderMessage, PriceMessage


def entry(epoch: int, seq: int) -> Entry:
    return Entry(Numbers(epoch, seq, f"t{epoch}-{seq}"), b"", f"{epoch}-{seq}")


def entries(epoch: int, *seqs: int) -> list[Entry]:
    return [entry(epoch, seq) for seq in seqs]


def test_a_place_is_the_journals_entry_id() -> None:
    assert Place.parse("17-4") == Place.parse(b"17-4") == Place(17, 4)
    assert str(Place(17, 4)) == "17-4"
    assert Place(17, 4) < Place(17, 10) < Place(18, 1)


@pytest.mark.parametrize("text", ["", "17", "17-", "-4", "a-4", "17-4-4", "17-x", "17--4"])
def test_what_is_no_id_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        Place.parse(text)


def test_the_first_message_is_the_beginning_wherever_it_stands() -> None:
    tracker = GapTracker()
    assert tracker.place is None
    assert tracker.judge(5, 40) is Verdict.NEXT
    assert tracker.place == Place(5, 40)


def test_each_kind_of_message_after_a_place() -> None:
    tracker = GapTracker(Place(5, 40))
    assert tracker.judge(5, 40) is Verdict.SEEN
    assert tracker.judge(5, 1) is Verdict.SEEN
    assert tracker.judge(5, 42) is Verdict.HOLE
    assert tracker.judge(6, 1) is Verdict.HOLE
    assert tracker.judge(4, 99) is Verdict.LOWER_EPOCH
    assert tracker.judge(0, 0) is Verdict.UNNUMBERED
    assert tracker.place == Place(5, 40), "only the next one moves it"
    assert tracker.judge(5, 41) is Verdict.NEXT
    assert tracker.place == Place(5, 41)


def test_adopting_a_lower_epoch_begins_at_its_start_and_leaves_the_higher_behind() -> None:
    tracker = GapTracker(Place(9, 5))
    tracker.adopt_lower(4)
    assert tracker.judge(4, 1) is Verdict.NEXT
    assert tracker.left == {9}
    tracker.move_to(Place(9, 6))
    assert tracker.left == set()


def test_an_epoch_that_was_left_and_is_adopted_again_goes_on_where_it_was_left() -> None:
    tracker = GapTracker(Place(4, 17))
    tracker.move_to(Place(9, 1))
    tracker.adopt_lower(4)
    assert tracker.judge(4, 17) is Verdict.SEEN
    assert tracker.judge(4, 18) is Verdict.NEXT


places = st.tuples(st.integers(1, 4), st.integers(1, 6))


@given(st.lists(places), st.none() | places)
def test_no_message_is_next_twice_and_the_place_never_falls(
    stream: list[tuple[int, int]], begin: tuple[int, int] | None
) -> None:
    tracker = GapTracker(Place(*begin) if begin else None)
    taken = []
    for epoch, seq in stream:
        before = tracker.place
        if tracker.judge(epoch, seq) is Verdict.NEXT:
            taken.append((epoch, seq))
            assert before is None or tracker.place == Place(before.epoch, before.seq + 1)
        else:
            assert tracker.place == before
    assert taken == sorted(set(taken))


def test_an_anchored_journal_lacks_nothing() -> None:
    plan = plan_refill(Place(5, 3), True, entries(5, 3, 4, 5) + entries(6, 1), [])
    assert plan == entries(5, 4, 5) + entries(6, 1)


def test_orders_that_outlived_the_journal_come_with_one_exact_loss_before_them() -> None:
    plan = plan_refill(Place(5, 3), False, entries(5, 10, 11), entries(5, 2, 6, 8, 10))
    assert plan == [Loss(4, "t5-10"), *entries(5, 6, 8, 10, 11)]


def test_orders_that_fill_the_whole_hole_leave_no_loss() -> None:
    assert plan_refill(Place(5, 3), False, entries(5, 6), entries(5, 4, 5)) == entries(5, 4, 5, 6)


def test_orders_alone_are_told_with_what_is_missing_between_them() -> None:
    plan = plan_refill(Place(5, 3), False, [], entries(5, 5, 8))
    assert plan == [Loss(3, "t5-8"), *entries(5, 5, 8)]
    assert plan_refill(Place(5, 3), False, [], entries(5, 4, 5)) == entries(5, 4, 5)


def test_the_end_of_an_epoch_that_the_journal_lost_is_a_loss_of_unknown_size() -> None:
    plan = plan_refill(Place(5, 3), False, entries(6, 1, 2), [])
    assert plan == [Loss(None, "t6-1"), *entries(6, 1, 2)]


def test_a_new_epoch_that_does_not_begin_at_one_is_a_loss_too() -> None:
    plan = plan_refill(Place(5, 3), True, entries(5, 3) + entries(6, 4), [])
    assert plan == [Loss(None, "t6-4"), *entries(6, 4)]


def test_from_the_beginning_a_journal_that_was_never_trimmed_lacks_nothing() -> None:
    assert plan_refill(BEGINNING, True, entries(6, 1, 2), []) == entries(6, 1, 2)
    assert plan_refill(BEGINNING, True, entries(6, 3), []) == [Loss(None, "t6-3"), entry(6, 3)]


def test_from_the_beginning_a_trimmed_journal_lacks_nobody_knows_how_much() -> None:
    plan = plan_refill(BEGINNING, False, entries(6, 1), entries(5, 4))
    assert plan == [Loss(None, "t6-1"), *entries(5, 4), entry(6, 1)]


def test_nothing_found_says_nothing() -> None:
    assert plan_refill(Place(5, 3), False, [], []) == []


def test_epochs_that_were_given_up_stay_behind() -> None:
    log = entries(4, 1, 2)
    assert plan_refill(Place(4, 0), False, log, entries(9, 7), left={9}) == log


@given(
    total=st.integers(1, 40),
    place=st.integers(0, 40),
    trimmed=st.integers(0, 40),
    order_seqs=st.sets(st.integers(1, 40)),
)
def test_a_refill_is_in_order_without_repeats_and_counts_exactly_what_is_lost(
    total: int, place: int, trimmed: int, order_seqs: set[int]
) -> None:
    log = entries(5, *range(1, total + 1))[trimmed:]
    orders = entries(5, *sorted(seq for seq in order_seqs if seq <= total))
    anchored = any(found.place.seq == place for found in log)
    plan = plan_refill(Place(5, place), anchored, log, [] if anchored else orders)
    seqs = [step.place.seq for step in plan if isinstance(step, Entry)]
    assert seqs == sorted(set(seqs))
    assert all(seq > place for seq in seqs)
    kept = {found.place.seq for found in log} | {order.place.seq for order in orders}
    assert set(seqs) == {seq for seq in kept if seq > place}
    lost = sum(step.lost or 0 for step in plan if isinstance(step, Loss))
    last = max(seqs, default=place)
    assert lost == last - place - len(seqs)
    assert len(plan) - len(seqs) <= 1, "one gap tells it all"


def told(seq: int, message: object, at: str) -> Entry:
    return Entry(Numbers(5, seq, at), b"", message)


def price(at: str, *, backfilled: bool) -> PriceMessage:
    return PriceMessage(
        symbol="X",
        timestamp=at,
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=backfilled,
    )


def order(at: str) -> OrderMessage:
    return OrderMessage(
        symbol="X",
        timestamp=at,
        event="fill",
        order_data={},
        update={},
        account_id="a",
        paper=True,
        source="reconcile",
    )


def test_a_loss_ends_with_the_first_message_that_tells_of_its_own_time() -> None:
    """A recovered order, or a refilled trade, may be older than the loss before it."""
    log = [
        told(7, order("t1"), "t1"),
        told(8, price("t2", backfilled=True), "t2"),
        told(9, price("t9", backfilled=False), "t9"),
    ]
    assert plan_refill(Place(5, 3), True, log, [])[0] == Loss(3, "t9")
    assert plan_refill(Place(5, 3), False, log, [])[0] == Loss(3, "t9")
    assert plan_refill(Place(5, 3), True, log[:2], [])[0] == Loss(3, ""), "nobody knows"


def test_a_journal_that_a_failover_left_with_a_hole_is_filled_from_the_orders() -> None:
    log = entries(5, 1, 2, 6, 8) + entries(6, 1)
    assert has_hole(log)
    assert not has_hole(entries(5, 1, 2) + entries(6, 1, 2))
    assert not has_hole([])
    whole = with_orders(log, entries(5, 2, 4, 5, 7, 9) + entries(6, 1, 2))
    assert [(e.place.epoch, e.place.seq) for e in whole] == [
        (5, 1), (5, 2), (5, 4), (5, 5), (5, 6), (5, 7), (5, 8), (5, 9), (6, 1)
    ]  # fmt: skip
    plan = plan_refill(Place(5, 1), True, whole, [])
    assert plan[1] == Loss(1, "t5-4"), "what was no order is lost, and told"
    assert sum(isinstance(each, Loss) for each in plan) == 1
