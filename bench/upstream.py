"""The local Alpaca as a worker: prepared frames to whoever follows the tickers."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules

from .worker import requests

# The market is closed, so that silence between two runs is no fault of a stream.
CLOCK = "2026-11-21T15:00:00Z"  # a Saturday


def local_alpaca(pipe: Connection, tickers: Sequence[str]) -> None:
    """A worker: its first word is where it listens; asked to blast, it reports."""
    config = SimConfig(
        tickers=tuple(tickers),
        market=MarketRules(
            default_rate=0, quotes_per_trade=0, session="calendar", clock_start=CLOCK
        ),
        streams=StreamRules(
            symbol_limit=0, handshake_limit=0, connection_limit=1_000, buffer_messages=10_000_000
        ),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as alpaca:
        address = alpaca.address
        for symbols, count, per_s, per_frame in requests(pipe, address):
            report = alpaca.blast(symbols, count=count, per_s=per_s, per_frame=per_frame)
            pipe.send(report.result(120))
