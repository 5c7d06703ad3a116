"""When an order counts as kept, by how many replicas have it."""

from __future__ import annotations

from main.utils.redis.replicas import GRACE_S, ReplicaWatch


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_where_there_never_was_a_replica_nobody_waits_for_one() -> None:
    watch = ReplicaWatch(Clock())
    assert watch.is_kept(0)
    assert watch.is_kept(0)


def test_a_replica_that_has_just_vanished_may_be_the_primary_now() -> None:
    clock = Clock()
    watch = ReplicaWatch(clock)
    assert watch.is_kept(1)
    assert not watch.is_kept(0)
    clock.now_s += GRACE_S - 0.1
    assert not watch.is_kept(0)


def test_one_that_stays_away_is_waited_for_once() -> None:
    clock = Clock()
    watch = ReplicaWatch(clock)
    watch.is_kept(1)
    watch.is_kept(0)
    clock.now_s += GRACE_S
    assert watch.is_kept(0)
    assert watch.is_kept(0)


def test_one_that_comes_back_is_waited_for_again() -> None:
    clock = Clock()
    watch = ReplicaWatch(clock)
    watch.is_kept(1)
    watch.is_kept(0)
    assert watch.is_kept(2)
    clock.now_s += 60
    assert not watch.is_kept(0)
