"""A subscriber in a process of its own, with the library: writes down what its handler saw.

`python -m tests.faults.reader --name N --tickers A,B --out FILE …`; Redis is where the environment
says. It says `ready` once its tickers are followed, obeys commands on stdin (`block 5`, `raise 20`,
`delay 0.02`), and ends when stdin does.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

import msgspec

from main.logs import configure_logs
from main.utils.redis import RedisConfig, RedisSubscriber
from main.utils.redis.registration import LeaseKeeper, RegistrationClient
from main.utils.redis.start import Start

from .lines import Line, Pen, line_of


class Handler:
    """What the user's code is: writes, and is slow, blocked or faulty when told to."""

    def __init__(self, pen: Pen, delay_s: float) -> None:
        self._pen, self.delay_s = pen, delay_s
        self.block_s = 0.0
        self.raises = 0

    def __call__(self, message: Any) -> None:
        self._pen.write(line_of(msgspec.json.decode(msgspec.json.encode(message))))
        if self.block_s:
            block_s, self.block_s = self.block_s, 0.0
            time.sleep(block_s)
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.raises:
            self.raises -= 1
            raise RuntimeError("planted in the handler")

    def obey(self, command: str) -> None:
        verb, _, amount = command.strip().partition(" ")
        if verb == "block":
            self.block_s = float(amount)
        elif verb == "delay":
            self.delay_s = float(amount)
        elif verb == "raise":
            self.raises = int(amount)


def main() -> None:
    options = _options()
    configure_logs("json", "info")
    config = RedisConfig.from_env(client_name=f"lab-{options.name}", bus_prefix=options.prefix)
    pen = Pen(options.out)
    handler = Handler(pen, options.delay_s)
    start = Start.since(options.since) if options.since else Start.live()
    tickers = options.tickers.split(",")
    with RedisSubscriber(config) as bus:
        for ticker in tickers:
            channel = bus.names.get_ticker_channel(ticker)
            bus.subscribe(channel, handler, start=start, capacity=options.capacity)
        bus.start_listening()
        with RegistrationClient(config, options.name) as client:
            replies = client.register(tickers, options.lease_s, timeout_s=10)
            rejected = [reply for reply in replies if reply.status == "rejected"]
            if rejected:
                sys.exit(f"rejected: {rejected}")
            keeper = LeaseKeeper(client, tickers, options.lease_s)
            keeper.start()
            print(f"ready {time.time_ns()}", flush=True)
            for command in sys.stdin:
                handler.obey(command)
            handler.delay_s = 0.0
            keeper.stop(unregister=True, timeout_s=3.0)
        pen.write(Line(at=time.time_ns(), kind="counters", counters=bus.counters))
    left = [t.name for t in threading.enumerate() if not t.daemon and t.name != "MainThread"]
    if left:
        sys.exit(f"threads left: {left}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--tickers", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--since", default="")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--capacity", type=int, default=10_000)
    parser.add_argument("--lease-s", type=int, default=6)
    return parser.parse_args()


if __name__ == "__main__":
    main()
