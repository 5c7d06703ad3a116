"""A plain client of the trading stream and the trading REST calls."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self

import requests
from websockets.sync.client import connect

from main.alpaca_sim import LocalAlpaca

from .stream_client import DEADLINE_S

Message = dict[str, Any]


class OrdersClient:
    """Signed in and listening."""

    def __init__(self, sim: LocalAlpaca) -> None:
        self._stack = ExitStack()
        self._url = sim.url
        self._http = self._stack.enter_context(requests.Session())
        self._http.headers.update(
            {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}
        )
        self.ws = self._stack.enter_context(
            connect(sim.trading_stream_url, close_timeout=1, max_size=None, ping_interval=None)
        )
        self.ws.send(json.dumps({"action": "auth", "key": "local", "secret": "local-secret"}))
        assert self.receive()["data"]["status"] == "authorized"
        self.ws.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert self.receive() == {"stream": "listening", "data": {"streams": ["trade_updates"]}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def receive(self, timeout: float = DEADLINE_S) -> Message:
        frame = self.ws.recv(timeout)
        assert isinstance(frame, bytes), "paper sends binary frames"
        decoded = json.loads(frame)
        assert isinstance(decoded, dict)
        return decoded

    def until(self, enough: Callable[[list[Message]], bool]) -> list[Message]:
        seen: list[Message] = []
        end = time.monotonic() + DEADLINE_S
        while not enough(seen):
            left = end - time.monotonic()
            assert left > 0, f"only {[e['event'] for e in seen]} came"
            seen.append(self.receive(left)["data"])
        return seen

    def buy(self, symbol: str, qty: str = "1", **fields: str) -> Message:
        order = {
            "symbol": symbol,
            "qty": qty,
            "side": "buy",
            "type": "market",
            "time_in_force": "day",
        }
        reply = self._http.post(self._url + "/v2/orders", json=order | fields, timeout=5)
        assert reply.status_code == 200, reply.text
        return reply.json()  # type: ignore[no-any-return]

    def order(self, order_id: str) -> Message:
        return self.get(f"/v2/orders/{order_id}")  # type: ignore[no-any-return]

    def get(self, path: str) -> Any:
        reply = self._http.get(self._url + path, timeout=5)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def patch(self, path: str, **changes: str) -> Message:
        reply = self._http.patch(self._url + path, json=changes, timeout=5)
        assert reply.status_code == 200, reply.text
        return reply.json()  # type: ignore[no-any-return]

    def delete(self, path: str) -> int:
        return self._http.delete(self._url + path, timeout=5).status_code
