"""Slots and rates."""

from __future__ import annotations

from main.alpaca_sim.limits import RateWindow, Slots

SECOND = 1_000_000_000


def test_a_slot_is_free_again_after_a_clean_end() -> None:
    slots = Slots(1)
    assert slots.acquire("iex", 0)
    assert not slots.acquire("iex", 0)
    assert slots.acquire("sip", 0)
    slots.release("iex")
    assert slots.acquire("iex", 0)


def test_an_unclean_end_keeps_the_slot_until_it_is_reaped() -> None:
    slots = Slots(1)
    slots.acquire("iex", 0)
    slots.release("iex", free_at_ns=90 * SECOND)
    assert not slots.acquire("iex", 89 * SECOND)
    assert slots.acquire("iex", 90 * SECOND)


def test_no_limit_is_no_limit_and_reaping_frees_all() -> None:
    assert all(Slots(0).acquire("iex", 0) for _ in range(50))
    slots = Slots(1)
    slots.hold("iex", 100 * SECOND)
    assert slots.taken("iex", 0) == 1
    slots.reap()
    assert slots.acquire("iex", 0)


def test_a_window_lets_through_its_number_and_tells_when_it_is_over() -> None:
    window = RateWindow(2, 60.0)
    verdicts = [window.take(n * SECOND) for n in range(3)]
    assert [v.allowed for v in verdicts] == [True, True, False]
    assert verdicts[2].headers() == {
        "X-RateLimit-Limit": "2",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "60",
    }
    assert window.take(60 * SECOND).allowed
    assert not window.take(60 * SECOND).allowed


def test_no_window_has_no_headers() -> None:
    assert RateWindow(0).take(0).headers() == {}
