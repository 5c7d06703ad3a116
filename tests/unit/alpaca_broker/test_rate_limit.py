"""A token bucket per client, with a fake clock."""

from __future__ import annotations

from main.alpaca_broker.rate_limit import BURST, PER_SECOND, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def drain(limiter: RateLimiter, client_id: str) -> int:
    """How many requests are admitted at once."""
    count = 0
    while limiter.admits(client_id):
        count += 1
    return count


def test_a_burst_is_admitted_and_what_is_beyond_it_is_not() -> None:
    assert drain(RateLimiter(Clock()), "a") == BURST


def test_one_clients_flood_leaves_the_others_alone() -> None:
    limiter = RateLimiter(Clock())
    drain(limiter, "a")
    assert limiter.admits("b")
    assert not limiter.admits("a")


def test_it_refills_at_its_rate_and_no_higher_than_the_burst() -> None:
    clock = Clock()
    limiter = RateLimiter(clock)
    drain(limiter, "a")
    clock.now += 2
    assert drain(limiter, "a") == 2 * PER_SECOND
    clock.now += 1_000_000
    assert drain(limiter, "a") == BURST


def test_clients_without_number_do_not_fill_the_memory() -> None:
    limiter = RateLimiter(Clock())
    for number in range(10_050):
        limiter.admits(str(number))
    assert len(limiter._buckets) == 10_000
    assert "10049" in limiter._buckets
    assert "0" not in limiter._buckets
