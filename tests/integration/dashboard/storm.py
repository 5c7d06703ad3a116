"""500 tickers, 5,000 trades a second, for some seconds: `python -m … storm PORT`.

Prints the rate that it reached, and the last price of T000 as the page writes it.
"""

from __future__ import annotations

import random
import sys
import time

from main.dashboard.words import price as words_of
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import encode
from tests.unit.dashboard.messages import heartbeat, price

from .conftest import Bus

TICKERS = [f"T{number:03}" for number in range(500)]
RATE, SECONDS, AT_ONCE = 5_000, 6.0, 100


def main(port: int) -> None:
    bus = Bus(RedisConfig(host="127.0.0.1", port=port))
    bus.hold("storm", *TICKERS)
    begun_s, sent = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - begun_s) < SECONDS:
        pipeline = bus.redis.pipeline(transaction=False)
        for ticker in random.choices(TICKERS, k=AT_ONCE):
            message = price(random.uniform(10, 900), time.time(), ticker)
            pipeline.publish(f"TICKER_UPDATES_{ticker}", encode(message))
        if sent % 1_000 == 0:
            pipeline.publish("BROKER_STATUS", encode(heartbeat()))
        pipeline.execute()
        sent += AT_ONCE
        time.sleep(max(0.0, sent / RATE - elapsed_s))
    last = price(random.uniform(10, 900), time.time(), TICKERS[0])
    bus.say(last)
    print(sent / SECONDS, words_of(last.price))
    bus.redis.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
