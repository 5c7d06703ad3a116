"""A broker with figures: a real Valkey, a local Alpaca, and a port to ask."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from main.metrics import BrokerCollector, MetricsServer
from main.metrics.health import liveness, readiness
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus, broker_config
from tests.integration.alpaca_broker.conftest import quiet_market


class Figures:
    """What one broker serves."""

    def __init__(self, broker: AlpacaBroker, server: MetricsServer) -> None:
        self.broker, self.port = broker, server.port

    def get(self, path: str) -> tuple[int, str, str]:
        """Status, content type and body."""
        request = f"http://127.0.0.1:{self.port}{path}"
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def health(self, path: str) -> tuple[int, dict[str, Any]]:
        status, kind, body = self.get(path)
        assert kind == "application/json"
        return status, json.loads(body)

    def text(self) -> str:
        status, kind, body = self.get("/metrics")
        assert status == 200
        assert kind.startswith("text/plain; version=")
        return body

    def families(self) -> list[Metric]:
        return list(text_string_to_metric_families(self.text()))

    def value(self, name: str, **labels: str) -> float | None:
        """Of the one sample with these labels, among others; None if there is none."""
        for family in self.families():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        return None


@pytest.fixture
def sim() -> Iterator[LocalAlpaca]:
    with quiet_market() as running:
        yield running


@pytest.fixture
def figures(sim: LocalAlpaca, redis_config: RedisConfig) -> Iterator[Figures]:
    """Of a running broker."""
    with serving(sim, redis_config) as served:
        served.broker.start()
        wait_for(lambda: served.get("/readyz")[0] == 200, what="ready")
        yield served


@contextmanager
def serving(sim: LocalAlpaca, redis: RedisConfig) -> Iterator[Figures]:
    """Figures of a broker that is not started yet; stopped at the end, if it was started."""
    broker = AlpacaBroker(broker_config(redis, sim.address))
    server = MetricsServer(
        "127.0.0.1",
        0,
        BrokerCollector(broker, 30),
        alive=lambda: liveness(broker),
        ready=lambda: readiness(broker),
    )
    with server:
        try:
            yield Figures(broker, server)
        finally:
            if broker.state != "STOPPED":
                broker.stop()


@pytest.fixture
def bus(redis_config: RedisConfig) -> Iterator[Bus]:
    with Bus(redis_config) as client:
        yield client


@pytest.fixture
def scraped(figures: Figures, bus: Bus, sim: LocalAlpaca) -> list[Metric]:
    """Of a broker through which something has come."""
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.trade("AAPL", 100.0, 10)
    wait_for(lambda: bus.heard["TICKER_UPDATES_AAPL"])
    wait_for(lambda: figures.value("tickerbus_published_messages_total"))
    return figures.families()
