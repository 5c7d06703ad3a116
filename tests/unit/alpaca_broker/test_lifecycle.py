"""The table of states: every move that it does not list raises and changes nothing."""

from __future__ import annotations

import itertools
import threading

import pytest

from main.alpaca_broker.errors import IllegalTransition
from main.alpaca_broker.lifecycle import ENDED, TRANSITIONS, WORKING, Lifecycle, State

S = State
# Written out again, so that a change of the table has to be meant.
LEGAL = {
    S.STOPPED: {S.STARTING},
    S.STARTING: {S.STANDBY, S.RUNNING, S.DEGRADED, S.STOPPING, S.REFUSED, S.FAULTED},
    S.STANDBY: {S.STARTING, S.STOPPING, S.REFUSED, S.FAULTED},
    S.RUNNING: {S.DEGRADED, S.STANDBY, S.STOPPING, S.REFUSED, S.FAULTED},
    S.DEGRADED: {S.RUNNING, S.STANDBY, S.STOPPING, S.REFUSED, S.FAULTED},
    S.STOPPING: {S.STOPPED, S.FAULTED},
    S.REFUSED: {S.STOPPING},
    S.FAULTED: {S.STOPPING},
}


def at(state: State) -> Lifecycle:
    lifecycle = Lifecycle("the broker")
    lifecycle.state, lifecycle.reason = state, "as before"
    return lifecycle


@pytest.mark.parametrize(("start", "to"), list(itertools.product(State, State)))
def test_a_move_is_made_if_the_table_lists_it_and_otherwise_changes_nothing(
    start: State, to: State
) -> None:
    lifecycle = at(start)
    since = lifecycle.since_ns
    if to in LEGAL[start]:
        lifecycle.move(to, "new")
        assert (lifecycle.state, lifecycle.reason) == (to, "new")
        return
    with pytest.raises(IllegalTransition, match=f"the broker is {start.value}"):
        lifecycle.move(to, "new")
    assert (lifecycle.state, lifecycle.reason, lifecycle.since_ns) == (start, "as before", since)
    assert lifecycle.move_if_legal(to, "new") is False
    assert (lifecycle.state, lifecycle.reason) == (start, "as before")


def test_from_every_state_in_which_work_is_done_it_can_be_stopped() -> None:
    assert all(State.STOPPING in TRANSITIONS[state] for state in WORKING)
    assert all(State.STOPPING in TRANSITIONS[state] for state in ENDED - {State.STOPPED})


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    assert set().union(*TRANSITIONS.values()) == set(State)


def test_who_waits_for_a_state_is_woken_by_it() -> None:
    lifecycle = at(State.STOPPING)
    seen: list[bool] = []
    waiter = threading.Thread(target=lambda: seen.append(lifecycle.wait_for(ENDED, 10)))
    waiter.start()
    lifecycle.move(State.STOPPED)
    waiter.join(5)
    assert seen == [True]


def test_who_waits_for_a_state_that_does_not_come_is_told() -> None:
    assert at(State.RUNNING).wait_for(ENDED, 0) is False
