"""A program that sends orders as fast as they are answered and listens to all their events.

`python -m tests.integration.alpaca_sim.trading_load_client PORT COUNT` prints a JSON report.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

from websockets.sync.client import connect

from tests.integration.alpaca_sim.trading_http import BareHttp

SYMBOLS = ("AAPL", "MSFT")
CONNECTIONS = 2
DEADLINE_S = 30.0


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Buys and sales in turn, so that the account stays in balance."""
    for number in range(count):
        symbol = SYMBOLS[number % 2]
        side = "buy" if number // 2 % 2 == 0 else "sell"
        fields = {"symbol": symbol, "qty": "10", "side": side, "time_in_force": "gtc"}
        yield {**fields, "type": "market", "client_order_id": f"load-{number}"}


class Listener:
    """Keeps the frames of the trading stream until every order is filled."""

    def __init__(self, port: int, count: int) -> None:
        self._url = f"ws://127.0.0.1:{port}/stream"
        self._count = count
        self.frames: list[bytes | str] = []
        self.ready = Event()

    def run(self) -> None:
        with connect(self._url, max_size=None, max_queue=None, close_timeout=1) as ws:
            ws.send(json.dumps({"action": "auth", "key": "local", "secret": "local-secret"}))
            ws.recv(DEADLINE_S)
            ws.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
            ws.recv(DEADLINE_S)
            self.ready.set()
            filled = 0
            while filled < self._count:
                frame = ws.recv(DEADLINE_S)
                self.frames.append(frame)
                filled += b'"event":"fill"' in frame  # type: ignore[operator]


def send(port: int, bodies: list[dict[str, Any]], statuses: list[int]) -> None:
    with BareHttp(port) as http:
        statuses += [http.call("POST", "/v2/orders", fields)[0] for fields in bodies]


def main(port: int, count: int) -> None:
    listener = Listener(port, count)
    reader = Thread(target=listener.run, daemon=True)
    reader.start()
    assert listener.ready.wait(DEADLINE_S)
    bodies, statuses = list(orders(count)), []  # type: tuple[list[dict[str, Any]], list[int]]
    senders = [
        Thread(target=send, args=(port, bodies[part::CONNECTIONS], statuses))
        for part in range(CONNECTIONS)
    ]
    start = time.perf_counter()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    took = time.perf_counter() - start
    reader.join(DEADLINE_S)
    report = {
        "orders_per_s": count / took,
        "accepted": statuses.count(200),
        "events": [json.loads(frame)["data"] for frame in listener.frames],
    }
    sys.stdout.write(json.dumps(report))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
