"""A bus with a publisher, and recorders in threads and as programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from main.recorder.recorder import Recorder
from main.recorder.recording import Recorded, Recording
from main.utils.redis.config import RedisConfig
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.examples.processes import Process, environment

Programs = Callable[..., Process]


@pytest.fixture
def config(redis_config: RedisConfig) -> RedisConfig:
    return redis_config


@pytest.fixture
def publisher(config: RedisConfig) -> Iterator[RedisPublisher]:
    with RedisPublisher(config) as made:
        made.open_epoch()
        yield made


@contextmanager
def recording_into(root: Path, config: RedisConfig) -> Iterator[Recorder]:
    """A recorder that listens, until the end of the block; then all is on the disk."""
    recorder = Recorder(config, root)
    thread = threading.Thread(target=recorder.run, name="recorder")
    thread.start()
    try:
        wait_for(lambda: recorder.listening)
        yield recorder
    finally:
        recorder.stop()
        thread.join(20)
        assert not thread.is_alive()


def rows_of(path: Path) -> list[Recorded]:
    return list(Recording(path).rows())


@pytest.fixture
def program(config: RedisConfig, tmp_path: Path) -> Iterator[Programs]:
    """`program("record", "--into", "recordings")`, as a user types it."""
    started: list[Process] = []

    def run(*words: str, **changes: str) -> Process:
        env = environment(REDIS_URL=f"redis://127.0.0.1:{config.port}", **changes)
        started.append(Process(["-m", "main", *words], tmp_path, env))
        return started[-1]

    yield run
    for process in started:
        process.end()
