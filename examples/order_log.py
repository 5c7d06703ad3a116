"""Log every order event of tickers, whoever sent the order: strategies, apps, people.

    python examples/order_log.py AAPL MSFT
    python examples/order_log.py AAPL --client-id scale-t

With --client-id only that client's: an order is its own if its client_order_id starts with
`<client_id>:`. Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C
ends it.
"""

import argparse
import os

from tickerbus import OrderMessage, TickerClient

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("tickers", nargs="+")
parser.add_argument("--client-id", help="only the orders of this client")
parser.add_argument("--seconds", type=float, help="end by itself after this long")
args = parser.parse_args()


def log(message: OrderMessage) -> None:
    order = message.order_data
    if args.client_id and not order["client_order_id"].startswith(f"{args.client_id}:"):
        return
    print(
        f"{message.timestamp} {message.symbol} {message.event:14} {order['side']:4} "
        f"{order['filled_qty']}/{order['qty']} at {order['limit_price'] or 'market'} "
        f"{order['client_order_id']}",
        flush=True,
    )


with TickerClient.from_env(client_id=f"order-log-{os.getpid()}") as client:
    client.on(*args.tickers, order=log, orders="all")
    client.run(args.seconds)
