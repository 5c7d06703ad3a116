"""The Python of docs/trade-events.md runs as it stands there, and its table is the server's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from main.trade_events import RedisEventBus, TradeEvent, TradeEventType
from main.utils.redis.config import RedisConfig
from tests.integration.trade_events.test_state import LEGAL

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[3] / "docs" / "trade-events.md").read_text("utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)


def test_every_python_block_runs_after_the_one_before(
    config: RedisConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", str(config.port))
    names: dict[str, Any] = {}
    assert len(PYTHON) >= 5
    try:
        for code in PYTHON:
            exec(compile(code.replace("tickerbus.", "main."), "trade-events.md", "exec"), names)
    finally:
        bus: RedisEventBus = names["event_bus"]
        bus.close()
    printed = capsys.readouterr().out
    for promised in re.findall(r"print\(.*\)  # (.+)", PAGE):
        assert promised.partition("…")[0] in printed, promised
    assert printed.splitlines()[-1] == "True", "rebuilt and equal"


def test_the_pages_table_of_moves_is_the_tested_one() -> None:
    rows = re.findall(r"^\| (`\w+`|unchanged) \| (.+?) \| (.+?) \|$", PAGE, re.M)
    told = set()
    for after, befores, events in rows:
        for before in befores.replace("`", "").split(", "):
            for event in re.findall(r"`([a-z]+\.[a-z_]+)`", events):
                told.add((before, event, "replaced_by" in events, after.strip("`")))
    values = {
        "created": "order.created", "partially filled": "order.partially_filled",
        "filled": "order.filled", "cancelled": "order.cancelled", "rejected": "order.rejected",
        "modified": "order.modified", "replaced": "order.modified",
    }  # fmt: skip
    positions = {"opened", "closed", "partially closed"}
    wanted = set()
    for (before, name), after in LEGAL.items():
        is_position = name in positions or before == "active"
        event = f"position.{name.replace(' ', '_')}" if is_position else values[name]
        start = "nothing" if before.endswith("none") else before
        stays = start == after and name in ("modified", "partially closed")
        wanted.add((start, event, name == "replaced", "unchanged" if stays else after))
    assert told == wanted


def test_the_page_names_every_type_and_helper() -> None:
    for kind in TradeEventType:
        last = kind.value.rpartition(".")[2]
        assert f"`{kind.value}`" in PAGE or f"`.{last}`" in PAGE, kind
        assert hasattr(TradeEvent, f"create_{kind.name.lower()}")
