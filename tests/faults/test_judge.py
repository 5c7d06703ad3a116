"""The judge sees what is planted: losses, repeats, disorder, and what was told of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.judge import Book, Counts, Happened, OrderHappened
from tests.faults.lines import Line

SECOND = 1_000_000_000


def trade(number: int) -> Happened:
    return Happened("AAPL", 100 + number, number, number * SECOND)


TRADES = [trade(number) for number in range(1, 11)]


def seen(number: int, *, seq: int | None = None, epoch: int = 7) -> Line:
    return Line(
        at=number * SECOND + 1_000,
        kind="price",
        symbol="AAPL",
        epoch=epoch,
        seq=number if seq is None else seq,
        moment=number * SECOND,
        trade_id=100 + number,
    )


def gap(begun: int, until: int, *, kind: str = "gap", seq: int = 0) -> Line:
    return Line(
        at=until * SECOND,
        kind=kind,
        symbol="AAPL",
        epoch=7,
        seq=seq,
        moment=until * SECOND,
        begun=begun * SECOND,
        until=until * SECOND,
        cause="planted",
    )


def judged(*lines: Line) -> Counts:
    book = Book("reader")
    book.take_all(lines)
    return book.judge(TRADES, [])


def test_a_reader_that_has_everything_lost_nothing() -> None:
    counts = judged(*map(seen, range(1, 11)))
    assert (counts.expected, counts.silent_loss, counts.signalled_loss) == (10, 0, 0)
    assert (counts.duplicates, counts.reordered, counts.disordered) == (0, 0, 0)


def test_a_planted_loss_is_silent_when_nothing_told_it() -> None:
    counts = judged(*(seen(number) for number in range(1, 11) if number != 5))
    assert (counts.silent_loss, counts.signalled_loss) == (1, 0)
    assert "105" in counts.examples[0]


def test_a_lost_last_trade_is_silent_too() -> None:
    assert judged(*map(seen, range(1, 10))).silent_loss == 1


def test_a_gap_that_covers_the_loss_tells_it() -> None:
    lines = [seen(number) for number in range(1, 11) if number not in (5, 6)]
    counts = judged(*lines[:4], gap(5, 6), *lines[4:])
    assert (counts.silent_loss, counts.signalled_loss) == (0, 2)
    assert counts.widest_gap_s == 1.0


@pytest.mark.parametrize(("begun", "until"), [(1, 4), (6, 9)])
def test_a_gap_elsewhere_does_not_tell_it(begun: int, until: int) -> None:
    lines = [seen(number) for number in range(1, 11) if number != 5]
    assert judged(*lines, gap(begun, until)).silent_loss == 1


def test_another_tickers_gap_does_not_tell_it() -> None:
    lines = [seen(number) for number in range(1, 11) if number != 5]
    other = gap(1, 9)
    assert judged(*lines, Line(**{**_fields(other), "symbol": "MSFT"})).silent_loss == 1


def test_an_epoch_change_tells_what_was_lost_between() -> None:
    old = [seen(number) for number in range(1, 5)]
    new = [seen(number, seq=number - 6, epoch=8) for number in range(7, 11)]
    counts = judged(*old, *new)
    assert (counts.silent_loss, counts.signalled_loss, counts.told_by_epoch_only) == (0, 2, 2)


def test_an_epoch_change_does_not_tell_a_loss_before_it() -> None:
    old = [seen(number) for number in (1, 2, 4)]
    new = [seen(number, seq=number - 4, epoch=8) for number in range(5, 11)]
    assert judged(*old, *new).silent_loss == 1


def test_a_trade_seen_twice_is_a_duplicate_also_under_another_number() -> None:
    lines = [seen(number) for number in range(1, 11)]
    assert judged(*lines, seen(4, seq=11)).duplicates == 1


def test_a_number_seen_twice_is_a_duplicate() -> None:
    counts = judged(*(seen(number) for number in (1, 2, 3)), gap(1, 2, seq=3))
    assert counts.duplicates == 1


def test_numbers_that_fall_are_reordered() -> None:
    counts = judged(*(seen(number) for number in (1, 3, 2, *range(4, 11))))
    assert (counts.reordered, counts.disordered, counts.silent_loss) == (1, 1, 0)


def test_trades_out_of_order_under_rising_numbers_are_disordered() -> None:
    order = (1, 3, 2, *range(4, 11))
    counts = judged(*(seen(number, seq=place) for place, number in enumerate(order, 1)))
    assert (counts.reordered, counts.disordered) == (0, 1)


# -- orders


def order(event: str, number: int, filled: str = "0", order_id: str = "o1") -> OrderHappened:
    return OrderHappened("AAPL", order_id, event, f"e{number}", filled, number * SECOND)


EVENTS = [
    order("pending_new", 1),
    order("new", 2),
    order("partial_fill", 3, "1"),
    order("fill", 4, "3"),
    order("new", 5, order_id="o2"),
    order("canceled", 6, order_id="o2"),
]


def told(event: OrderHappened, *, source: str = "stream") -> Line:
    return Line(
        at=event.moment,
        kind="order",
        symbol=event.symbol,
        epoch=7,
        seq=int(event.event_id[1:]),
        moment=event.moment,
        order_id=event.order_id,
        event=event.event,
        event_id=event.event_id if source == "stream" else "",
        filled=event.filled,
        source=source,
    )


def orders_judged(*lines: Line, places: dict[str, tuple[int, int]] | None = None) -> Counts:
    book = Book("reader")
    book.take_all(lines)
    return book.judge([], EVENTS, told_by_holes=places)


def test_all_order_events_seen_are_all_there() -> None:
    assert orders_judged(*map(told, EVENTS)).orders_missing == 0


@pytest.mark.parametrize("lost", [2, 3, 5])
def test_a_lost_execution_or_end_is_missing_though_later_states_came(lost: int) -> None:
    lines = [told(event) for index, event in enumerate(EVENTS) if index != lost]
    counts = orders_judged(*lines)
    assert counts.orders_missing == 1
    assert EVENTS[lost].event in counts.examples[0]


@pytest.mark.parametrize("lost", [0, 1, 4])
def test_a_passing_state_may_be_lost_when_a_later_one_came(lost: int) -> None:
    lines = [told(event) for index, event in enumerate(EVENTS) if index != lost]
    assert orders_judged(*lines).orders_missing == 0


def test_a_passing_state_without_a_later_one_is_missing() -> None:
    book = Book("reader")
    assert book.judge([], EVENTS[:1]).orders_missing == 1


def test_an_execution_recovered_with_the_same_quantity_counts() -> None:
    lines = [told(event) for event in EVENTS if event.event != "partial_fill"]
    recovered = replace(EVENTS[2], event_id="e9")
    assert orders_judged(*lines, told(recovered, source="reconcile")).orders_missing == 0


def test_an_execution_recovered_with_another_quantity_does_not_count() -> None:
    lines = [told(event) for event in EVENTS if event.event != "partial_fill"]
    wrong = replace(EVENTS[2], event_id="e9", filled="2")
    assert orders_judged(*lines, told(wrong, source="reconcile")).orders_missing == 1


def test_a_recovered_event_that_the_stream_told_too_is_a_duplicate() -> None:
    again = told(replace(EVENTS[3], event_id="e9"), source="reconcile")
    assert orders_judged(*map(told, EVENTS), again).duplicates == 1


def test_an_event_id_seen_twice_is_a_duplicate() -> None:
    again = told(EVENTS[1])
    assert orders_judged(*map(told, EVENTS), Line(**{**_fields(again), "seq": 9})).duplicates == 1


def test_a_plain_readers_hole_tells_a_missing_order_event() -> None:
    lines = [told(event) for event in EVENTS if event.event != "fill"]
    hole = Line(at=5 * SECOND, kind="hole", symbol="AAPL", after=(7, 3), epoch=7, seq=5)
    places = {event.event_id: (7, int(event.event_id[1:])) for event in EVENTS}
    counts = orders_judged(*lines, hole, places=places)
    assert (counts.orders_missing, counts.orders_signalled) == (0, 1)
    elsewhere = Line(at=5 * SECOND, kind="hole", symbol="AAPL", after=(7, 4), epoch=7, seq=6)
    assert orders_judged(*lines, elsewhere, places=places).orders_missing == 1
    assert orders_judged(*lines, hole).orders_missing == 1  # the library has no such excuse


def test_a_passing_state_that_nobody_was_told_of_is_told_with_a_later_one_in_the_hole() -> None:
    """The stream was down, REST told of the end only, and a plain reader was away just then."""
    lines = [told(event) for event in EVENTS[:4]]
    hole = Line(at=9 * SECOND, kind="hole", symbol="AAPL", after=(7, 4), epoch=7, seq=6)
    places = {"o2/canceled/0": (7, 5)}
    counts = orders_judged(*lines, hole, places=places)
    assert (counts.orders_missing, counts.orders_signalled) == (0, 2)
    both_published = places | {"e5": (7, 9)}
    assert orders_judged(*lines, hole, places=both_published).orders_missing == 1
    assert orders_judged(*lines, places=places).orders_missing == 2


def _fields(line: Line) -> dict[str, object]:
    return {name: getattr(line, name) for name in line.__struct_fields__}
