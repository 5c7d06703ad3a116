"""Hearing the broker through redis-py, where the network is slow in the middle of a message."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import hiredis
import pytest

from main.heartbeat import next_heartbeat
from main.utils.redis.config import RedisConfig, pack_argument
from main.utils.redis.messages import encode
from tests.unit.scale_t.broker_status import status

STUTTER_S = 0.4


@pytest.fixture
def stuttering_redis() -> Iterator[RedisConfig]:
    """Confirms what it is asked, and tells one heartbeat in two pieces."""
    body = encode(status())
    message = b"*3\r\n" + b"".join(map(pack_argument, ("message", "BROKER_STATUS", body)))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            caller, _ = server.accept()
            with caller:
                asked = hiredis.Reader()
                while received := caller.recv(4096):
                    asked.feed(received)
                    while command := asked.gets():
                        if command[0].upper() != b"SUBSCRIBE":
                            caller.sendall(b"+OK\r\n")
                            continue
                        told = (pack_argument("subscribe"), pack_argument(command[1]), b":1\r\n")
                        caller.sendall(b"*3\r\n" + b"".join(told) + message[:50])
                        time.sleep(STUTTER_S)
                        caller.sendall(message[50:])

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield RedisConfig(host="127.0.0.1", port=server.getsockname()[1], timeout_s=5)
        thread.join(5)


def test_a_heartbeat_that_comes_in_pieces_is_heard(stuttering_redis: RedisConfig) -> None:
    assert next_heartbeat(stuttering_redis, timeout_s=10) is not None
