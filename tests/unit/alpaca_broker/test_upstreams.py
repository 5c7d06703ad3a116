"""Connections are opened when they are first needed, and not any more once all are closing."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from main.alpaca_broker.connection_config import ConnectionConfig
from main.alpaca_broker.frame_buffer import FrameBuffer
from main.alpaca_broker.order_buffer import OrderBuffer
from main.alpaca_broker.upstreams import Upstreams


def closing_upstreams() -> Upstreams:
    def connection(name: str) -> ConnectionConfig:
        return ConnectionConfig(name=name, url="ws://127.0.0.1:9", key="k", secret="s")

    config: Any = SimpleNamespace(
        stocks=connection("stocks"),
        crypto=connection("crypto"),
        orders=connection("orders"),
        feed="iex",
    )
    made = Upstreams(config, FrameBuffer(), OrderBuffer(), lambda *_: None, lambda *_: None)
    made.begin_close()
    return made


def test_a_stream_that_a_late_registration_needs_is_not_opened_while_all_are_closed() -> None:
    """Nobody would close it: the broker would wait for its thread until its deadline."""
    upstreams = closing_upstreams()
    threads = threading.active_count()
    refused = upstreams.request_and_wait("subscribe", {"BTC/USD": frozenset({"trades"})}, 1.0)
    assert refused["BTC/USD"].reason == "upstream_unavailable"
    assert "stopping" in refused["BTC/USD"].detail
    upstreams.open_orders()
    assert threading.active_count() == threads
    assert upstreams.join(0.0) == []
