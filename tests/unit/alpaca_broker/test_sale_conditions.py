"""May a trade set the last price?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from main.alpaca_broker.sale_conditions import LastPriceRule, in_regular_hours

MIDDAY = datetime(2026, 11, 20, 17, 0, tzinfo=UTC).timestamp()  # a Friday, 12:00 in New York
EVENING = datetime(2026, 11, 20, 23, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("tape", ["A", "B", "C", ""])
@pytest.mark.parametrize(
    ("conditions", "eligible"),
    [
        (["@"], True),
        ([" "], True),
        ([""], True),
        (["@", "F"], True),  # an intermarket sweep
        (["O"], True),  # the opening print
        (["6"], True),  # the closing print
        (["5"], True),  # a reopening
        (["X"], True),  # a cross
        (["@", "I"], False),  # an odd lot
        (["@", "F", "I"], False),
        (["Z"], False),  # sold out of sequence
        (["L"], False),  # sold last: late
        (["U"], False),  # extended hours, out of sequence
        (["W"], False),  # an average price
        (["4"], False),  # derivatively priced
        (["P"], False),  # a prior reference price
        (["C"], False),  # cash
        (["N"], False),  # next day
        (["R"], False),  # seller's terms
        (["M"], False),  # the market centre's official close
        (["Q"], False),  # its official open
        (["V"], False),  # contingent
        (["7"], False),
        (["H"], False),  # a price variation
        (["?"], False),  # one that nobody knows
    ],
)
def test_each_condition_has_to_allow_it(conditions: list[str], eligible: bool, tape: str) -> None:
    assert LastPriceRule().allows(tuple(conditions), tape, MIDDAY) is eligible


def test_b_is_an_average_price_on_tapes_a_and_b_and_a_bunched_trade_on_c() -> None:
    rule = LastPriceRule().allows
    assert [rule(("B",), tape, MIDDAY) for tape in "ABC"] == [False, False, True]


def test_an_extended_hours_print_counts_outside_regular_hours_only() -> None:
    rule = LastPriceRule().allows
    assert rule(("@", "T"), "C", EVENING) is True
    assert rule(("@", "T"), "C", MIDDAY) is False


def test_an_extended_hours_odd_lot_never_counts() -> None:
    assert LastPriceRule().allows(("@", "T", "I"), "C", EVENING) is False


def test_what_is_remembered_of_a_combination_is_not_its_hour() -> None:
    rule = LastPriceRule().allows
    assert [rule(("T",), "A", at) for at in (EVENING, MIDDAY, EVENING)] == [True, False, True]


def test_the_calendar_may_be_another_ones() -> None:
    """A half day's afternoon is extended hours, which only a calendar knows."""
    assert LastPriceRule(lambda _unix_s: False).allows(("T",), "A", MIDDAY) is True


@pytest.mark.parametrize(
    ("moment", "regular"),
    [
        (datetime(2026, 11, 20, 14, 29, 59, tzinfo=UTC), False),
        (datetime(2026, 11, 20, 14, 30, tzinfo=UTC), True),
        (datetime(2026, 11, 20, 20, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 20, 21, 0, tzinfo=UTC), False),
        (datetime(2026, 7, 17, 13, 30, tzinfo=UTC), True),  # summer time
        (datetime(2026, 11, 21, 17, 0, tzinfo=UTC), False),  # a Saturday
    ],
)
def test_regular_hours_are_new_yorks(moment: datetime, regular: bool) -> None:
    assert in_regular_hours(moment.timestamp()) is regular
