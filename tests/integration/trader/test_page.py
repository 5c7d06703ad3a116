"""docs/trader.md is true: its program runs as it stands, and its figures are the code's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from main.alpaca_sim import LocalAlpaca
from main.trade_events import RedisEventBus
from main.trader import ExecutorConfig
from main.utils import refusals
from main.utils.redis.config import RedisConfig

pytestmark = pytest.mark.integration

REPOSITORY = Path(__file__).parents[3]
PAGE = (REPOSITORY / "docs" / "trader.md").read_text("utf-8")
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_its_program_trades_and_tells(
    alpaca: LocalAlpaca, redis_config: RedisConfig, tmp_path: Path
) -> None:
    """As a user's script in a folder of its own."""
    (tmp_path / "strategy.py").write_text(PROGRAM)
    env = {name: value for name, value in os.environ.items() if "ALPACA" not in name} | {
        "REDIS_HOST": redis_config.host,
        "REDIS_PORT": str(redis_config.port),
        "ALPACA_API_KEY": "local",
        "ALPACA_API_SECRET": "local-secret",
        "ALPACA_TRADING_URL": alpaca.url,
    }
    done = subprocess.run(
        [sys.executable, "strategy.py"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "filled 10 at 50.01" in done.stdout
    with RedisEventBus(redis_config) as bus:
        kinds = [event.event_type.value for event in bus.replay("MSFT")]
    assert (kinds[0], kinds[-1]) == ("order.created", "position.closed")


def test_its_defaults_are_the_configs() -> None:
    """A table that nobody checks is wrong one day."""
    config = ExecutorConfig()
    for row in re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]+) \|", PAGE.split("`status`")[0], re.M):
        names = re.findall(r"`(\w+)`", row[0])
        values = [value.strip(" `").replace(",", "") for value in re.split(r", ", row[1])]
        for name, value in zip(names, values, strict=True):
            assert str(getattr(config, name)).removesuffix(".0") == value


def test_its_waits_are_the_tables() -> None:
    """First wait, longest wait, attempts."""
    numbers = {"five": 5, "eight": 8, "three": 3, "ten": 10}
    found = re.findall(r"`(\w+)` \| ([\d.]+) s growing to (\d+), (\w+) times", PAGE)
    assert len(found) == 6
    rules = {
        rule.cause: rule for rule in vars(refusals).values() if isinstance(rule, refusals.Rule)
    }
    for cause, first_s, cap_s, times in found:
        rule = rules[cause]
        told = (float(first_s), float(cap_s), numbers[times])
        assert (rule.first_s, rule.cap_s, rule.attempts) == told
