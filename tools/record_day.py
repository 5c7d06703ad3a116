"""Record one day of the local Alpaca's AAPL for `scale-t simulate`: the same every time.

`python -m tools.record_day` writes examples/data/aapl-day.csv: a regular session in steps of 15
seconds, of the local Alpaca's own seeded market, on a clock of its own instead of the real one.
"""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path

from main.alpaca_sim.assets import AssetBook
from main.alpaca_sim.config import MarketRules
from main.alpaca_sim.market import Market
from main.alpaca_sim.messages import Quote, Trade, rfc3339

DAY = Path(__file__).parent.parent / "examples" / "data" / "aapl-day.csv"
OPENS, CLOSES = "2026-11-20T14:30:00+00:00", "2026-11-20T21:00:00+00:00"
STEP_S, SEED = 15, 7


def record(path: Path = DAY) -> int:
    """Writes the file; returns how many rows it has."""
    rows: list[Quote | Trade] = []
    rules = MarketRules(seed=SEED, default_rate=1 / STEP_S)
    market = Market(AssetBook.built_in(), rules, rows.append)
    opens_ns, closes_ns = (_ns(text) for text in (OPENS, CLOSES))
    market.activate("AAPL", opens_ns)
    for now_ns in range(opens_ns, closes_ns, STEP_S * 1_000_000_000):
        market.advance(now_ns)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["symbol", "timestamp", "type", "price", "size", "bid_price", "ask_price"])
        writer.writerows(_row(event) for event in rows)
    return len(rows)


def _row(event: Quote | Trade) -> list[object]:
    head = [event.symbol, rfc3339(event.timestamp.ns)]
    if isinstance(event, Trade):
        return [*head, "trade", event.price, event.size, "", ""]
    return [*head, "quote", "", "", event.bid_price, event.ask_price]


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp()) * 1_000_000_000


if __name__ == "__main__":
    print(f"{record()} rows in {DAY}")  # noqa: T201
