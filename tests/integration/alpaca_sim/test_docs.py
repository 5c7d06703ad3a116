"""What docs/local-alpaca.md says is so."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules

from .stream_client import eventually

pytestmark = pytest.mark.integration
TEXT = (Path(__file__).parents[3] / "docs" / "local-alpaca.md").read_text(encoding="utf-8")


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)[number]


def test_the_twelve_lines_trade() -> None:
    script = block("python")
    assert len([line for line in script.splitlines() if line.strip()]) == 12
    with LocalAlpaca() as sim:
        done = subprocess.run(
            [sys.executable, "-c", script.replace("http://127.0.0.1:8765", sim.rest_url)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        price, order, _ = done.stdout.splitlines()
        assert 400 < float(price) < 460
        assert order.startswith("OrderStatus.")
        eventually(
            lambda: any(event["event"] == "fill" for event in sim.oracle.order_events), "the fill"
        )


def test_the_test_example_runs() -> None:
    exec(block("python", 1).replace("tickerbus.", "main."), {})


def test_the_scenario_is_one_whose_verbs_exist(sim: LocalAlpaca) -> None:
    assert sim.play(block("yaml")) == 6


def test_every_fault_is_named(sim: LocalAlpaca) -> None:
    verbs = sim.call(lambda script: script.server.verbs.names)
    faults = [name for name in verbs if hasattr(sim.faults, name)]
    assert [name for name in faults if f"{name}" not in TEXT] == []
    assert [f"U{n}" for n in range(1, 23) if not re.search(rf"\bU{n}\b", TEXT)] == []


def test_every_setting_is_named_with_its_default() -> None:
    for field in fields(StreamRules):
        assert field.name in TEXT, field.name
    rows = dict(re.findall(r"^\| `streams\.(\w+)` \| ([^|]+?) \|", TEXT, re.M))
    for name, told in rows.items():
        value = getattr(StreamRules(), name)
        shown = "none" if value == () else str(value).removesuffix(".0")
        assert told.strip("`").lower() == shown.lower(), name
    assert SimConfig().trading_frames == "binary"
    assert MarketRules().session == "always"
