"""The histogram of the hot path."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from main.utils.figures import LAG_BOUNDS_S, Histogram


def test_a_value_at_a_bound_belongs_below_it() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 3.0):
        histogram.observe(value)
    buckets, total = histogram.read()
    assert buckets == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert total == 8.0


def test_a_clock_behind_the_others_makes_no_negative_lag() -> None:
    histogram = Histogram((1.0,))
    histogram.observe(-3.0)
    assert histogram.read() == ([("1.0", 1.0), ("+Inf", 1.0)], 0.0)


@given(st.lists(st.floats(min_value=0, max_value=1_000)))
def test_buckets_never_fall_and_the_last_counts_all(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    counts = [count for _, count in histogram.read()[0]]
    assert counts == sorted(counts)
    assert counts[-1] == len(values)
    for bound, count in zip(LAG_BOUNDS_S, counts, strict=False):
        assert count == sum(value <= bound for value in values)
