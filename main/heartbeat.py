"""Hearing the broker: its next heartbeat, or that there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import redis

from .utils.redis.config import RedisConfig
from .utils.redis.connections import CONNECTION_FAULTS
from .utils.redis.constants import BusNames
from .utils.redis.errors import RedisUnavailable
from .utils.redis.messages import BrokerStatus, decode_typed

HEARTBEAT_S = 1.0
SILENCE_S = 3 * HEARTBEAT_S  # after this long without one, there is no broker


def next_heartbeat(config: RedisConfig, timeout_s: float = SILENCE_S) -> BrokerStatus | None:
    """The first heartbeat within `timeout_s`.

    Raises:
        RedisUnavailable: Redis does not answer, or refuses us.
    """
    heard = (status for status in heartbeats(config, timeout_s) if status is not None)
    return next(heard, None)


def heartbeats(config: RedisConfig, timeout_s: float) -> Iterator[BrokerStatus | None]:
    """Every heartbeat until `timeout_s` from now have passed; None now and then while it is silent.

    Raises:
        RedisUnavailable: Redis does not answer, or refuses us.
    """
    deadline = time.monotonic() + timeout_s
    client = config.client()
    try:
        with cast(Any, client).pubsub(ignore_subscribe_messages=True) as channel:
            channel.subscribe(BusNames(config.bus_prefix).BROKER_STATUS)
            while (left := deadline - time.monotonic()) > 0:
                # Looked first: once a message has begun, redis-py wants each further piece of it
                # within the timeout, or takes Redis for dead.
                is_there = channel.connection.can_read(min(left, 0.1))
                message = channel.get_message(timeout=config.timeout_s) if is_there else None
                status = decode_typed(message["data"]) if message else None
                yield status if isinstance(status, BrokerStatus) else None
    except (*CONNECTION_FAULTS, redis.RedisError) as error:
        raise RedisUnavailable(config.address, error) from error
    finally:
        client.close()
