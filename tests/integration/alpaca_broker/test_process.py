"""`python -m main broker` as a real process: killed, terminated, refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from main.alpaca_sim import LocalAlpaca
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus

pytestmark = pytest.mark.integration

Run = Callable[..., "BrokerProcess"]


class BrokerProcess:
    """One broker process, and what it says."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "main", "broker"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.words: list[str] = []
        self._reader = threading.Thread(target=self._read, name="words-of-broker")
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as lines:
            self.words.extend(lines)

    def end(self, with_signal: signal.Signals) -> tuple[int, float]:
        """(exit code, seconds that it took)."""
        began = time.monotonic()
        self.popen.send_signal(with_signal)
        code = self.popen.wait(20)
        took_s = time.monotonic() - began
        self._reader.join(5)
        return code, took_s

    def exit_code(self, timeout_s: float = 20) -> int:
        code = self.popen.wait(timeout_s)
        self._reader.join(5)
        return code

    def said(self) -> str:
        return "".join(self.words)

    def put_away(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.exit_code(5)


def environment(redis: RedisConfig, sim: LocalAlpaca | None, **settings: str) -> dict[str, str]:
    """Only what this broker is to know: nothing of the machine's own settings."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    given = {
        "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
        "ALPACA_API_KEY": "local",
        "ALPACA_API_SECRET": "local-secret",
        "LOG_LEVEL": "debug",
    }
    if sim is not None:
        given |= {
            "ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{sim.address.port}",
            "ALPACA_TRADING_STREAM_URL": sim.trading_stream_url,
            "ALPACA_DATA_URL": sim.rest_url,
            "ALPACA_TRADING_URL": sim.rest_url,
        }
    return kept | given | settings


@pytest.fixture
def run(sim: LocalAlpaca, redis_config: RedisConfig) -> Iterator[Run]:
    """`run(NAME=value)` starts a broker process with these settings besides the usual."""
    with ExitStack() as stack:

        def start(**settings: str) -> BrokerProcess:
            process = BrokerProcess(environment(redis_config, sim, **settings))
            stack.callback(process.put_away)
            return process

        yield start


@pytest.fixture
def running(run: Run, bus: Bus) -> BrokerProcess:
    process = run()
    bus.status(lambda s: s["state"] == "RUNNING", timeout_s=15)
    return process


def test_a_killed_broker_is_succeeded_by_a_new_one_that_resumes_every_held_ticker(
    sim: LocalAlpaca, running: BrokerProcess, run: Run, bus: Bus
) -> None:
    tickers = ["AAPL", "MSFT", "BTC/USD"]
    bus.listen(*(f"TICKER_UPDATES_{ticker}" for ticker in tickers))
    for ticker in tickers:
        assert bus.register(ticker, lease_s=3_600)["status"] == "accepted"
        sim.trade(ticker, 100.25)
        bus.wait_for_trades(ticker, 1)
    epoch = bus.status()["epoch"]
    assert running.end(signal.SIGKILL)[0] == -signal.SIGKILL
    run()
    status = bus.status(lambda s: s["epoch"] > epoch and s["state"] == "RUNNING", timeout_s=20)
    assert set(status["tickers"]) == set(tickers)
    for ticker in tickers:
        sim.trade(ticker, 100.5)
        bus.next(f"TICKER_UPDATES_{ticker}", lambda m: m.get("price") == 100.5)
        heard = bus.updates(ticker)
        of_new = [m["seq"] for m in heard if m["epoch"] == status["epoch"]]
        assert of_new == list(range(1, len(of_new) + 1))
        assert any(m["type"] == "gap" for m in heard), "the time between is told"


def test_sigterm_ends_it_within_five_seconds_with_exit_code_0(
    sim: LocalAlpaca, running: BrokerProcess, bus: Bus
) -> None:
    bus.register("AAPL")
    sim.set_rate("AAPL", 200)
    bus.listen("TICKER_UPDATES_AAPL")
    bus.wait_for_trades("AAPL", 5)
    code, took_s = running.end(signal.SIGTERM)
    assert (code, took_s < 5) == (0, True), running.said()
    bus.next("BROKER_STATUS", lambda s: s["state"] == "STOPPED")
    wait_for(lambda: sim.connections() == [], what="its connections are closed")
    names = [client["name"] for client in bus.redis.client_list()]
    assert "tickerbus-broker" not in names


def test_sigint_ends_it_the_same_way(running: BrokerProcess) -> None:
    code, took_s = running.end(signal.SIGINT)
    assert (code, took_s < 5) == (0, True), running.said()


@pytest.mark.parametrize("alpaca", ["mute", "away", "sign_in"])
def test_sigterm_during_start_up_ends_it_as_well(
    alpaca: str, sim: LocalAlpaca, run: Run, redis_config: RedisConfig, bus: Bus
) -> None:
    """X11: Alpaca takes the connection and says nothing, is not there, or never signs in."""
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        port = black_hole.getsockname()[1]
        if alpaca == "away":
            black_hole.close()
        streams = (
            {} if alpaca == "sign_in" else {"ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{port}"}
        )
        if alpaca == "sign_in":
            sim.faults.hold_slot("iex", for_s=60)
        process = run(**streams)
        wait_for(lambda: "account.found" in process.said(), timeout_s=15)
        code, took_s = process.end(signal.SIGTERM)
    assert (code, took_s < 5) == (0, True), process.said()


def test_sigterm_while_rest_says_nothing_ends_it_as_well(run: Run, bus: Bus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as black_hole:
        process = run(ALPACA_TRADING_URL=f"http://127.0.0.1:{black_hole.getsockname()[1]}")
        black_hole.settimeout(15)
        accepted, _ = black_hole.accept()
        with accepted:
            code, took_s = process.end(signal.SIGTERM)
    assert took_s < 5
    assert code == 0 or "Traceback" not in process.said(), process.said()


def test_sigterm_in_the_middle_of_a_registration_ends_it_as_well(
    sim: LocalAlpaca, running: BrokerProcess, bus: Bus
) -> None:
    sim.faults.delay_acks(60)
    bus.ask({"action": "subscribe", "ticker": "AAPL", "client_id": "test"})
    bus.status(lambda s: s["counters"].get("registrations", 0) == 1)
    code, took_s = running.end(signal.SIGTERM)
    assert (code, took_s < 5) == (0, True), running.said()


def test_wrong_keys_end_it_with_exit_code_3_and_one_clear_message(run: Run, bus: Bus) -> None:
    process = run(ALPACA_API_SECRET="wrong-hunter2")
    assert process.exit_code() == 3
    assert "Traceback" not in process.said()
    assert "hunter2" not in process.said()
    bus.next("BROKER_STATUS", lambda s: s["state"] == "REFUSED")


def test_a_feed_that_the_plan_lacks_ends_it_with_exit_code_3(
    sim: LocalAlpaca, run: Run, bus: Bus
) -> None:
    sim.faults.refuse_sign_in("sip", code=409)
    process = run(ALPACA_DATA_FEED="sip")
    assert process.exit_code() == 3, process.said()
    assert "Traceback" not in process.said()


def test_keys_that_are_revoked_while_it_runs_end_it_with_exit_code_3(
    sim: LocalAlpaca, running: BrokerProcess
) -> None:
    sim.faults.refuse_sign_in("iex", code=402)
    sim.faults.cut("iex", how="close")
    assert running.exit_code() == 3, running.said()


def test_what_is_missing_is_said_with_exit_code_2(run: Run) -> None:
    process = run(ALPACA_API_KEY="", ALPACA_API_SECRET="")
    assert process.exit_code() == 2
    assert "ALPACA_API_KEY" in process.said()
    assert "Traceback" not in process.said()
