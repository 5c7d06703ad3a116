"""When a subscriber that hears no heartbeat looks for Redis anew."""

from __future__ import annotations

from main.utils.redis.silence import FIRST_S, MOST_S, Silence

NEVER = float("-inf")


def looks(silence: Silence, heartbeat_at: float, until: float) -> list[float]:
    """The seconds at which it would look, asked each second."""
    moments = range(int(heartbeat_at), int(until))
    return [now for now in moments if silence.is_time_to_look(heartbeat_at, now)]


def test_one_that_never_heard_a_heartbeat_does_not_look() -> None:
    silence = Silence()
    assert not any(silence.is_time_to_look(NEVER, now) for now in range(100))


def test_one_that_hears_them_does_not_look() -> None:
    silence = Silence()
    assert not any(silence.is_time_to_look(now - 1.0, now) for now in range(100))


def test_it_looks_after_three_seconds_and_then_ever_more_rarely() -> None:
    found = looks(Silence(), 0, 2_000)
    assert found[:4] == [FIRST_S, 9, 21, 45]
    assert found[-1] - found[-2] == MOST_S


def test_after_a_new_heartbeat_it_looks_soon_again() -> None:
    silence = Silence()
    looks(silence, 0, 100)
    assert looks(silence, 200, 204) == [203]
