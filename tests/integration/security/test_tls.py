"""Redis over TLS: everything works, and what is wrong with a certificate is said in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.settings import load_settings
from main.stack import ask_redis
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RedisUnavailable
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.registration import RegistrationClient
from main.utils.redis.start import Start
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.cli.conftest import Person
from tests.integration.security.conftest import StartBroker
from tests.integration.security.tls_redis import TlsRedis, make_ca, why_not

REASON = why_not()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(REASON is not None, reason=f"TLS is not tested: {REASON}"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    with TlsRedis(tmp_path_factory.mktemp("tls")) as running:
        yield running


@pytest.fixture
def config(server: TlsRedis) -> RedisConfig:
    trusting = RedisConfig(host="localhost", port=server.port, tls=True, tls_ca_file=str(server.ca))
    with trusting.client() as client:
        client.flushall()
    return trusting


def test_broker_subscriber_and_registration_work_over_tls(
    config: RedisConfig, sim: LocalAlpaca, start_broker: StartBroker
) -> None:
    broker = start_broker(config, registration_secured=True)
    heard: list[Any] = []
    with (
        RedisSubscriber(config) as bus,
        RegistrationClient(config, "s1", secured=True) as client,
    ):
        bus.subscribe("TICKER_UPDATES_AAPL", heard.append)
        bus.start_listening()
        assert client.register(["AAPL"])[0].status == "accepted"
        sim.burst("AAPL", 3_000)  # more than one TLS record can hold
        wait_for(lambda: len(heard) == 3_000)
        with config.client() as admin:
            admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        sim.burst("AAPL", 100)
        wait_for(lambda: len(heard) == 3_100, what="publisher and subscriber come back")
        assert [message.seq for message in heard] == list(range(1, 3_101))
    wait_for(lambda: broker.state == "RUNNING")


def test_a_late_joiner_reads_the_journal_over_tls(config: RedisConfig) -> None:
    from tests.integration.utils.redis.conftest import price  # noqa: PLC0415

    heard: list[Any] = []
    with RedisPublisher(config) as publisher, RedisSubscriber(config) as bus:
        epoch = publisher.open_epoch()
        publisher.publish_batch([price(number=n) for n in range(1, 2_001)])
        start = Start.from_id(f"{epoch}-0")
        bus.subscribe("TICKER_UPDATES_AAPL", heard.append, start=start)
        bus.start_listening()
        wait_for(lambda: len(heard) == 2_000)


def test_the_settings_reach_it_by_parts_and_by_url(server: TlsRedis) -> None:
    by_parts = load_settings(
        env_file=None,
        redis_host="localhost",
        redis_port=server.port,
        redis_tls="true",
        redis_tls_ca_file=str(server.ca),
    )
    by_url = load_settings(
        env_file=None,
        redis_url=f"rediss://localhost:{server.port}/0",
        redis_tls_ca_file=str(server.ca),
    )
    for settings in (by_parts, by_url):
        ask_redis(settings.redis_config())
    environment = {"REDIS_URL": f"rediss://localhost:{server.port}"}
    ask_redis(RedisConfig.from_env(environment | {"REDIS_TLS_CA_FILE": str(server.ca)}))


def test_a_certificate_of_another_ca_is_not_trusted(config: RedisConfig, tmp_path: Path) -> None:
    other = dataclasses.replace(config, tls_ca_file=str(make_ca(tmp_path, "other")))
    expected = r"not trusted .*REDIS_TLS_CA_FILE must name the CA that signed it"
    for connect in (RedisPublisher, RedisSubscriber, ask_redis):
        with pytest.raises(RedisUnavailable, match=expected):
            connect(other)


def test_without_a_ca_file_only_public_authorities_are_trusted(config: RedisConfig) -> None:
    with pytest.raises(RedisUnavailable, match="not trusted"):
        ask_redis(dataclasses.replace(config, tls_ca_file=None))


def test_a_certificate_of_another_host_is_not_accepted(config: RedisConfig) -> None:
    """It is for `localhost`, and not for the address."""
    with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:\d+ is not for that host: IP addr"):
        ask_redis(dataclasses.replace(config, host="127.0.0.1"))


def test_tls_with_a_server_that_speaks_none_is_named(
    config: RedisConfig, own_valkey: EmbeddedValkey
) -> None:
    with pytest.raises(RedisUnavailable, match="no TLS with localhost"):
        ask_redis(dataclasses.replace(config, port=own_valkey.port))


def test_a_plain_client_is_not_let_in(config: RedisConfig) -> None:
    with pytest.raises(RedisUnavailable):
        ask_redis(dataclasses.replace(config, tls=False))


def test_a_command_says_it_in_one_message(server: TlsRedis, tmp_path: Path) -> None:
    person = Person(tmp_path)
    person.environment |= {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(server.port)}
    ended = person.types("status", REDIS_TLS="true", REDIS_TLS_CA_FILE=str(server.ca))
    assert ended.code == 2
    assert "is not for that host" in ended.err
    assert "Traceback" not in ended.err
