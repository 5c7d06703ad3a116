"""What a running broker serves, against what happened."""

from __future__ import annotations

import signal
import socket
import urllib.request

import psutil
import pytest
import redis

from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus
from tests.integration.cli.conftest import Person, free_port, interrupt
from tests.integration.cli.conftest import person as person  # noqa: PLC0414  (a fixture)
from tests.integration.metrics.conftest import Figures, serving
from tests.integration.metrics.test_monitoring_files import check

pytestmark = pytest.mark.integration


def test_the_figures_are_what_a_subscriber_counts(
    figures: Figures, bus: Bus, sim: LocalAlpaca
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    for number in range(20):
        sim.trade("AAPL", 100.0 + number, 10)
    bus.wait_for_trades("AAPL", 20)
    wait_for(lambda: figures.value("tickerbus_published_messages_total") == 20)
    assert figures.value("tickerbus_batch_messages_sum") == 20
    assert figures.value("tickerbus_batch_messages_bucket", le="+Inf") == figures.value(
        "tickerbus_redis_round_trip_seconds_count"
    )
    assert (figures.value("tickerbus_published_bytes_total") or 0) > 20 * 100
    assert figures.value("tickerbus_leases") == 1
    assert figures.value("tickerbus_followed_tickers", stream="stocks") == 1
    assert figures.value("tickerbus_registration_requests_total", result="read") == 1
    assert figures.value("tickerbus_broker_leader") == 1
    assert figures.value("tickerbus_broker_state", state="RUNNING") == 1


def test_each_hop_has_its_lag(figures: Figures, bus: Bus, sim: LocalAlpaca) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.trade("AAPL", 100.0, 10)
    bus.wait_for_trades("AAPL", 1)
    count = wait_for(lambda: figures.value("tickerbus_alpaca_to_broker_seconds_count", feed="iex"))
    late = figures.value("tickerbus_alpaca_to_broker_seconds_sum", feed="iex")
    assert count == 1
    assert late is not None
    assert 0 < late < 5
    assert figures.value("tickerbus_broker_to_redis_seconds_count") == 1


def test_a_lost_connection_and_its_gap_are_counted_by_cause(
    figures: Figures, bus: Bus, sim: LocalAlpaca
) -> None:
    bus.register("AAPL")
    lost = "tickerbus_upstream_disconnects_total"
    assert figures.value(lost, stream="stocks", cause="closed") == 0, "there before the first one"
    sim.faults.cut("iex")
    wait_for(
        lambda: sum(s.value for f in figures.families() for s in f.samples if s.name == lost) >= 1
    )
    told = "tickerbus_gaps_total"
    wait_for(
        lambda: figures.value(told, cause="upstream_disconnected", refilled="true") == 1,
        timeout_s=20,
    )
    wait_for(lambda: figures.value("tickerbus_upstream_sessions_total", stream="stocks") == 2)


def test_a_broker_whose_streams_are_down_says_why_it_is_not_ready(
    figures: Figures, sim: LocalAlpaca
) -> None:
    assert figures.health("/readyz") == (200, {"ready": True, "state": "RUNNING", "reasons": []})
    sim.faults.refuse_handshake("data", status=503)
    sim.faults.cut("iex")
    wait_for(lambda: figures.get("/readyz")[0] == 503)
    status, told = wait_for(
        lambda: (h := figures.health("/readyz"))[1]["state"] == "DEGRADED" and h, timeout_s=15
    )
    assert status == 503
    assert any(reason.startswith("prices:") for reason in told["reasons"])
    assert figures.get("/healthz")[0] == 200, "it heals by itself: no reason to restart it"
    sim.faults.heal()
    wait_for(lambda: figures.get("/readyz")[0] == 200, timeout_s=20)


def test_a_redis_that_is_gone_is_told_and_its_errors_counted(
    own_valkey: EmbeddedValkey, sim: LocalAlpaca
) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    with serving(sim, config) as figures:
        figures.broker.start()
        wait_for(lambda: figures.get("/readyz")[0] == 200)
        with Bus(config) as bus:
            bus.register("AAPL")
        own_valkey.kill()
        sim.trade("AAPL", 100.0, 10)
        wait_for(lambda: figures.value("tickerbus_redis_up") == 0)
        told = wait_for(
            lambda: [
                reason
                for reason in figures.health("/readyz")[1]["reasons"]
                if reason.startswith("redis:")
            ]
        )
        assert told
        wait_for(lambda: figures.value("tickerbus_redis_errors_total", error="unavailable"))
        assert figures.get("/healthz")[0] == 200
        own_valkey.start()
        wait_for(lambda: figures.get("/readyz")[0] == 200, timeout_s=20)


def test_a_redis_that_refuses_is_counted_by_its_own_word(
    own_valkey: EmbeddedValkey, sim: LocalAlpaca
) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    with serving(sim, config) as figures:
        figures.broker.start()
        with Bus(config) as bus, redis.Redis(port=own_valkey.port) as admin:
            bus.register("AAPL")
            admin.config_set("maxmemory", "1")
            sim.trade("AAPL", 100.0, 10)
            wait_for(lambda: figures.value("tickerbus_redis_errors_total", error="oom"))
            admin.config_set("maxmemory", "0")


def test_a_standby_is_alive_and_not_ready(
    figures: Figures, sim: LocalAlpaca, redis_config: RedisConfig
) -> None:
    with serving(sim, redis_config) as second:
        second.broker.start()
        wait_for(lambda: second.broker.state == "STANDBY")
        assert second.get("/healthz")[0] == 200
        status, told = second.health("/readyz")
        assert status == 503
        assert "STANDBY" in told["reasons"][0]
        assert second.value("tickerbus_broker_leader") == 0
        assert figures.value("tickerbus_broker_leader") == 1


def test_a_faulted_broker_is_not_alive_and_says_why(figures: Figures) -> None:
    figures.broker.thread_failed("price-producer", RuntimeError("a planted fault"))
    status, told = figures.health("/healthz")
    assert status == 503
    assert told["alive"] is False
    assert "a planted fault" in told["reasons"][0]


def test_promtool_finds_nothing_to_say_about_the_figures(figures: Figures, bus: Bus) -> None:
    bus.register("AAPL")
    check("check", "metrics", given=figures.text())


def test_other_paths_and_other_verbs_are_refused(figures: Figures) -> None:
    assert figures.get("/etc/passwd")[0] == 404
    assert figures.get("/metrics/../../x")[0] == 404
    request = urllib.request.Request(f"http://127.0.0.1:{figures.port}/metrics", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(request, timeout=5)


def test_who_connects_and_says_nothing_keeps_nobody_waiting(figures: Figures) -> None:
    with socket.create_connection(("127.0.0.1", figures.port)):
        assert figures.get("/healthz")[0] == 200


def test_the_command_serves_them_when_it_is_told_a_port(
    person: Person, sim: LocalAlpaca, redis_config: RedisConfig
) -> None:
    port = free_port()
    settings = {
        "REDIS_URL": f"redis://127.0.0.1:{redis_config.port}",
        "ALPACA_API_KEY": "local",
        "ALPACA_API_SECRET": "local-secret",
        "ALPACA_TRADING_URL": sim.address.rest_url,
        "ALPACA_DATA_URL": sim.address.rest_url,
        "ALPACA_DATA_STREAM_URL": sim.address.rest_url.replace("http", "ws"),
        "METRICS_PORT": str(port),
    }

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    broker = person.starts("broker", **settings)
    try:
        wait_for(is_ready, timeout_s=40, what="ready")
        listening = [c.laddr for c in psutil.Process(broker.pid).net_connections() if not c.raddr]
        assert {(address.ip, address.port) for address in listening} == {("127.0.0.1", port)}
        second = person.types("broker", **settings)
        assert second.code == 2
        assert "METRICS_PORT" in second.err
        assert str(port) in second.err
    finally:
        assert interrupt(broker, signal.SIGTERM).code == 0
