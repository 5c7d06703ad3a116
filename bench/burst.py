"""`make bench-long`: ten times the usual rate for a minute, and how old the last message is then.

python -m bench.burst [seconds]
"""

from __future__ import annotations

import sys

from rich.console import Console

from main.logs import configure_logs

from .readers import Expectation
from .report import Row, print_rows, write_json
from .stage import BUS_ID, Stage, names, open_stage, plain_reader

USUAL, TENFOLD, PER_FRAME = 3_000, 30_000, 10
TICKERS = names("A", 100)


def measure(stage: Stage, seconds: int) -> list[Row]:
    """Every message is checked; one that is missing or folded away fails the run."""
    stage.follow(TICKERS)
    reader = stage.keep(plain_reader(stage.valkey.port, TICKERS))
    pids = {"broker": stage.broker_pid}
    for per_s, lasting in ((USUAL, 10), (TENFOLD, seconds)):
        count = per_s * lasting
        expected = Expectation(deliveries=count, id_key=BUS_ID, timeout_s=lasting + 60)
        _, found = stage.blast(
            TICKERS,
            count,
            PER_FRAME,
            reader,
            pids,
            expected,
            per_s=float(per_s),
            timeout_s=lasting + 120,
        )
        took_s = found.last_s - found.first_s
    late_ms = max(0.0, took_s - seconds) * 1_000
    return [
        Row(what=f"{TENFOLD:,}/s for {seconds} s after {USUAL:,}/s: queue age at its end",
            found=late_ms, target=250, unit="ms", at_most=True),
        Row(what="lost in silence", found=0, target=0, unit="messages", at_most=True),
    ]  # fmt: skip


def main(seconds: int = 60) -> None:
    configure_logs(level="error")
    with open_stage(TICKERS) as stage:
        rows = measure(stage, seconds)
    print_rows(Console(width=150), rows)
    write_json({}, [], rows, "burst")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
