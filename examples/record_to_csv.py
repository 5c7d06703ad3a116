"""Record tickers' trades into a CSV file: one line a trade, complete after every line.

    python examples/record_to_csv.py AAPL MSFT --output trades.csv
    python examples/record_to_csv.py AAPL --seconds 60

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import argparse
import csv
import os

from tickerbus import GapMessage, PriceMessage, TickerClient

COLUMNS = ["timestamp", "symbol", "price", "volume", "last_eligible", "epoch", "seq"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("tickers", nargs="+")
parser.add_argument("--output", default="trades.csv")
parser.add_argument("--seconds", type=float, help="end by itself after this long")
args = parser.parse_args()

with (
    open(args.output, "a", newline="", buffering=1) as file,
    TickerClient.from_env(client_id=f"record-to-csv-{os.getpid()}") as client,
):
    rows = csv.writer(file)
    if file.tell() == 0:
        rows.writerow(COLUMNS)

    def record(trade: PriceMessage) -> None:
        rows.writerow([getattr(trade, column) for column in COLUMNS])

    def warn(gap: GapMessage) -> None:
        if not gap.backfilled:
            print(f"{gap.symbol}: trades may be missing from {gap.from_}", flush=True)

    client.on(*args.tickers, price=record, gap=warn)
    client.run(args.seconds)
