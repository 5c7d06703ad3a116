"""Record tickers' trades into a CSV file: one line a trade, complete after every line.

    python examples/record_to_csv.py AAPL MSFT --output trades.csv
    python examples/record_to_csv.py AAPL --seconds 60

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import argparse
import contextlib
import csv
import os
import threading

from tickerbus import (
    GapMessage,
    LeaseKeeper,
    PriceMessage,
    RedisConfig,
    RedisSubscriber,
    RegistrationClient,
)

COLUMNS = ["timestamp", "symbol", "price", "volume", "last_eligible", "epoch", "seq"]

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("tickers", nargs="+")
parser.add_argument("--output", default="trades.csv")
parser.add_argument("--seconds", type=float, help="end by itself after this long")
args = parser.parse_args()

config = RedisConfig.from_env()
with (
    open(args.output, "a", newline="", buffering=1) as file,
    RedisSubscriber(config) as bus,
    RegistrationClient(config, f"record-to-csv-{os.getpid()}") as client,
):
    rows = csv.writer(file)
    if file.tell() == 0:
        rows.writerow(COLUMNS)

    def record(message: object) -> None:
        match message:
            case PriceMessage():
                rows.writerow([getattr(message, column) for column in COLUMNS])
            case GapMessage(backfilled=False):
                print(f"{message.symbol}: trades may be missing from {message.from_}", flush=True)

    for ticker in args.tickers:
        bus.subscribe(bus.names.get_ticker_channel(ticker), record)
    bus.start_listening()
    lease = LeaseKeeper(client, args.tickers, lease_s=60, on_rejected=print)
    lease.start()
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait(args.seconds)
    lease.stop()
