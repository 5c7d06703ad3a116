"""The executor's settings: every bad name in one message."""

from __future__ import annotations

from typing import Any

import pytest

from main.trader import ExecutorConfig, InvalidExecutorConfig
from main.trader.log import ExecutorLog


def test_a_mapping_or_nothing_makes_a_config() -> None:
    """The document gives `config=executor_config` and says no more."""
    assert ExecutorConfig.of(None) == ExecutorConfig()
    assert ExecutorConfig.of({"client_id": "bot"}).client_id == "bot"
    config = ExecutorConfig(poll_s=1)
    assert ExecutorConfig.of(config) is config


def test_all_bad_settings_are_named_at_once() -> None:
    """Not one after the other."""
    with pytest.raises(InvalidExecutorConfig) as raised:
        ExecutorConfig(client_id="no good", requests_per_minute=500, poll_s=0, timeout_s=True)
    assert len(raised.value.problems) == 4
    assert "client_id must match" in str(raised.value)


@pytest.mark.parametrize("config", [{"client": "bot"}, 7, "bot"])
def test_what_is_no_config_is_refused(config: Any) -> None:
    """An unknown name is a typing error, not a wish."""
    with pytest.raises(InvalidExecutorConfig):
        ExecutorConfig.of(config)


class Lines:
    """A logger of the standard library's kind: one text, no fields."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, line: str) -> None:
        self.lines.append(line)


def test_a_logger_of_the_standard_library_gets_a_line() -> None:
    """structlog's would get the fields."""
    lines = Lines()
    ExecutorLog(lines).info("executor.order_accepted", order="bot:1", qty=10)
    assert lines.lines == ["executor.order_accepted order=bot:1 qty=10"]
