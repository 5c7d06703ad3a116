"""`make bench`: everything in one run, in turns. See docs/performance.md.

python -m bench [--rounds 5] [--only rates,subscribers,latency,crowds,figures]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from main.logs import configure_logs
from main.utils.redis.messages import PriceMessage

from .crowds import CROWD, FEW, FIFTY, crowd_cells, fan_out_cells
from .figures import memory_row, single_figures
from .latency import Latencies, measure_latency
from .plot import draw
from .report import Row, print_latencies, print_rates, print_rows, write_json
from .rounds import Result, cpu_ratio, rate_ratio, run_interleaved
from .stage import open_stage
from .subscribing import subscriber_cells
from .throughput import BROKER, HAND_WRITTEN, TICKERS, throughput_cells

PARTS = ("rates", "subscribers", "crowds", "latency", "figures")
SHAPE = PriceMessage(
    symbol="SHAPE", timestamp="2026-11-21T14:30:05.123456789Z", price=187.25, volume=100,
    trade_id=52983525029461, exchange="V", conditions=("@", "I"), tape="C", feed="iex",
    last_eligible=False, backfilled=False,
)  # fmt: skip


def rate_rows(found: dict[str, Result]) -> list[Row]:
    ours, by_hand = found["TickerBus, 10 a frame"], found[f"{HAND_WRITTEN}, 10 a frame"]
    peers = {
        name: rate_ratio(ours, result)
        for name, result in found.items()
        if name.endswith(", 10 a frame") and not name.startswith("TickerBus")
    }
    best = min(peers, key=lambda name: peers[name])
    hundred = found["TickerBus, 100 a frame"]
    fcall, publish = found["limit: the same FCALL bytes"], found["limit: bare PUBLISH"]
    one, one_by_hand = found["TickerBus, 1 a frame"], found[f"{HAND_WRITTEN}, 1 a frame"]
    return [
        Row(what="10 a frame: rate against hand-written", found=peers[by_hand.name], target=20,
            beyond=30),
        Row(what="10 a frame: CPU against hand-written", target=1 / 20, at_most=True,
            found=cpu_ratio(ours, "broker", by_hand, "broker")),
        Row(what=f"10 a frame: rate against the best peer ({best})", found=peers[best], target=5,
            beyond=10),
        Row(what="100 a frame: rate against the limit, the same FCALL bytes", target=0.60,
            beyond=0.75, found=rate_ratio(hundred, fcall)),
        Row(what="1 a frame: rate against hand-written", target=8, beyond=12,
            found=rate_ratio(one, one_by_hand)),
        Row(what="journals on (FCALL) against bare PUBLISH, bare sockets", target=0.50, beyond=0.65,
            found=rate_ratio(fcall, publish)),
    ]  # fmt: skip


def latency_rows(found: dict[tuple[str, int], Latencies]) -> list[Row]:
    return [
        Row(
            what=f"latency at {per_s:,}/s against the bare loop, {name}",
            found=one.at(share) / found["bare loop", per_s].at(share),
            target=target,
            beyond=beyond,
            at_most=True,
        )
        for (road, per_s), one in found.items()
        if road == "TickerBus"
        for name, share, target, beyond in (("p50", 0.5, 2, 1.5), ("p99", 0.99, 3, 2))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--name", default="latest", help="of the files in bench/results")
    arguments = parser.parse_args()
    parts, rounds = arguments.only.split(","), arguments.rounds
    configure_logs(level="error")
    console, begun = Console(width=150), time.monotonic()
    results: dict[str, Result] = {}
    latencies: dict[tuple[str, int], Latencies] = {}
    rows: list[Row] = []

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - begun:5.0f} s{line}", highlight=False)

    if "rates" in parts:
        with open_stage(TICKERS) as stage:
            results |= run_interleaved(throughput_cells(stage), rounds, say)
        rows += rate_rows(results)
    if "subscribers" in parts:
        with open_stage(BROKER) as stage:
            readers = run_interleaved(subscriber_cells(stage, SHAPE), rounds, say)
        results |= readers
        ours, theirs = readers["RedisSubscriber"], readers["redis-py listen()"]
        rows.append(Row(what="subscriber: CPU against redis-py listen()", target=1 / 5,
                        beyond=1 / 8, at_most=True,
                        found=cpu_ratio(ours, "subscriber", theirs, "subscriber")))  # fmt: skip
    if "crowds" in parts:
        with open_stage([*FIFTY, *FEW, *CROWD]) as stage:
            fan = run_interleaved(fan_out_cells(stage), rounds, say)
            crowd = run_interleaved(crowd_cells(stage), rounds, say)
            rows.append(memory_row(stage, len(CROWD)))
        results |= fan | crowd
        rows.append(Row(what="200 subscribers on 50 tickers: delivered against Redis alone",
                        target=0.90, beyond=0.97,
                        found=rate_ratio(*fan.values())))  # fmt: skip
        for speed in ("", ", 60,000/s"):
            rows.append(Row(what=f"10 → 8,000 tickers{speed or ', full speed'}: rate",
                            target=0.85, beyond=0.95,
                            found=rate_ratio(crowd[f"8,000 tickers{speed}"],
                                             crowd[f"10 tickers{speed}"])))  # fmt: skip
    if "latency" in parts:
        latencies = measure_latency(rounds, 1.5, say)
        rows += latency_rows(latencies)
    if "figures" in parts:
        for row in single_figures(SHAPE):
            say(f"  {row.what}: {row.found:.3g} {row.unit}")
            rows.append(row)
    print_rates(console, results.values())
    print_latencies(console, latencies.values())
    print_rows(console, rows)
    path: Path = write_json(results, list(latencies.values()), rows, arguments.name)
    if "rates" in parts and "latency" in parts:
        draw(results, list(latencies.values()), path.with_suffix(""))
    console.print(f"{path}; {time.monotonic() - begun:.0f} s")
    sys.exit(0)


if __name__ == "__main__":
    main()
