"""Alpaca's error codes, and what to do about each."""

from __future__ import annotations

import pytest

from main.alpaca_broker.errors import (
    STREAM_ERRORS,
    BrokerNotReady,
    BrokerRefused,
    IllegalTransition,
    Remedy,
    ThreadsStillRunning,
    remedy_for,
    remedy_for_handshake,
)

# The protocol page's table, 1.5; 408 is gone from it.
ALPACA_CODES = {400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 500}


def test_every_code_of_alpacas_table_has_its_remedy() -> None:
    assert set(STREAM_ERRORS) == ALPACA_CODES


@pytest.mark.parametrize("code", [401, 402, 409, 411, 412])
def test_what_never_heals_is_given_up(code: int) -> None:
    assert remedy_for(code) is Remedy.GIVE_UP


def test_a_taken_slot_is_waited_for() -> None:
    assert remedy_for(406) is Remedy.WAIT
    assert remedy_for_handshake(429) is Remedy.WAIT


@pytest.mark.parametrize("code", [404, 407, 408, 500, 0, 9_999])
def test_what_may_heal_and_what_is_unknown_is_tried_again(code: int) -> None:
    assert remedy_for(code) is Remedy.RETRY


@pytest.mark.parametrize("code", [400, 403, 405, 410, 413])
def test_a_wrong_request_leaves_the_connection_alone(code: int) -> None:
    assert remedy_for(code) is Remedy.REQUEST


@pytest.mark.parametrize(
    ("status", "remedy"),
    [(401, Remedy.GIVE_UP), (402, Remedy.GIVE_UP), (403, Remedy.GIVE_UP), (502, Remedy.RETRY)],
)
def test_the_handshakes_answers_have_theirs(status: int, remedy: Remedy) -> None:
    assert remedy_for_handshake(status) is remedy


def test_the_errors_say_whose_fault_and_carry_the_exit_code() -> None:
    assert BrokerRefused("wrong keys").exit_code == 3
    assert BrokerNotReady("no Redis").exit_code == 2
    illegal = IllegalTransition("broker", "RUNNING", "STARTING")
    assert str(illegal) == "broker is RUNNING: it cannot become STARTING from there"
    stuck = ThreadsStillRunning(["registration"], 4.0)
    assert (stuck.exit_code, stuck.names) == (1, ["registration"])
    assert "registration" in str(stuck)
