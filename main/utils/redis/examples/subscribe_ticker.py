"""Read a ticker's one channel: prices and orders arrive there together, told apart by type.

    python -m main.utils.redis.examples.subscribe_ticker AAPL
    python -m main.utils.redis.examples.subscribe_ticker AAPL --seconds 10

It only listens. Somebody has to publish: a broker for which the ticker is registered
(publish_registration), or publish_ticker_updates. REDIS_HOST or REDIS_URL says where Redis is.
"""

from __future__ import annotations

import argparse
import sys
import threading

from ..config import RedisConfig
from ..errors import BusError
from ..messages import OrderMessage, PriceMessage
from ..subscriber import RedisSubscriber


def show(message: object) -> None:
    """Called for each message, in order, in a thread of its own."""
    if isinstance(message, PriceMessage):
        text = f"price {message.price} volume {message.volume}"
    elif isinstance(message, OrderMessage):
        order = message.order_data
        text = f"order {message.event} {order.get('side')} {order.get('qty')}"
    else:
        text = str(message)
    seq = getattr(message, "seq", "")
    print(f"{getattr(message, 'symbol', '')} #{seq} {text}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ticker")
    parser.add_argument("--seconds", type=float, help="end by itself after this long")
    args = parser.parse_args()
    try:
        with RedisSubscriber(RedisConfig.from_env()) as bus:
            bus.subscribe(bus.names.get_ticker_channel(args.ticker), show)
            bus.start_listening()
            print(f"listening to {bus.names.get_ticker_channel(args.ticker)}", flush=True)
            threading.Event().wait(args.seconds)
    except BusError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
