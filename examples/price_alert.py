"""Say it when a ticker's last price crosses a line.

    python examples/price_alert.py AAPL --above 200 --below 180

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import argparse
import contextlib
import math
import os
import threading

from tickerbus import LeaseKeeper, PriceMessage, RedisConfig, RedisSubscriber, RegistrationClient

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("ticker")
parser.add_argument("--above", type=float, default=math.inf)
parser.add_argument("--below", type=float, default=-math.inf)
parser.add_argument("--seconds", type=float, help="end by itself after this long")
args = parser.parse_args()


class Alert:
    zone = "between"

    def watch(self, message: object) -> None:
        # Odd lots and late prints do not set the last price: an alert must not either.
        if not isinstance(message, PriceMessage) or not message.last_eligible:
            return
        price = message.price
        zone = "above" if price > args.above else "below" if price < args.below else "between"
        if zone != self.zone:
            print(f"{message.timestamp} {message.symbol} {price:.2f} is {zone}", flush=True)
        self.zone = zone


config = RedisConfig.from_env()
with (
    RedisSubscriber(config) as bus,
    RegistrationClient(config, f"price-alert-{os.getpid()}") as client,
):
    # Only the newest price matters here: a slow reader may skip the others.
    bus.subscribe(bus.names.get_ticker_channel(args.ticker), Alert().watch, policy="latest")
    bus.start_listening()
    lease = LeaseKeeper(client, [args.ticker], lease_s=60, on_rejected=print)
    lease.start()
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait(args.seconds)
    lease.stop()
