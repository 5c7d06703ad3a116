"""What docs/monitoring hands out: rules that Prometheus takes, and figures that really exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from main.metrics import ReaderCollector

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "docs" / "monitoring"
NAME = re.compile(r"\b(tickerbus_[a-z_]+)")


def promtool() -> str:
    beside_python = Path(sys.executable).with_name("promtool")
    found = str(beside_python) if beside_python.exists() else shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here: make promtool fetches Debian's")
    return found


def check(*arguments: str | Path, given: str = "") -> None:
    ended = subprocess.run(
        [promtool(), *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not ended.stderr.strip() or "SUCCESS" in ended.stdout, ended.stderr


@pytest.fixture(scope="module")
def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((MONITORING / "grafana.json").read_text("utf-8"))
    return loaded


def queries(board: dict[str, Any]) -> Iterator[str]:
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    yield from (note["expr"] for note in board["annotations"]["list"])


def test_prometheus_takes_the_config_and_the_rules() -> None:
    check("check", "config", MONITORING / "prometheus.yml")
    check("check", "rules", MONITORING / "alerts.yml")


def test_the_alerts_wake_when_they_shall_and_only_then(tmp_path: Path) -> None:
    for file in (MONITORING / "alerts.yml", Path(__file__).with_name("alerts_test.yml")):
        shutil.copy(file, tmp_path)
    check("test", "rules", tmp_path / "alerts_test.yml")


def test_every_query_of_the_dashboard_is_one(board: dict[str, Any], tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, expr in enumerate(queries(board))
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "grafana", "rules": rules}]}))
    check("check", "rules", file)
    assert len(rules) > 30


def test_alerts_and_dashboard_ask_only_for_figures_that_are_served(
    board: dict[str, Any], served: set[str]
) -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    asked = {
        name
        for text in (*queries(board), *(rule["expr"] for rule in rules))
        for name in NAME.findall(text)
    }
    assert asked - served == set()
    assert len(asked) > 25


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    for rule in rules:
        assert {"summary", "action"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "look")


def test_the_panels_have_their_places_and_words(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {
            (grid["x"] + column, grid["y"] + row)
            for column in range(grid["w"])
            for row in range(grid["h"])
        }
        assert not cells & taken, panel["title"]
        assert grid["x"] + grid["w"] <= 24
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]


def sample_names(families: list[Metric]) -> set[str]:
    return {sample.name for family in families for sample in family.samples}


class EmptyReader:
    counters: dict[str, int] = {"handled": 0, "gaps": 0}  # noqa: RUF012
    skipped: dict[str, int] = {}  # noqa: RUF012


@pytest.fixture
def served(scraped: list[Metric]) -> set[str]:
    reader = CollectorRegistry()
    reader.register(ReaderCollector(EmptyReader()))
    return sample_names(scraped) | sample_names(list(reader.collect()))
