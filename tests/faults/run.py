"""`python -m tests.faults.run [U1 R3 …]`: every fault, or those named; prints the table.

Exit code 1 if a row does not hold. `--into FILE` puts the table of a whole run, with its date,
between the marks of that file; `--log FOLDER` keeps what the processes said in rows that failed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from . import processes, redis_faults, upstream
from .fault import Fault, Row, run_fault
from .table import line, markdown

BEGIN, END = "<!-- table: written by make faults -->", "<!-- end of the table -->"
FAULTS: tuple[Fault, ...] = (*upstream.FAULTS, *redis_faults.FAULTS, *processes.FAULTS)


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing is left behind
    chosen = [fault for fault in FAULTS if not options.faults or fault.number in options.faults]
    unknown = set(options.faults) - {fault.number for fault in chosen}
    if unknown:
        print(f"no such fault: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for fault in chosen:
        row = run_fault(fault)
        rows.append(row)
        print(line(row), flush=True)
        for failure in row.failures:
            print(f"          - {failure}", flush=True)
        if options.log and row.words:
            _keep(Path(options.log), row)
    if options.into:
        if len(rows) < len(FAULTS):
            print("not the whole table: nothing is written", file=sys.stderr)
        else:
            put_table(Path(options.into), rows)
    broken = [row.number for row in rows if row.failures]
    print(f"{len(rows)} faults, {len(broken)} do not hold: {' '.join(broken)}".rstrip(": "))
    return 1 if broken else 0


def put_table(file: Path, rows: list[Row]) -> None:
    """Replace what stands between the marks."""
    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    today = datetime.now(UTC).date().isoformat()
    text = f"{before}{BEGIN}\nMeasured on {today}.\n\n{markdown(rows)}\n{END}{after}"
    file.write_text(text, encoding="utf-8")


def _keep(folder: Path, row: Row) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for who, words in row.words.items():
        (folder / f"{row.number}-{who}.log").write_text("\n".join(words), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT")
    parser.add_argument("--into", metavar="FILE")
    parser.add_argument("--log", metavar="FOLDER")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
