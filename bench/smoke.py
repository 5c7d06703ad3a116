"""The promised figures, on this machine: `make bench-smoke`, or `python -m bench.smoke [--quick]`.

What is measured, and how:

* producer dead time: 500 registration restarts while 20 tickers bring 2,000 messages a second
  (`AlpacaBroker.dead_times_s`, broker in this process), as they come and with Alpaca taking 200 ms
  for each acknowledgement;
* idle CPU, memory and the times to the first price: of a `broker` process, from outside.

The local Alpaca runs in the bench's own process. The broker does without alpaca-py, so for the
memory "with alpaca-py" the bench starts the `broker` command through itself (`--as-broker`), and
imports `alpaca.data` and `alpaca.trading.client` first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import redis
from rich.console import Console
from rich.table import Table

from main.alpaca_broker import AlpacaBroker, BrokerConfig
from main.alpaca_sim import LocalAlpaca, MarketRules, SimAddress, SimConfig, StreamRules
from main.embedded_valkey import EmbeddedValkey
from main.logs import configure_logs
from main.settings import load_settings
from main.utils.redis.config import RedisConfig

from .cpu import cpu_s

LOADED = [
    "AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "META", "GOOGL", "SPY", "QQQ", "AMD",
    "INTC", "NFLX", "DIS", "BA", "JPM", "BAC", "XOM", "CVX", "KO", "PEP",
]  # fmt: skip
CHANGING = ["WMT", "HD", "MCD", "NKE", "PFE"]
MESSAGES_PER_S = 2_000
CROWD = 1_000


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. `ok` is None where nothing was promised."""

    what: str
    found: str
    promised: str = ""
    ok: bool | None = None


# -- the parts


