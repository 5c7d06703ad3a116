"""`make profile`: where the broker's price producer spends its time, by py-spy, at full speed.

python -m bench.profile [messages a frame] [seconds]

Prints the functions; the flame graph of all threads goes into bench/results.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from main.logs import configure_logs

from .report import FOLDER
from .stage import Stage, open_stage, plain_reader
from .throughput import BROKER, broker_cell

THREAD = "price-producer"
SAMPLES_PER_S = 400


def record(stage: Stage, per_frame: int, seconds: int, form: str, path: Path) -> None:
    """py-spy beside run after run at full speed."""
    run = broker_cell(stage, stage.keep(plain_reader(stage.valkey.port, BROKER)), per_frame)
    run()
    command = ["record", "--pid", str(stage.broker_pid), "--duration", str(seconds), "--threads"]
    command += ["--rate", str(SAMPLES_PER_S), "--format", form, "--output", str(path)]
    py_spy = Path(sys.executable).with_name("py-spy")
    with subprocess.Popen([py_spy, *command], stdout=subprocess.DEVNULL) as spy:
        while spy.poll() is None:
            run()


def by_function(folded: str) -> Counter[str]:
    """Samples of the thread by the function in which they fell, of py-spy's raw format."""
    found: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, samples = line.rsplit(" ", 1)
        if THREAD in stack.split(";")[0]:
            found[re.sub(r":\d+\)$", ")", stack.split(";")[-1])] += int(samples)
    return found


def main(per_frame: int = 10, seconds: int = 12) -> None:
    configure_logs(level="error")
    FOLDER.mkdir(exist_ok=True)
    raw, picture = FOLDER / "profile.raw", FOLDER / f"profile-{per_frame}.svg"
    with open_stage(BROKER) as stage:
        stage.follow(BROKER)
        record(stage, per_frame, seconds, "raw", raw)
        record(stage, per_frame, seconds, "flamegraph", picture)
    found = by_function(raw.read_text())
    raw.unlink()
    table = Table("share", "function", title=f"{THREAD}, {per_frame} messages a frame")
    for name, samples in found.most_common(25):
        table.add_row(f"{samples / found.total():.1%}", name)
    console = Console(width=120)
    console.print(table)
    console.print(str(picture))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
