"""The page as a user has it: its own process, a real Valkey, and where a test wants them a broker
and a local Alpaca."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
import redis
from playwright.sync_api import Browser

from main.dashboard.config import DashboardConfig
from main.dashboard.server import DashboardServer
from main.embedded_valkey import EmbeddedValkey
from main.settings import Settings
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import BusNames
from main.utils.redis.messages import encode
from tests.conftest import wait_for
from tests.integration.cli.conftest import free_port

from .browser import open_browser

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30.0
TOKEN = "a-token-of-good-length"


def clean_environment(**given: str) -> dict[str, str]:
    """Ours, without any setting of the developer's own."""
    settings = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **given}


class Program:
    """One command of ours as a process."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        self.log = folder / f"{words[0]}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "main", *words],
                cwd=folder,
                env=clean_environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def wait_for_words(self, words: str) -> None:
        wait_for(lambda: words in self.said(), PATIENCE_S, words)

    def said(self) -> str:
        assert self.process.poll() is None, self.log.read_text()
        return self.log.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


class Site:
    """A running page, and a plain HTTP client with a cookie, as a browser without scripts is."""

    def __init__(self, port: int, program: Program | None = None) -> None:
        self.port, self._program = port, program
        self.url = f"http://127.0.0.1:{port}"
        self.cookie = ""

    @property
    def program(self) -> Program:
        assert self._program is not None, "it runs in this process"
        return self._program

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        sent = {"Accept": "text/html"} | ({"Cookie": self.cookie} if self.cookie else {})
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        if "set-cookie" in found:
            self.cookie = found["set-cookie"].partition(";")[0]
        return Answer(response.status, found, text)

    def secret(self, path: str = "/") -> str:
        """What the page's forms carry for this session."""
        return self.ask(path).text.partition('name="secret" value="')[2].partition('"')[0]

    def send(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Answer:
        body = urllib.parse.urlencode(fields).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask(path, "POST", body, **(kind | (headers or {})))

    @contextmanager
    def stream(self, view: str, symbol: str = "") -> Iterator[Events]:
        query = urllib.parse.urlencode({"view": view, "symbol": symbol})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"/stream?{query}", headers={"Cookie": self.cookie})
            yield Events(connection.getresponse())
        finally:
            connection.close()


class Events:
    """Server-sent events, one after the other."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self._response = response.status, response

    def next(self) -> dict[str, Any]:
        while line := self._response.readline():
            if line.startswith(b"data: "):
                return cast(dict[str, Any], json.loads(line[6:]))
        raise AssertionError("the stream has ended")

    def until(self, fits: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while not fits(news := self.next()):
            assert time.monotonic() < deadline, what
        return news


class Bus:
    """Speaks on the bus as a broker would, by hand."""

    def __init__(self, config: RedisConfig) -> None:
        self.config, self.names, self.redis = config, BusNames(config.bus_prefix), config.client()

    def say(self, message: Any, channel: str | None = None) -> None:
        """Publish a message on its ticker's channel, or another."""
        self.redis.publish(channel or self.names.TICKER_UPDATES + message.symbol, encode(message))

    def beat(self, message: Any) -> None:
        self.redis.publish(self.names.BROKER_STATUS, encode(message))

    def journal(self, key: str, *messages: Any) -> None:
        for number, message in enumerate(messages, 1):
            self.redis.xadd(key, {"m": encode(message)}, id=f"{message.epoch or 7}-{number}")

    def hold(self, client_id: str, *tickers: str, lease_s: int = 300) -> None:
        until_ms = int((time.time() + lease_s) * 1000)
        for ticker in tickers:
            held = {"ticker": ticker, "client_id": client_id, "until_ms": until_ms}
            value = json.dumps(held | {"data": ["trades"], "lease_s": lease_s})
            self.redis.hset(self.names.BROKER_LEASES, f"{ticker}|{client_id}", value)


@contextmanager
def page_for(config: RedisConfig, folder: Path, *words: str, **environment: str) -> Iterator[Site]:
    port = free_port()
    environment = {"REDIS_URL": f"redis://127.0.0.1:{config.port}", **environment}
    program = Program(folder, "dashboard", "--port", str(port), *words, **environment)
    try:
        program.wait_for_words("The page is at")
        yield Site(port, program)
    finally:
        if program.process.poll() is None:
            assert program.end() == 0, program.log.read_text()
    assert "Traceback" not in program.log.read_text(), program.log.read_text()


@pytest.fixture(scope="module")
def running_page(
    valkey_server: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One page for a module's tests that do not stop it."""
    config = RedisConfig(host="127.0.0.1", port=valkey_server.port)
    with page_for(config, tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def site(running_page: Site, redis_config: RedisConfig) -> Site:
    """A new visitor of the page; Redis is empty again."""
    return Site(running_page.port, running_page.program)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture
def own_page(redis_config: RedisConfig) -> Iterator[Site]:
    """A page of its own: what it has seen of other tests' tickers would stay on it for a while.

    It runs in this process, which is quicker to start than another.
    """
    port = free_port()
    server = DashboardServer(DashboardConfig(redis=redis_config, client_id="page@test", port=port))
    server.start()
    yield Site(port)
    server.stop()


@pytest.fixture
def bus(redis_config: RedisConfig) -> Iterator[Bus]:
    speaking = Bus(redis_config)
    yield speaking
    speaking.redis.close()


@pytest.fixture
def admin(own_valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    client = redis.Redis(port=own_valkey.port)
    yield client
    client.close()
