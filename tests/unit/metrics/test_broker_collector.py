"""What is counted is served, under names that keep Prometheus's conventions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from main.alpaca_broker import AlpacaBroker, BrokerConfig
from main.metrics import BrokerCollector, ReaderCollector
from main.metrics.counted import BY_STREAM, COUNTED
from main.metrics.health import liveness, readiness
from main.settings import load_settings
from main.utils.redis.messages import PriceMessage, now_rfc3339, rfc3339

ROOT = Path(__file__).parents[3]
COUNTS = re.compile(r'counters\["([a-z_]+)"\]')
# Served from elsewhere: by cause, or as the count of a histogram.
SERVED_OTHERWISE = {"disconnects", "gaps", "batches"}
BASE_UNITS = ("_seconds", "_bytes", "_total", "_entries", "_messages")


@pytest.fixture
def broker() -> AlpacaBroker:
    """Not started."""
    settings = load_settings(None, alpaca_api_key="k", alpaca_api_secret="s")
    return AlpacaBroker(BrokerConfig.from_settings(settings))


def test_every_counter_of_the_broker_is_served() -> None:
    files = [*(ROOT / "main/alpaca_broker").glob("*.py"), ROOT / "main/utils/redis/publisher.py"]
    counted = {name for file in files for name in COUNTS.findall(file.read_text("utf-8"))}
    served = {source for each in COUNTED for source in each.sources} | set(BY_STREAM)
    assert counted - served - SERVED_OTHERWISE == set(), "add them in main/metrics/counted.py"
    text = "".join(file.read_text("utf-8") for file in files)
    stale = {source for source in served if f'"{source.removeprefix("orders_")}"' not in text}
    assert {s for s in stale if f'"{s}"' not in text} == set(), "nobody counts them any more"


def test_no_counter_is_served_twice() -> None:
    names = [each.name for each in COUNTED]
    sources = [source for each in COUNTED for source in each.sources]
    assert len(set(names)) == len(names)
    assert len(set(sources)) == len(sources)


def test_a_broker_that_was_not_started_is_served_too(broker: AlpacaBroker) -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BrokerCollector(broker, 30))
    families = {
        f.name: f for f in text_string_to_metric_families(generate_latest(registry).decode())
    }
    states = {s.labels["state"]: s.value for s in families["tickerbus_broker_state"].samples}
    assert states["STOPPED"] == 1
    assert sum(states.values()) == 1
    assert families["tickerbus_broker_leader"].samples[0].value == 0


def test_a_broker_that_was_not_started_lives_and_is_not_ready(broker: AlpacaBroker) -> None:
    assert liveness(broker).is_well
    health = readiness(broker)
    assert health.as_json("ready") == {
        "ready": False,
        "state": "STOPPED",
        "reasons": ["the broker is STOPPED", "it does not own Alpaca's connection"],
    }


def test_a_heartbeat_thread_that_hangs_is_no_life(
    broker: AlpacaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.beaten_s = 100.0
    monkeypatch.setattr("main.metrics.health.time.monotonic", lambda: 120.0)
    assert liveness(broker).is_well
    monkeypatch.setattr("main.metrics.health.time.monotonic", lambda: 131.0)
    assert "has not worked for 31 s" in liveness(broker).reasons[0]


class CountingReader:
    counters = {"handled": 7, "holes": 2}  # noqa: RUF012
    skipped = {"AAPL": 3, "MSFT": 1}  # noqa: RUF012


def price(timestamp: str, **fields: object) -> PriceMessage:
    given = {"price": 1.0, "volume": 1, "feed": "iex", "last_eligible": True, "backfilled": False}
    return PriceMessage(symbol="AAPL", timestamp=timestamp, **(given | fields))  # type: ignore[arg-type]


def test_a_reader_serves_what_it_counts_and_how_late_messages_reach_it() -> None:
    collector = ReaderCollector(CountingReader())
    collector.observe(price(rfc3339(0), backfilled=True))  # refilled: late by nature
    collector.observe(price(now_rfc3339()))
    registry = CollectorRegistry()
    registry.register(collector)
    read = registry.get_sample_value
    assert read("tickerbus_reader_messages_total") == 7
    assert read("tickerbus_reader_events_total", {"event": "holes"}) == 2
    assert read("tickerbus_reader_skipped_messages_total") == 4
    assert read("tickerbus_trade_to_reader_seconds_count") == 1
    assert read("tickerbus_trade_to_reader_seconds_bucket", {"le": "10.0"}) == 1


def test_a_reader_looks_at_some_messages_a_second_only() -> None:
    collector = ReaderCollector(CountingReader())
    registry = CollectorRegistry()
    registry.register(collector)
    for _ in range(1_000):
        collector.observe(price(now_rfc3339()))
    count = registry.get_sample_value("tickerbus_trade_to_reader_seconds_count")
    assert count is not None
    assert 1 <= count < 100


def test_prometheus_is_not_loaded_unless_somebody_asks() -> None:
    code = (
        "import sys, main, main.__main__, main.utils.redis, main.alpaca_broker\n"
        "sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
