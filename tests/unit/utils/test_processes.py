"""Only the machine of a process can tell that it is gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from main.utils.processes import has_ended, is_gone, machine, start_of


def test_a_process_that_lives_is_not_gone_and_says_when_it_began() -> None:
    assert not is_gone(machine(), os.getpid())
    assert not is_gone(machine(), 1)
    if sys.platform == "linux":
        assert int(start_of(1)) <= int(start_of(os.getpid()))


def test_one_that_ended_is_gone_also_before_its_parent_takes_notice() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as output:
        output.read()  # to its end
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    if sys.platform == "linux":
        assert has_ended(process.pid), "a zombie"
    process.wait()
    assert is_gone(machine(), process.pid)
    assert start_of(process.pid) == ""


@pytest.mark.parametrize("number", [2**31, 10**40])
def test_a_number_that_no_process_can_have_ends_nothing(number: int) -> None:
    """It stands in Redis, where anybody may have written it."""
    assert not is_gone(machine(), number)


def test_of_another_machine_nobody_can_tell() -> None:
    assert not is_gone("elsewhere/1", 2**22 + 1)
