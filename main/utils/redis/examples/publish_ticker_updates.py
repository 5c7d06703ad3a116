"""Publish invented prices and orders of a ticker, both types in its one channel.

    python -m main.utils.redis.examples.publish_ticker_updates AAPL
    python -m main.utils.redis.examples.publish_ticker_updates AAPL --count 100 --interval 0.01

For a Redis of its own, where no broker runs: on one bus only one may publish. If a broker lives
there, it refuses. REDIS_HOST or REDIS_URL says where Redis is.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time

from ..config import RedisConfig
from ..errors import BusError
from ..messages import OrderMessage, PriceMessage, now_rfc3339
from ..publisher import RedisPublisher
from ..subscriber import RedisSubscriber

HEARTBEATS_S = 2.5  # a broker's heart beats every second


def find_broker(config: RedisConfig) -> str | None:
    """What shows that a broker is alive on this bus; None when there is none."""
    heard = threading.Event()
    with RedisSubscriber(config) as bus:
        client = config.client()
        leader = client.exists(bus.names.BROKER_LEADER)
        client.close()
        if leader:
            return f"{bus.names.BROKER_LEADER} exists"
        bus.subscribe(bus.names.BROKER_STATUS, lambda status: heard.set())
        bus.start_listening()
        return "its heartbeat was heard" if heard.wait(HEARTBEATS_S) else None


def invent_price(ticker: str, number: int) -> PriceMessage:
    return PriceMessage(
        symbol=ticker,
        timestamp=now_rfc3339(),
        price=100 + number % 10 / 10,
        volume=100,
        feed="example",
        last_eligible=True,
        backfilled=False,
    )


def invent_order(ticker: str, number: int) -> OrderMessage:
    order_id = f"example:{ticker}:{number}"
    quantities = {"qty": "10", "filled_qty": "0", "limit_price": "100.00"}
    return OrderMessage(
        symbol=ticker,
        timestamp=now_rfc3339(),
        event="new",
        order_data={"id": order_id, "client_order_id": order_id, "symbol": ticker, "side": "buy"}
        | quantities,
        update={},
        account_id="example",
        paper=True,
        source="stream",
    )


def publish(publisher: RedisPublisher, ticker: str, count: int, interval_s: float) -> None:
    epoch = publisher.open_epoch()
    print(f"publishing to {publisher.names.get_ticker_channel(ticker)}, epoch {epoch}", flush=True)
    for number in range(count):
        publisher.publish_batch([invent_price(ticker, number), invent_order(ticker, number)])
        time.sleep(interval_s)
    print(f"published {count} prices and {count} orders", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ticker", type=str.upper)
    parser.add_argument("--count", type=int, default=1_000_000, help="of prices, and of orders")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between two of them")
    args = parser.parse_args()
    config = RedisConfig.from_env()
    try:
        if (sign := find_broker(config)) is not None:
            sys.exit(
                f"A broker is alive on {config.address} ({sign}), and two publishers on one bus "
                "are forbidden. Use another Redis, or another BUS_PREFIX."
            )
        with RedisPublisher(config) as publisher:
            publish(publisher, args.ticker, args.count, args.interval)
    except BusError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
