"""A patient, whom the doctor examines, and what it may suffer from."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.sync.client import connect

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.doctor import Examination, Finding, Severity, examine
from main.doctor.settings_check import known_names
from main.utils.redis.config import RedisConfig, Wire
from tests.conftest import wait_for
from tests.integration.cli.conftest import person as person  # noqa: PLC0414  (a fixture)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_names():
        monkeypatch.delenv(name, raising=False)


class Patient:
    """A folder with a .env, and what the doctor says of it."""

    def __init__(self, folder: Path) -> None:
        self.env_file = folder / ".env"
        self._settings: dict[str, object] = {}

    def has(self, mode: int = 0o600, **settings: object) -> Patient:
        """Settings, in .env; what was set before stays."""
        self._settings |= settings
        lines = [f"{name}={value}\n" for name, value in self._settings.items()]
        self.env_file.write_text("".join(lines))
        self.env_file.chmod(mode)
        return self

    def uses(self, sim: LocalAlpaca, secret: str = "local-secret") -> Patient:
        url = sim.address.rest_url
        streams = url.replace("http", "ws")
        return self.has(
            ALPACA_API_KEY="local",
            ALPACA_API_SECRET=secret,
            ALPACA_TRADING_URL=url,
            ALPACA_DATA_URL=url,
            ALPACA_DATA_STREAM_URL=streams,
            ALPACA_TRADING_STREAM_URL=f"{streams}/stream",
        )

    def findings(self, **examination: Any) -> dict[str, Finding]:
        """By name. An absent broker is not waited for as long as a person would."""
        asked = {"env_file": self.env_file, "hear_s": 0.3} | examination
        return {finding.name: finding for finding in examine(Examination(**asked))}

    def to_mend(self, **examination: Any) -> dict[str, Finding]:
        """Warnings and errors only."""
        found = self.findings(**examination)
        return {name: f for name, f in found.items() if f.severity >= Severity.WARNING}


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path).has()


@contextmanager
def market(clock_start: str | None = None, **streams: Any) -> Iterator[LocalAlpaca]:
    """A quiet local Alpaca."""
    config = SimConfig(
        market=MarketRules(default_rate=0, clock_start=clock_start),
        streams=StreamRules(**({"handshake_limit": 0, "zombie_slot_s": 60.0} | streams)),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as sim:
        yield sim


@contextmanager
def stalled_subscriber(port: int) -> Iterator[None]:
    """It subscribes, and never reads: what is published waits for it in Redis."""
    with socket.socket() as caller, redis.Redis(port=port) as client:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        caller.connect(("127.0.0.1", port))
        caller.sendall(b"CLIENT SETNAME stalled-bot\r\nSUBSCRIBE TICKER_UPDATES_AAPL\r\n")
        wait_for(lambda: client.publish("TICKER_UPDATES_AAPL", b"x") == 1)
        for _ in range(8):  # the kernel's own buffers take the first megabytes
            client.publish("TICKER_UPDATES_AAPL", b"x" * 1_048_576)
        yield


@contextmanager
def old_client(port: int) -> Iterator[None]:
    """As redis-py 8.0.0 presents itself."""
    wire = Wire(RedisConfig(host="127.0.0.1", port=port, client_name="old-bot"))
    try:
        wire.call("CLIENT", "SETINFO", "LIB-NAME", "redis-py")
        wire.call("CLIENT", "SETINFO", "LIB-VER", "8.0.0")
        yield
    finally:
        wire.close()


@contextmanager
def somebody_on_the_stream(sim: LocalAlpaca) -> Iterator[None]:
    """Another program of the same account; at the end it still is on the stream."""
    with connect(sim.address.data_stream_url) as stream:
        stream.recv(timeout=5)
        stream.send('{"action":"auth","key":"local","secret":"local-secret"}')
        assert "authenticated" in str(stream.recv(timeout=5))
        yield
        stream.send('{"action":"subscribe","trades":["AAPL"]}')
        assert "subscription" in str(stream.recv(timeout=5)), "the probe disturbed who was there"
