"""Orders while the faults happen: by REST, straight to the venue, a few each second."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import threading
from typing import Any

from .planted import KEYS

HEADERS = {
    "APCA-API-KEY-ID": KEYS.key_id,
    "APCA-API-SECRET-KEY": KEYS.secret,
    "Content-Type": "application/json",
}


class OrderFlow:
    """Buys, sells, cancels and replaces on `tickers` until it is stopped."""

    def __init__(self, port: int, tickers: tuple[str, ...], per_s: float, seed: int = 1) -> None:
        self.failures: list[str] = []
        self.sent = 0
        self._port, self._tickers, self._period_s = port, tickers, 1 / per_s
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._may_go = threading.Event()
        self._may_go.set()
        self._between = threading.Lock()  # held while an order and what belongs to it is sent
        self._thread = threading.Thread(target=self._run, name="lab-orders", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def pause(self) -> None:
        """No more orders for now; those under way are done when it returns."""
        self._may_go.clear()
        with self._between:
            pass

    def go_on(self) -> None:
        self._may_go.set()

    def stop(self) -> None:
        self._ended.set()
        self._may_go.set()
        self._thread.join(10)

    def _run(self) -> None:
        for ticker in itertools.cycle(self._tickers):
            if self._ended.wait(self._period_s * self._random.uniform(0.5, 1.5)):
                return
            act = self._random.choice((self._buy_and_sell, self._cancel, self._replace))
            self._may_go.wait()
            with self._between:
                act(ticker)

    def _buy_and_sell(self, ticker: str) -> None:
        self._order(ticker, side="buy", type="market", qty="3")
        self._order(ticker, side="sell", type="market", qty="3")

    def _cancel(self, ticker: str) -> None:
        order = self._order(ticker, side="buy", type="limit", qty="2", limit_price="1")
        if order is not None:
            self._ended.wait(0.02)
            self._call("DELETE", f"/v2/orders/{order['id']}")

    def _replace(self, ticker: str) -> None:
        order = self._order(ticker, side="buy", type="limit", qty="2", limit_price="1")
        if order is None:
            return
        self._ended.wait(0.02)
        replaced = self._call("PATCH", f"/v2/orders/{order['id']}", {"limit_price": "1.5"})
        self._ended.wait(0.02)
        if replaced is not None:
            self._call("DELETE", f"/v2/orders/{replaced['id']}")

    def _order(self, ticker: str, **fields: str) -> dict[str, Any] | None:
        self.sent += 1
        return self._call("POST", "/v2/orders", {"symbol": ticker, "time_in_force": "day"} | fields)

    def _call(
        self, method: str, path: str, body: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        return call_venue(self._port, method, path, body, self.failures)


def call_venue(
    port: int,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    failures: list[str] | None = None,
) -> dict[str, Any] | None:
    """One REST call; None when it was refused or has no body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        try:
            connection.request(method, path, json.dumps(body) if body else None, HEADERS)
            reply = connection.getresponse()
            text = reply.read()
        except OSError as error:
            if failures is not None:
                failures.append(repr(error))
            return None
    if reply.status >= 300:
        if failures is not None:
            failures.append(f"{method} {path}: {reply.status} {text[:100]!r}")
        return None
    found = json.loads(text) if text else None
    return found if isinstance(found, dict) else None
