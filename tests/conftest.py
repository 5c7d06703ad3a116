"""Fixtures for every test: a real Valkey on loopback, emptied between tests."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig

T = TypeVar("T")

# What a shell starts in the background ignores Ctrl-C, and so would every program under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A slow machine is no failure: examples have no deadline of their own.
settings.register_profile("tickerbus", deadline=None)
settings.load_profile("tickerbus")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[EmbeddedValkey]:
    """One server for the whole session, for tests that neither stop nor reconfigure it."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def redis_config(valkey_server: EmbeddedValkey) -> RedisConfig:
    """A config for the session's server, which is empty at the start of the test."""
    config = RedisConfig(host="127.0.0.1", port=valkey_server.port)
    client = config.client()
    client.flushall()
    client.function_flush()
    client.close()
    return config


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    """A server for this test alone, that it may kill, freeze or reconfigure."""
    with EmbeddedValkey() as server:
        yield server


def wait_for(condition: Callable[[], T], timeout_s: float = 10.0, what: str = "") -> T:
    """The first true value of `condition`; fails with `what` when the deadline passes."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what or condition}"
        time.sleep(0.005)
    return value


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    """A test that leaves a thread running has not stopped what it started."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = [t for t in threading.enumerate() if t not in before and t.is_alive()]
        if not left:
            return
        time.sleep(0.01)
    pytest.fail(f"threads left running: {[thread.name for thread in left]}")
