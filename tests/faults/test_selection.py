"""Eight faults of the table, against real processes. All of them: `make faults`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.faults.fault import run_fault
from tests.faults.run import FAULTS

pytestmark = [pytest.mark.integration, pytest.mark.slow]
CHOSEN = ("U1", "U13b", "R1", "R7", "R12", "X1", "X5", "X8")


@pytest.mark.parametrize("number", CHOSEN)
def test_nothing_is_lost_in_silence(number: str) -> None:
    (fault,) = [fault for fault in FAULTS if fault.number == number]
    row = run_fault(replace(fault, stage=replace(fault.stage, slow_delay_s=0.003)))
    assert not row.failures, "\n".join(row.failures)
