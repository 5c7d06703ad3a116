"""From where a late joiner wants to begin."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.utils.redis.gap_tracker import Place
from main.utils.redis.messages import rfc3339
from main.utils.redis.start import Start, sortable_time

moments = st.integers(0, 4_000_000_000 * 10**9)


@given(moments, moments)
def test_times_sort_as_they_happened_however_many_digits_they_have(one: int, other: int) -> None:
    def short(text: str) -> str:
        return text.rstrip("Z").rstrip("0").rstrip(".") + "Z" if "." in text else text

    keys = [sortable_time(short(rfc3339(moment))) for moment in (one, other)]
    assert (keys[0] < keys[1], keys[0] == keys[1]) == (one < other, one == other)
    assert keys[0] == sortable_time(rfc3339(one))


def test_since_takes_a_text_or_a_time_with_a_zone() -> None:
    assert Start.since("2026-11-21T14:30:05Z").timestamp == "2026-11-21T14:30:05Z"
    in_new_york = datetime(2026, 11, 21, 9, 30, 5, 250_000, timezone(timedelta(hours=-5)))
    assert Start.since(in_new_york).timestamp == "2026-11-21T14:30:05.250000Z"
    assert Start.since(datetime(2026, 11, 21, tzinfo=UTC)).timestamp.endswith("T00:00:00.000000Z")


@pytest.mark.parametrize("bad", ["", "yesterday", "2026-11-21", "2026-11-21T14:30:05+01:00"])
def test_what_is_no_time_in_utc_is_told(bad: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        Start.since(bad)


def test_a_time_without_a_zone_is_told() -> None:
    with pytest.raises(ValueError, match="zone"):
        Start.since(datetime(2026, 11, 21))  # noqa: DTZ001


def test_from_id_takes_a_journals_id() -> None:
    assert Start.from_id("17-4").place == Place(17, 4)
    with pytest.raises(ValueError, match="is not an id"):
        Start.from_id("17")
