"""The trading stream on the wire: encodings, ways of signing in, several listeners, a gap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from main.alpaca_sim import LocalAlpaca

from .stream_client import DEADLINE_S, eventually
from .trading_http import BareHttp

pytestmark = pytest.mark.integration
SIGN_IN = {"action": "auth", "key": "local", "secret": "local-secret"}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}


@contextmanager
def stream(sim: LocalAlpaca, headers: dict[str, str] | None = None) -> Iterator[ClientConnection]:
    with connect(sim.trading_stream_url, additional_headers=headers, close_timeout=1) as ws:
        yield ws


def ask(ws: ClientConnection, message: object) -> Any:
    ws.send(json.dumps(message))
    return json.loads(ws.recv(DEADLINE_S))


def buy(sim: LocalAlpaca) -> str:
    sim.quote("AAPL", 100.00, 100.05)
    order = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market"}
    with BareHttp(sim.address.port) as http:
        status, placed = http.call("POST", "/v2/orders", {**order, "time_in_force": "day"})
        assert status == 200, placed
        eventually(
            lambda: http.call("GET", f"/v2/orders/{placed['id']}")[1]["status"] == "filled",
            "the fill",
        )
    return str(placed["id"])


def events_until_fill(ws: ClientConnection) -> list[str]:
    seen: list[str] = []
    while "fill" not in seen:
        frame = ws.recv(DEADLINE_S)
        assert isinstance(frame, bytes), "paper sends binary frames"
        seen.append(json.loads(frame)["data"]["event"])
    return [event for event in seen if event != "partial_fill"]


def test_json_comes_in_binary_frames_to_every_listener(sim: LocalAlpaca) -> None:
    with stream(sim) as first, stream(sim) as second, stream(sim) as third:
        for ws in (first, second, third):
            assert ask(ws, SIGN_IN)["data"]["status"] == "authorized"
        for ws in (first, second):
            assert ask(ws, LISTEN)["data"]["streams"] == ["trade_updates"]
        buy(sim)
        assert events_until_fill(first) == ["pending_new", "new", "fill"]
        assert events_until_fill(second) == ["pending_new", "new", "fill"]
        with pytest.raises(TimeoutError):  # the third has not asked to listen
            third.recv(0.1)


def test_messagepack_if_asked_for(sim: LocalAlpaca) -> None:
    with stream(sim, {"Content-Type": "application/msgpack"}) as ws:
        for message in (SIGN_IN, LISTEN):
            ws.send(msgpack.packb(message))
            answer = msgpack.unpackb(ws.recv(DEADLINE_S))
        assert answer["data"]["streams"] == ["trade_updates"]
        order_id = buy(sim)
        event = msgpack.unpackb(ws.recv(DEADLINE_S))["data"]
        assert (event["event"], event["order"]["id"]) == ("pending_new", order_id)


def test_a_wrong_key_is_told_and_then_the_connection_closes(sim: LocalAlpaca) -> None:
    with stream(sim) as ws:
        answer = ask(ws, {**SIGN_IN, "secret": "wrong"})
        assert answer["data"]["status"] == "unauthorized"
        with pytest.raises(ConnectionClosed):
            ws.recv(DEADLINE_S)


def test_headers_sign_in(sim: LocalAlpaca) -> None:
    with stream(sim, HEADERS) as ws:
        assert ask(ws, LISTEN)["stream"] == "listening"


def test_events_while_nobody_listens_are_not_replayed_but_stay_in_the_activities(
    sim: LocalAlpaca,
) -> None:
    with stream(sim, HEADERS) as ws:
        ask(ws, LISTEN)
        buy(sim)
        events_until_fill(ws)
    missed = buy(sim)
    with stream(sim, HEADERS) as ws:
        ask(ws, LISTEN)
        with pytest.raises(TimeoutError):
            ws.recv(0.1)
    with BareHttp(sim.address.port) as http:
        _, fills = http.call("GET", "/v2/account/activities/FILL?direction=asc")
    assert fills[-1]["order_id"] == missed
