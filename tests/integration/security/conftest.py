"""A real Valkey where nobody may do anything but the users that a test makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from main.acl import AclRequest, Role, acl_rule
from main.alpaca_broker import AlpacaBroker, BrokerConfig
from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.settings import Settings, load_settings
from main.utils.redis.config import RedisConfig
from tests.integration.alpaca_broker.conftest import quiet_market

ADMIN_PASSWORD = "admin-password"


class Users:
    """The Redis users of one test. `default` may do nothing."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self.port = server.port
        with redis.Redis(port=server.port) as first:
            first.execute_command(*f"ACL SETUSER admin on >{ADMIN_PASSWORD} ~* &* +@all".split())
        self.admin = redis.Redis(port=server.port, username="admin", password=ADMIN_PASSWORD)
        self.admin.execute_command("ACL", "SETUSER", "default", "off")

    def grant(self, role: Role, user: str | None = None, **request: Any) -> RedisConfig:
        """Make a user by the very words that `acl` prints; its way to Redis."""
        name = user or role
        secret = f"{name}-password"
        hashed = hashlib.sha256(secret.encode()).hexdigest()
        asked = AclRequest(role=role, user=name, password_hash=hashed, **request)
        self.admin.execute_command("ACL", "SETUSER", name, *acl_rule(asked).split())
        return RedisConfig(
            host="127.0.0.1",
            port=self.port,
            username=name,
            password=secret,
            bus_prefix=asked.prefix,
        )

    def refusals(self, user: str | None = None) -> list[str]:
        """What Redis refused since it was asked before, as `user: what (context)`.

        Without the broker's question whether it may ask for its rights: it expects a no.
        """
        entries: Any = self.admin.acl_log()
        self.admin.acl_log_reset()
        return [
            f"{entry['username']}: {entry['object']} ({entry['context']})"
            for entry in entries
            if user in (None, entry["username"]) and entry["object"] != "acl|whoami"
        ]


@pytest.fixture
def users(own_valkey: EmbeddedValkey) -> Iterator[Users]:
    made = Users(own_valkey)
    yield made
    made.admin.close()


@pytest.fixture
def sim() -> Iterator[LocalAlpaca]:
    with quiet_market() as running:
        yield running


def settings_for(redis_config: RedisConfig, sim: LocalAlpaca, **settings: object) -> Settings:
    """As the environment would say it."""
    given: dict[str, object] = {
        "redis_host": redis_config.host,
        "redis_port": redis_config.port,
        "redis_username": redis_config.username,
        "redis_password": redis_config.password,
        "redis_tls": redis_config.tls,
        "redis_tls_ca_file": redis_config.tls_ca_file,
        "bus_prefix": redis_config.bus_prefix,
        "alpaca_api_key": "local",
        "alpaca_api_secret": "local-secret",
        "alpaca_data_stream_url": f"ws://127.0.0.1:{sim.address.port}",
        "alpaca_trading_stream_url": sim.trading_stream_url,
        "alpaca_data_url": sim.url,
        "alpaca_trading_url": sim.url,
    }
    return load_settings(env_file=None, **(given | settings))


StartBroker = Callable[..., AlpacaBroker]


@pytest.fixture
def start_broker(sim: LocalAlpaca) -> Iterator[StartBroker]:
    """`start_broker(redis_config, **settings)`; ended with the test, if the test did not."""
    with ExitStack() as stack:

        def start(redis_config: RedisConfig, **settings: object) -> AlpacaBroker:
            config = BrokerConfig.from_settings(settings_for(redis_config, sim, **settings))
            broker = AlpacaBroker(config)
            stack.callback(lambda: broker.state == "STOPPED" or broker.stop())
            broker.start()
            return broker

        yield start
