"""The server-side functions of the trade event bus, loaded by whoever finds them missing."""

from __future__ import annotations

from importlib import resources
from typing import Any, Final

import redis

PUBLISH: Final = "tickerbus_trades_publish_2"
GROUP: Final = "tickerbus_trades_group_2"
FAIL: Final = "tickerbus_trades_fail_2"
CONFIG: Final = "tickerbus_trades_config_2"
SHADOW: Final = "tickerbus_trades_shadow_2"
SETTLE: Final = "tickerbus_trades_settle_2"


def library_source() -> bytes:
    """For `FUNCTION LOAD REPLACE`."""
    return resources.files(__package__).joinpath("functions.lua").read_bytes()


def is_missing(error: object) -> bool:
    """Whether Redis says that it does not know the function: it came back empty."""
    return "unction not found" in str(error)


def call(client: redis.Redis, name: str, keys: list[str], *arguments: str | bytes | int) -> Any:
    """Call one function.

    Raises:
        redis.RedisError: Redis is away, or refuses.
    """
    try:
        return client.fcall(name, len(keys), *keys, *arguments)
    except redis.ResponseError as error:
        if not is_missing(error):
            raise
    client.function_load(library_source().decode(), replace=True)
    return client.fcall(name, len(keys), *keys, *arguments)
