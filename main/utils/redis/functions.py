"""The server-side functions: their source, and a call that loads them where they are missing."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import redis


def function_library() -> bytes:
    """The source of the library, for `FUNCTION LOAD REPLACE`."""
    return resources.files(__package__).joinpath("functions.lua").read_bytes()


def call_function(client: redis.Redis, name: str, keys: list[str], *arguments: str | int) -> Any:
    """Call one function of the library; a server that came back empty gets it loaded again.

    Raises:
        redis.RedisError: Redis is away, or refuses.
    """
    import redis

    try:
        return client.fcall(name, len(keys), *keys, *map(str, arguments))
    except redis.ResponseError as error:
        if "unction not found" not in str(error):
            raise
    client.function_load(function_library().decode(), replace=True)
    return client.fcall(name, len(keys), *keys, *map(str, arguments))
