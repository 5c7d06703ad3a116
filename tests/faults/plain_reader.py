"""A subscriber without our library: redis-py's pub/sub, JSON, and the numbers in the messages.

It loses what pub/sub loses; but from `epoch` and `seq`, and the heartbeat's map of numbers, it
knows that it did. It registers anonymously, as any program in any language could.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from typing import Any

import redis
from redis.sentinel import Sentinel

from .lines import Line, Pen, line_of

DEAF_S = 2.5  # without a heartbeat for so long, the connection is made anew


class Listener:
    """What it has seen of each ticker, and the holes that the numbers show."""

    def __init__(self, pen: Pen, prefix: str) -> None:
        self._pen, self._prefix = pen, prefix
        self._places: dict[str, tuple[int, int]] = {}
        self._newest: dict[str, int] = {}

    def take(self, body: dict[str, Any]) -> None:
        if body.get("type") == "broker_status":
            self._compare(body)
            return
        line = line_of(body)
        self._look_for_holes(line)
        self._places[line.symbol] = (line.epoch, line.seq)
        if line.kind == "price":
            self._newest[line.symbol] = max(self._newest.get(line.symbol, 0), line.moment)
        self._pen.write(line)

    def _look_for_holes(self, line: Line) -> None:
        before = self._places.get(line.symbol)
        if before is None or (line.epoch, line.seq) == (before[0], before[1] + 1):
            return
        if line.epoch == before[0] and line.seq <= before[1]:
            return  # the judge sees that it was repeated
        self._tell_hole(line.symbol, before, (line.epoch, line.seq), max(line.moment, line.at))

    def _compare(self, status: dict[str, Any]) -> None:
        """A lost last message shows in no later number: the heartbeat tells of it."""
        epoch = int(status["epoch"])
        for symbol, ticker in (status.get("tickers") or {}).items():
            before = self._places.get(symbol)
            if before is not None and (epoch, ticker["seq"]) > before and ticker["seq"]:
                self._tell_hole(symbol, before, (epoch, ticker["seq"] + 1), time.time_ns())
                self._places[symbol] = (epoch, ticker["seq"])

    def _tell_hole(
        self, symbol: str, after: tuple[int, int], behind: tuple[int, int], until: int
    ) -> None:
        self._pen.write(
            Line(
                at=time.time_ns(),
                kind="hole",
                symbol=symbol,
                after=after,
                epoch=behind[0],
                seq=behind[1],
                begun=self._newest.get(symbol, 0),
                until=until,
            )
        )


def listen(options: argparse.Namespace, listener: Listener, ended: threading.Event) -> None:
    tickers = options.tickers.split(",")
    ready = False
    while not ended.is_set():
        client = channel = None
        try:
            client = connect()
            channel = client.pubsub(ignore_subscribe_messages=True)
            channel.subscribe(
                f"{options.prefix}BROKER_STATUS",
                *(f"{options.prefix}TICKER_UPDATES_{ticker}" for ticker in tickers),
            )
            heard = time.monotonic()
            while not ended.is_set() and time.monotonic() - heard < DEAF_S:
                message = channel.get_message(timeout=0.1)
                if message is None:
                    continue
                body = json.loads(message["data"])
                if body.get("type") == "broker_status":
                    heard = time.monotonic()
                listener.take(body)
                if not ready and body.get("type") == "broker_status":
                    ready = True
                    _register(client, options, "subscribe")
                    print(f"ready {time.time_ns()}", flush=True)
        except (redis.RedisError, OSError) as error:
            print(json.dumps({"level": "info", "event": f"plain: {error}"}), file=sys.stderr)
            ended.wait(0.1)
        finally:
            for each in filter(None, (channel, client)):
                each.close()


def connect() -> Any:
    """To where the environment says: an address, or Sentinels that know it."""
    timeouts = {"socket_timeout": 5, "socket_connect_timeout": 1}
    if url := os.environ.get("REDIS_URL"):
        return redis.Redis.from_url(url, **timeouts)
    host, _, port = os.environ["REDIS_SENTINELS"].partition(":")
    sentinel: Any = Sentinel([(host, int(port))], socket_timeout=1)
    return sentinel.master_for(
        os.environ["REDIS_SENTINEL_MASTER"],
        username=os.environ["REDIS_USERNAME"],
        password=os.environ["REDIS_PASSWORD"],
        **timeouts,
    )


def _register(client: redis.Redis, options: argparse.Namespace, action: str) -> None:
    for ticker in options.tickers.split(","):
        request = {"action": action, "ticker": ticker, "client_id": options.name, "lease_s": 86_400}
        if action == "unsubscribe":
            del request["lease_s"]
        client.publish(f"{options.prefix}BROKER_REGISTRATION", json.dumps(request))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--tickers", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--prefix", default="")
    options = parser.parse_args()
    pen, ended = Pen(options.out), threading.Event()
    thread = threading.Thread(target=listen, args=(options, Listener(pen, options.prefix), ended))
    thread.start()
    sys.stdin.read()
    ended.set()
    thread.join()
    client = connect()
    _register(client, options, "unsubscribe")
    client.close()


if __name__ == "__main__":
    main()
