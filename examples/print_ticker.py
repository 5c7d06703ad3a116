"""Print tickers' trades, and the account's orders in them, as they happen.

    python examples/print_ticker.py AAPL MSFT
    REDIS_HOST=10.0.0.5 python examples/print_ticker.py AAPL

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import contextlib
import os
import sys

from tickerbus import OrderMessage, PriceMessage, RegistrationRejected, TickerClient

tickers = sys.argv[1:] or ["AAPL"]

with (
    contextlib.suppress(KeyboardInterrupt),
    TickerClient.from_env(client_id=f"print-ticker-{os.getpid()}") as client,
):
    try:
        for message in client.follow(*tickers, orders="all"):
            match message:
                case PriceMessage(_, price, volume):
                    mark = "" if message.last_eligible else "  (does not set the last price)"
                    text = f"{price:10.2f} x {volume:g}{mark}"
                case OrderMessage(_, event, order):
                    text = f"{event}: {order['side']} {order['qty']} {order['client_order_id']}"
                case _:
                    text = str(message)  # a gap, a halt, a correction
            print(message.timestamp, message.symbol, text, flush=True)
    except RegistrationRejected as rejection:
        sys.exit(str(rejection))
