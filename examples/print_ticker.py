"""Print a ticker's trades, and the account's orders in it, as they happen.

    python examples/print_ticker.py AAPL
    REDIS_HOST=10.0.0.5 python examples/print_ticker.py AAPL --seconds 30

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import argparse
import contextlib
import os
import threading

from tickerbus import (
    LeaseKeeper,
    OrderMessage,
    PriceMessage,
    RedisConfig,
    RedisSubscriber,
    RegistrationClient,
)


def show(message: object) -> None:
    match message:
        case PriceMessage():
            mark = "" if message.last_eligible else "  (does not set the last price)"
            text = f"{message.price:10.2f} x {message.volume:g}{mark}"
        case OrderMessage(event=event, order_data=order):
            text = f"{event}: {order['side']} {order['qty']} {order['client_order_id']}"
        case _:
            text = str(message)  # a gap, a halt, a correction
    print(message.timestamp, message.symbol, text, flush=True)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("ticker")
parser.add_argument("--seconds", type=float, help="end by itself after this long")
args = parser.parse_args()

config = RedisConfig.from_env()
with (
    RedisSubscriber(config) as bus,
    RegistrationClient(config, f"print-ticker-{os.getpid()}") as client,
):
    bus.subscribe(bus.names.get_ticker_channel(args.ticker), show)
    bus.start_listening()
    lease = LeaseKeeper(client, [args.ticker], lease_s=60, on_rejected=print)
    lease.start()
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait(args.seconds)
    lease.stop()
