"""Ctrl-C ends a command, whatever it is doing at that moment, and halves nothing."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from main.commands.common import ended_by_signals


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_ends_the_block_and_the_stop_is_not_cut_short() -> None:
    done: list[str] = []

    def stop() -> None:
        interrupt()
        done.append("stopped")

    before = signal.getsignal(signal.SIGINT)
    with ended_by_signals(stop):
        interrupt()
        done.append("not reached")
    assert done == ["stopped"]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_must_not_be_halved_is_ended_first() -> None:
    done: list[str] = []
    with ended_by_signals(lambda: done.append("stopped")) as interruption:
        with interruption.held():
            interrupt()
            done.append("whole")
        done.append("not reached")
    assert done == ["whole", "stopped"]


def test_an_interrupt_that_a_finalizer_swallowed_is_seen_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []
    dropped: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: dropped.append(what.exc_type))

    class Finalized:
        def __del__(self) -> None:
            interrupt()

    with ended_by_signals(lambda: done.append("stopped")) as interruption:
        Finalized()
        done.append("went on")
        interruption.look()
        done.append("not reached")
    assert done == ["went on", "stopped"]
    assert dropped == [KeyboardInterrupt]
