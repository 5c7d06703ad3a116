"""Planted misconfigurations, in a real Valkey and with a local Alpaca that refuses: all named."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest
import redis

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from main.doctor import Severity
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from tests.integration.alpaca_broker.bench import broker_config
from tests.integration.cli.conftest import Person
from tests.integration.doctor.conftest import (
    Patient,
    market,
    old_client,
    somebody_on_the_stream,
    stalled_subscriber,
)

pytestmark = pytest.mark.integration

PLANTED_IN_REDIS = (
    *("--maxmemory", "40mb", "--maxmemory-policy", "allkeys-lru"),
    *("--client-output-buffer-limit", "pubsub 0 0 0"),
    *("--min-replicas-to-write", "1"),
)


def test_eleven_planted_misconfigurations_are_all_named_at_once(patient: Patient) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedValkey(None, *PLANTED_IN_REDIS))
        sim = stack.enter_context(market(clock_start="2026-01-05T15:00:00Z"))
        stack.enter_context(stalled_subscriber(server.port))
        stack.enter_context(old_client(server.port))
        stack.enter_context(somebody_on_the_stream(sim))
        address = f"redis://127.0.0.1:{server.port}"
        patient.uses(sim).has(mode=0o644, REDIS_URL=address, ALPACA_SYMBOL_LIMT=0)
        told = patient.to_mend(probe=True)
    assert set(told) == {
        "settings.misspelled",
        "settings.env_file_open",
        "redis.memory_policy",
        "redis.memory_small",
        "redis.output_buffer",
        "redis.persistence",
        "redis.replicas",
        "redis.client_defect",
        "redis.slow_subscriber",
        "alpaca.clock",
        "alpaca.connection_taken",
    }
    assert all(finding.remedy for finding in told.values())
    assert "stalled-bot" in told["redis.slow_subscriber"].found
    assert "old-bot" in told["redis.client_defect"].found


def test_a_healthy_place_has_nothing_to_mend_and_the_probe_leaves_properly(
    patient: Patient,
) -> None:
    with EmbeddedValkey(None, "--appendonly", "yes") as server, market() as sim:
        patient.uses(sim).has(REDIS_URL=f"redis://127.0.0.1:{server.port}")
        found = patient.findings(probe=True)
        to_mend = [name for name, f in found.items() if f.severity >= Severity.WARNING]
        assert [name for name in to_mend if not name.startswith("machine.")] == []
        assert found["alpaca.connection"].found.startswith("free")
        with somebody_on_the_stream(sim):
            pass  # not 406: the slot is free at once


def test_refused_keys_a_feed_that_the_plan_lacks_and_nobody_there_are_named(
    patient: Patient, redis_config: RedisConfig
) -> None:
    patient.has(REDIS_URL=f"redis://127.0.0.1:{redis_config.port}", ALPACA_DATA_FEED="sip")
    with market(refused_feeds=("sip",)) as sim:
        told = patient.uses(sim, secret="hush-hush").to_mend(probe=True)
        assert told["alpaca.keys"].severity is Severity.ERROR
        assert "hush" not in str(told)
        told = patient.uses(sim).to_mend()
        assert "ALPACA_DATA_FEED=iex" in told["alpaca.feed"].remedy
        told = patient.has(ALPACA_DATA_URL="http://127.0.0.1:1").to_mend(probe=True)
        assert "409" in told["alpaca.feed"].found, "the stream says it too"
        assert "alpaca.data_unreachable" in told
    told = patient.to_mend()
    assert "nobody listens" in told["alpaca.unreachable"].found


def test_a_user_without_rights_is_told_which_it_lacks(
    patient: Patient, own_valkey: EmbeddedValkey
) -> None:
    rules = "ACL SETUSER bot on >secret ~* &* +@all -xadd -subscribe -config"
    with redis.Redis(port=own_valkey.port) as admin:
        admin.execute_command(*rules.split())
    patient.has(REDIS_URL=f"redis://bot:secret@127.0.0.1:{own_valkey.port}")
    found = patient.findings()
    rights = found["redis.rights"]
    assert rights.severity is Severity.ERROR
    assert "XADD on TICKER_LOG_*" in rights.found
    assert "SUBSCRIBE on BROKER_REGISTRATION" in rights.found
    assert "CONFIG GET" in found["redis.not_asked"].found
    as_strategy = patient.findings(role="strategy")["redis.rights"]
    assert "SUBSCRIBE on TICKER_UPDATES_*" in as_strategy.found
    assert "XADD" not in as_strategy.found


def test_a_user_who_may_not_even_connect_is_told_of_its_rights_and_not_of_the_address(
    patient: Patient, own_valkey: EmbeddedValkey
) -> None:
    rules = "ACL SETUSER bot on >secret ~* &* +@read"
    with redis.Redis(port=own_valkey.port) as admin:
        admin.execute_command(*rules.split())
    patient.has(REDIS_URL=f"redis://bot:secret@127.0.0.1:{own_valkey.port}")
    told = patient.to_mend(role="strategy")
    assert "client|setname" in told["redis.rights"].found
    assert "redis.unreachable" not in told


def test_a_wrong_password_is_told_as_such_and_not_shown(
    patient: Patient, own_valkey: EmbeddedValkey
) -> None:
    with redis.Redis(port=own_valkey.port) as admin:
        admin.config_set("requirepass", "right")
    told = patient.has(REDIS_URL=f"redis://:hush-hush@127.0.0.1:{own_valkey.port}").to_mend()
    assert "redis.login" in told
    assert "redis.unreachable" not in told
    assert "hush" not in str(told)


def test_nothing_hangs_when_redis_is_frozen_and_alpaca_never_answers(
    patient: Patient, own_valkey: EmbeddedValkey
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        patient.has(
            REDIS_URL=f"redis://127.0.0.1:{own_valkey.port}",
            ALPACA_API_KEY="k",
            ALPACA_API_SECRET="s",
            ALPACA_TRADING_URL=url,
            ALPACA_DATA_URL=url,
        )
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            told = patient.to_mend(timeout_s=2.0)
            took_s = time.monotonic() - began
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        assert "redis.unreachable" in told
        assert "alpaca.no_answer" in told
        assert took_s < 4.0


@pytest.fixture
def running(redis_config: RedisConfig) -> Iterator[LocalAlpaca]:
    """The market of a broker that runs."""
    with market() as sim:
        broker = AlpacaBroker(broker_config(redis_config, sim.address))
        broker.start()
        try:
            yield sim
        finally:
            broker.stop()


def test_a_running_broker_is_heard_and_its_connection_left_alone(
    patient: Patient, running: LocalAlpaca, redis_config: RedisConfig
) -> None:
    patient.uses(running).has(REDIS_URL=f"redis://127.0.0.1:{redis_config.port}")
    before = running.connections()
    found = patient.findings(probe=True, hear_s=10.0)
    assert found["broker.state"].found.startswith("the broker is RUNNING")
    assert "holds it" in found["alpaca.connection"].found
    assert [s.number for s in running.connections()] == [s.number for s in before]


def test_the_command_prints_a_table_and_ends_with_the_gravest_findings_code(
    person: Person,
) -> None:
    ended = person.types("doctor", REDIS_URL="redis://127.0.0.1:1")
    assert ended.code == 2
    assert "redis.unreachable" in ended.out
    assert "1 error" in ended.out
    assert "Traceback" not in ended.err


def test_json_is_for_scripts(person: Person) -> None:
    ended = person.types("doctor --json --problems", REDIS_URL="redis://127.0.0.1:1")
    told = json.loads(ended.out)
    assert told["exit_code"] == ended.code == 2
    named: list[Mapping[str, str]] = told["findings"]
    assert {"redis.unreachable", "alpaca.no_keys"} <= {finding["name"] for finding in named}
    assert all(finding["remedy"] for finding in named)
