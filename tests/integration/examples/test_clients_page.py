"""docs/clients.md is true: its programs run as they stand."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.conftest import wait_for
from tests.integration.examples.processes import REPOSITORY, Process, RealStack

pytestmark = pytest.mark.integration

PAGE = (REPOSITORY / "docs" / "clients.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("style", [0, 1, 2], ids=["for", "async_for", "callbacks"])
def test_each_style_prints_both_tickers_and_ends_at_ctrl_c(
    stack: RealStack, tmp_path: Path, style: int
) -> None:
    assert len(PROGRAMS) == 3
    script = tmp_path / "consumer.py"
    script.write_text(PROGRAMS[style])
    process: Process = stack.start(str(script))
    try:
        for ticker in ("AAPL", "MSFT"):
            assert re.match(rf"{ticker} [\d.-]+", process.wait_for_line(f"{ticker} "))
        so_far = len(process.lines)  # callbacks are called before `run` is reached
        wait_for(lambda: len(process.lines) >= so_far + 20)
        process.signal(signal.SIGINT)
        code = process.exit_code()
    finally:
        process.end()
    said = "\n".join(process.lines)
    assert (code, "Traceback" in said) == (0, False), said
    assert "broker.away" not in said


def test_the_javascript_of_the_page_is_the_examples_interface() -> None:
    (code,) = re.findall(r"```js\n(.*?)```", PAGE, re.S)
    module = (REPOSITORY / "examples" / "javascript" / "follow.mjs").read_text("utf-8")
    given = re.findall(r"^  (\w+):", code, re.M)
    (taken,) = re.findall(r"export async function follow\(\{ (.*?) \}\)", module)
    assert sorted(given) == sorted(taken.split(", "))
