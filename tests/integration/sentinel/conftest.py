"""A primary, its replica and a Sentinel that watches over them: three processes on loopback."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.faults.sentinel import MASTER, Sentinel
from tests.integration.alpaca_broker.conftest import quiet_market


class Trio:
    """`primary` and `replica` are what they were at the start."""

    def __init__(self, keep: ExitStack) -> None:
        folder = Path(keep.enter_context(tempfile.TemporaryDirectory()))
        fast = ("--repl-diskless-sync-delay", "0", "--shutdown-timeout", "0")
        self.primary = keep.enter_context(EmbeddedValkey(None, *fast))
        follows = ("--replicaof", f"127.0.0.1 {self.primary.port}")
        self.replica = keep.enter_context(EmbeddedValkey(None, *follows, *fast))
        wait_for(lambda: info(self.replica)["master_link_status"] == "up")
        self.sentinel = Sentinel(folder, self.primary.port)
        keep.callback(self.sentinel.stop)
        wait_for(self.sentinel.primary_port)
        wait_for(self.sentinel.knows_the_replica, 20)

    @property
    def config(self) -> RedisConfig:
        return RedisConfig(sentinels=(("127.0.0.1", self.sentinel.port),), sentinel_master=MASTER)

    @property
    def settings(self) -> dict[str, object]:
        return {
            "redis_sentinels": f"127.0.0.1:{self.sentinel.port}",
            "redis_sentinel_master": MASTER,
        }

    def wait_for_failover(self) -> None:
        wait_for(
            lambda: (
                self.sentinel.primary_port() == self.replica.port
                and info(self.replica)["role"] == "master"
            ),
            20,
            "the replica is promoted",
        )


def info(server: EmbeddedValkey) -> dict[str, Any]:
    with redis.Redis(port=server.port) as client:
        found: Any = client.info("replication")
    return dict(found)


@pytest.fixture
def trio() -> Iterator[Trio]:
    with ExitStack() as keep:
        yield Trio(keep)


@pytest.fixture
def sim() -> Iterator[LocalAlpaca]:
    with quiet_market() as running:
        yield running
