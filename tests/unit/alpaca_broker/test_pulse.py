"""When a ping goes out, and what its answer, or none, means."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from main.alpaca_broker.connection_config import ConnectionConfig
from main.alpaca_broker.pulse import Beat, Pulse
from main.utils.turns import next_turn_s

CONFIG = ConnectionConfig(name="stocks", url="ws://nowhere", key="k", secret="s")
SENT_S = CONFIG.ping_after_s
LATE_S = SENT_S + CONFIG.pong_missed_s + 0.1
OVER_S = SENT_S + CONFIG.pong_timeout_s + 0.1


class Socket:
    def __init__(self) -> None:
        self.pongs: list[threading.Event] = []

    def ping(self) -> threading.Event:
        self.pongs.append(threading.Event())
        return self.pongs[-1]


class Line:
    """A pulse and its socket; it heard something at 0 and pinged when that was long ago."""

    def __init__(self) -> None:
        self.socket, self.pulse = Socket(), Pulse(CONFIG)
        assert self.look(SENT_S / 2) is Beat.FINE
        assert self.socket.pongs == []
        assert self.look(SENT_S) is Beat.FINE
        assert len(self.socket.pongs) == 1

    def look(self, now_s: float, heard_s: float = 0.0) -> Beat:
        socket: Any = self.socket
        return self.pulse.look(socket, now_s, heard_s)


@pytest.fixture
def line() -> Line:
    return Line()


def test_an_answer_is_as_if_nothing_had_been(line: Line) -> None:
    line.socket.pongs[0].set()
    assert line.look(SENT_S + 0.1, SENT_S + 0.05) is Beat.BACK
    assert line.look(SENT_S + 0.2, SENT_S + 0.05) is Beat.FINE
    assert len(line.socket.pongs) == 1


def test_a_late_answer_is_missed_and_then_the_connection_is_gone(line: Line) -> None:
    assert line.look(SENT_S + 0.1) is Beat.FINE
    assert line.look(LATE_S) is Beat.MISSED
    assert line.look(OVER_S) is Beat.GONE


def test_while_data_flows_no_answer_is_needed(line: Line) -> None:
    """It waits behind a backlog; the slot must not be given away for that."""
    assert line.look(LATE_S) is Beat.MISSED
    assert line.look(OVER_S, heard_s=OVER_S - 0.01) is Beat.BACK
    assert line.look(OVER_S + 0.1, heard_s=OVER_S - 0.01) is Beat.FINE


def test_a_look_is_due_when_a_ping_or_the_word_that_it_is_missed_is(line: Line) -> None:
    assert line.pulse.look_again_s(SENT_S, 0.0) == SENT_S + CONFIG.ping_after_s
    nearly_s = SENT_S + CONFIG.pong_missed_s
    assert line.pulse.look_again_s(nearly_s - 0.1, 0.0) == nearly_s
    assert line.pulse.look_again_s(LATE_S, 0.0) == LATE_S, "at each turn from now on"
    line.look(LATE_S, heard_s=LATE_S - 0.1)
    assert line.pulse.look_again_s(LATE_S, LATE_S - 0.1) == LATE_S - 0.1 + CONFIG.ping_after_s


def test_a_quiet_connection_is_pinged_again_in_the_look_that_finds_the_answer(line: Line) -> None:
    line.socket.pongs[0].set()
    assert line.look(SENT_S + CONFIG.ping_after_s) is Beat.BACK
    assert len(line.socket.pongs) == 2


@pytest.mark.parametrize("heard_s", [0.0, 0.001, 0.1, 0.24, 0.2499])
def test_one_that_falls_silent_is_found_within_two_seconds(heard_s: float) -> None:
    """Looks are at turns only, a little late, and only where one is due."""
    socket: Any = Socket()
    pulse, looks = Pulse(CONFIG), []
    now_s = next_turn_s(heard_s) + 0.002
    while pulse.look(socket, now_s, heard_s) is not Beat.MISSED:
        looks.append(now_s)
        now_s = next_turn_s(pulse.look_again_s(now_s, heard_s)) + 0.002
        assert now_s - heard_s < 1.8
    assert len(looks) <= 4, "it looks at what is due, not at every turn"