@contextlib.contextmanager
def market(ack_delay_s: float = 0.0, **tickers: Any) -> Iterator[LocalAlpaca]:
    """A local Alpaca without limits, where nothing happens by itself."""
    config = SimConfig(
        **tickers,
        market=MarketRules(default_rate=0, quotes_per_trade=0),
        streams=StreamRules(symbol_limit=0, handshake_limit=0, ack_delay_s=ack_delay_s),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as running:
        yield running


def environment(redis_port: int, sim: SimAddress) -> dict[str, str]:
    """What a broker needs to know, and no setting of this machine's."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {
        "REDIS_URL": f"redis://127.0.0.1:{redis_port}",
        "ALPACA_API_KEY": "local",
        "ALPACA_API_SECRET": "local-secret",
        "ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{sim.port}",
        "ALPACA_TRADING_STREAM_URL": sim.trading_stream_url,
        "ALPACA_DATA_URL": sim.rest_url,
        "ALPACA_TRADING_URL": sim.rest_url,
        "ALPACA_SYMBOL_LIMIT": "0",
        "LOG_LEVEL": "error",
    }


@contextlib.contextmanager
def broker_process(variables: dict[str, str], *, with_alpaca_py: bool = False) -> Iterator[int]:
    """A `broker` process; its process id."""
    module = ["bench.smoke", "--as-broker"] if with_alpaca_py else ["main", "broker"]
    process = subprocess.Popen(
        [sys.executable, "-m", *module],
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Ear:
    """A plain client that notes when the first message of a kind comes on its channels."""

    def __init__(self, client: redis.Redis, *channels: str) -> None:
        self._pubsub = client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(*channels)
        self._pubsub.get_message(timeout=5)

    def wait_for(self, fits: Callable[[dict[str, Any]], bool], timeout_s: float = 60) -> float:
        """The moment (perf_counter) at which the first message that fits was read."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            message = self._pubsub.get_message(timeout=1)
            if message is not None and fits(json.loads(message["data"])):
                return time.perf_counter()
        raise TimeoutError(f"nothing that fits came within {timeout_s} s")

    def close(self) -> None:
        self._pubsub.close()


def register(client: redis.Redis, ticker: str, action: str = "subscribe") -> None:
    request = {"action": action, "ticker": ticker, "client_id": "bench", "request_id": ticker}
    client.publish("BROKER_REGISTRATION", json.dumps(request))


def follow(client: redis.Redis, tickers: list[str]) -> None:
    """Register, and wait for every reply."""
    ear = Ear(client, "BROKER_REGISTRATION_REPLIES")
    missing = set(tickers)

    def last_reply(reply: dict[str, Any]) -> bool:
        assert reply["status"] == "accepted", reply
        missing.discard(reply["ticker"])
        return not missing

    for ticker in tickers:
        register(client, ticker)
    ear.wait_for(last_reply)
    ear.close()


# -- the measurements


def dead_times(redis_config: RedisConfig, restarts: int, ack_delay_s: float) -> list[float]:
    """Seconds in which no producer ran, for each of so many restarts under load."""
    with market(ack_delay_s) as sim:
        settings = load_settings(
            env_file=None,
            redis_url=f"redis://127.0.0.1:{redis_config.port}",
            alpaca_api_key="local",
            alpaca_api_secret="local-secret",
            alpaca_data_stream_url=f"ws://127.0.0.1:{sim.address.port}",
            alpaca_trading_stream_url=sim.trading_stream_url,
            alpaca_data_url=sim.rest_url,
            alpaca_trading_url=sim.rest_url,
            alpaca_symbol_limit=0,
        )
        broker = AlpacaBroker(BrokerConfig.from_settings(settings))
        broker.start()
        client = redis_config.client()
        try:
            follow(client, LOADED)
            for ticker in LOADED:
                sim.set_rate(ticker, MESSAGES_PER_S / len(LOADED))
            broker.dead_times_s.clear()
            replies = Ear(client, "BROKER_REGISTRATION_REPLIES")
            number = 0
            while len(broker.dead_times_s) < restarts:
                ticker = CHANGING[number % len(CHANGING)]
                action = "unsubscribe" if number // len(CHANGING) % 2 else "subscribe"
                register(client, ticker, action)
                replies.wait_for(lambda reply, t=ticker: reply["ticker"] == t)
                number += 1
            replies.close()
            return sorted(broker.dead_times_s)[:restarts]
        finally:
            client.close()
            broker.stop()


def idle_cpu(valkey_port: int, seconds: float) -> float:
    """Share of one core that a broker without any ticker takes."""
    client = RedisConfig(host="127.0.0.1", port=valkey_port).client()
    with market() as sim, broker_process(environment(valkey_port, sim.address)) as pid:
        ear = Ear(client, "BROKER_STATUS")
        ear.wait_for(lambda status: status["state"] == "RUNNING")
        ear.close()
        before_s, began = cpu_s(pid), time.perf_counter()
        threading.Event().wait(seconds)
        after_s, took_s = cpu_s(pid), time.perf_counter() - began
    client.close()
    return (after_s - before_s) / took_s


def memory(valkey_port: int) -> tuple[float, float]:
    """Resident MB with 1,000 tickers registered: with alpaca-py imported, and without."""
    found = []
    tickers = [f"T{number:04d}" for number in range(CROWD)]
    client = RedisConfig(host="127.0.0.1", port=valkey_port).client()
    for with_alpaca_py in (True, False):
        client.flushall()
        with (
            market(tickers=tuple(tickers)) as sim,
            broker_process(
                environment(valkey_port, sim.address), with_alpaca_py=with_alpaca_py
            ) as pid,
        ):
            ear = Ear(client, "BROKER_STATUS")
            ear.wait_for(lambda status: status["state"] == "RUNNING")
            follow(client, tickers)
            for ticker in tickers:
                sim.trade(ticker, 100.25)
            ear.wait_for(lambda status: status["counters"].get("messages", 0) >= CROWD)
            ear.close()
            found.append(psutil.Process(pid).memory_info().rss / 1_048_576)
    client.close()
    return found[0], found[1]


def first_price(redis_config: RedisConfig) -> list[float]:
    """Seconds from a published registration to the ticker's first price, at 200 trades a second."""
    client = redis_config.client()
    found = []
    with market() as sim, broker_process(environment(redis_config.port, sim.address)):
        status = Ear(client, "BROKER_STATUS")
        status.wait_for(lambda message: message["state"] == "RUNNING")
        status.close()
        for ticker in LOADED:
            sim.set_rate(ticker, 200)
            ear = Ear(client, f"TICKER_UPDATES_{ticker}")
            began = time.perf_counter()
            register(client, ticker)
            found.append(ear.wait_for(lambda message: message["type"] == "price") - began)
            ear.close()
    client.close()
    return sorted(found)


def first_message(redis_config: RedisConfig, runs: int) -> list[float]:
    """Seconds from the start of the process to the first price of a ticker that was held."""
    client = redis_config.client()
    found = []
    with market() as sim:
        sim.set_rate("AAPL", 200)
        with broker_process(environment(redis_config.port, sim.address)):
            ear = Ear(client, "BROKER_STATUS")
            ear.wait_for(lambda status: status["state"] == "RUNNING")
            follow(client, ["AAPL"])
            ear.close()
        for _ in range(runs):
            ear = Ear(client, "TICKER_UPDATES_AAPL")
            began = time.perf_counter()
            with broker_process(environment(redis_config.port, sim.address)):
                found.append(ear.wait_for(lambda message: message["type"] == "price") - began)
            ear.close()
    client.close()
    return sorted(found)


# -- the table


def at(share: float, ordered: list[float]) -> float:
    """The value at this share of a sorted list."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def dead_time_figure(name: str, times: list[float]) -> Figure:
    shares = {"p50": at(0.50, times), "p99": at(0.99, times), "max": times[-1]}
    found = "  ".join(f"{share} {value * 1000:.1f}" for share, value in shares.items())
    return Figure(
        what=f"producer dead time, {len(times)} restarts{name}",
        found=f"{found} ms",
        promised="p99 < 50 ms",
        ok=shares["p99"] < 0.050,
    )


def measure(restarts: int, idle_s: float) -> Iterator[Figure]:
    with EmbeddedValkey() as valkey:
        config = RedisConfig(host="127.0.0.1", port=valkey.port)
        client = config.client()
        for name, delay_s in (("", 0.0), (", 200 ms acks", 0.2)):
            client.flushall()
            yield dead_time_figure(name, dead_times(config, restarts, delay_s))
        client.flushall()
        share = idle_cpu(valkey.port, idle_s)
        yield Figure(
            what=f"idle CPU without tickers, {idle_s:.0f} s",
            found=f"{share:.2%} of a core",
            promised="< 1 %",
            ok=share < 0.01,
        )
        loaded_mb, plain_mb = memory(valkey.port)
        yield Figure(
            what=f"memory with {CROWD:,} tickers, alpaca-py imported",
            found=f"{loaded_mb:.0f} MB",
            promised="< 150 MB",
            ok=loaded_mb < 150,
        )
        yield Figure(what=f"memory with {CROWD:,} tickers, as it is", found=f"{plain_mb:.0f} MB")
        client.flushall()
        prices = first_price(config)
        yield Figure(
            what="registration to first price",
            found=f"p50 {at(0.5, prices) * 1000:.0f} ms  max {prices[-1] * 1000:.0f} ms",
            promised="< 1 s",
            ok=prices[-1] < 1,
        )
        client.flushall()
        starts = first_message(config, 5)
        yield Figure(
            what="process start to first price of a held ticker",
            found=f"p50 {at(0.5, starts):.2f} s  max {starts[-1]:.2f} s",
        )
        client.close()


def as_broker() -> None:
    """The `broker` command in a process that has imported alpaca-py, as a user's own might.

    Where pyarrow is installed, pandas loads it for alpaca-py, and with it some 45 MB; what users of
    the broker install has none.
    """
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    import alpaca.data  # noqa: PLC0415
    import alpaca.trading.client  # noqa: PLC0415, F401

    from main.__main__ import main as command_line  # noqa: PLC0415

    sys.argv[1:] = ["broker"]
    command_line()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.smoke", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 restarts and 5 s of idling")
    parser.add_argument("--as-broker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_broker:
        as_broker()
        return
    configure_logs(level="error")
    console = Console()
    table = Table(title="TickerBus, the promised figures")
    for column in ("what", "found", "promised", ""):
        table.add_column(column)
    failed = False
    restarts, idle_s = (50, 5.0) if arguments.quick else (500, 25.0)
    for figure in measure(restarts, idle_s):
        verdict = {True: "ok", False: "MISSED", None: ""}[figure.ok]
        console.print(f"{figure.what}: {figure.found} {verdict}")
        table.add_row(figure.what, figure.found, figure.promised, verdict)
        failed |= figure.ok is False
    console.print(table)
    console.print(
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}; local "
        "Alpaca, Valkey and clients on the same machine."
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
