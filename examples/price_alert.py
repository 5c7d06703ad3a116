"""Say it when a ticker's last price crosses a line.

    python examples/price_alert.py AAPL --above 200 --below 180

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import argparse
import math
import os

from tickerbus import PriceMessage, TickerClient

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("ticker")
parser.add_argument("--above", type=float, default=math.inf)
parser.add_argument("--below", type=float, default=-math.inf)
parser.add_argument("--seconds", type=float, help="end by itself after this long")
args = parser.parse_args()


class Alert:
    zone = "between"

    def watch(self, trade: PriceMessage) -> None:
        # Odd lots and late prints do not set the last price: an alert must not either.
        if not trade.last_eligible:
            return
        price = trade.price
        zone = "above" if price > args.above else "below" if price < args.below else "between"
        if zone != self.zone:
            print(f"{trade.timestamp} {trade.symbol} {price:.2f} is {zone}", flush=True)
        self.zone = zone


# Only the newest price matters here: a slow reader may skip the others.
with TickerClient.from_env(client_id=f"price-alert-{os.getpid()}", policy="latest") as client:
    client.on(args.ticker, price=Alert().watch, from_last=True)
    client.run(args.seconds)
