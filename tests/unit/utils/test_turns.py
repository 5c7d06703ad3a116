"""When threads that wait in turns wake."""

from __future__ import annotations

import time

import pytest

from main.utils.turns import TURN_S, next_turn_s, until_turn_s


@pytest.mark.parametrize(
    ("moment_s", "turn_s"), [(7.0, 7.0), (7.01, 7.25), (7.25, 7.25), (7.9, 8.0)]
)
def test_the_next_turn_is_the_first_quarter_of_a_second_from_a_moment_on(
    moment_s: float, turn_s: float
) -> None:
    assert next_turn_s(moment_s) == pytest.approx(turn_s)


def test_turns_of_a_whole_second_are_turns_of_a_quarter_too() -> None:
    assert next_turn_s(7.25, 1.0) == 8.0
    assert next_turn_s(8.0) == 8.0


@pytest.mark.parametrize("every_s", [TURN_S, 1.0])
def test_a_wait_until_the_next_turn_is_no_longer_than_a_turn_and_ends_with_one(
    every_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now_s in (0.0, 0.1, 3.2, 50_000.123):
        monkeypatch.setattr(time, "monotonic", lambda now_s=now_s: now_s)
        wait_s = until_turn_s(every_s)
        assert 0 < wait_s <= every_s
        assert (now_s + wait_s) / every_s == pytest.approx(round((now_s + wait_s) / every_s))
