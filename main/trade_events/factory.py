"""`EventBusFactory`: from the environment's settings to a connected bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..utils.redis.config import RedisConfig
    from .bus import RedisEventBus


class EventBusFactory:
    """Makes buses."""

    @staticmethod
    def create_from_env(env_config: Any, **options: Any) -> RedisEventBus:
        """A connected bus. `env_config` is `LoadEnvironmentVariables(".env")`, `load_settings()`,
        or anything that has REDIS_HOST, REDIS_PORT, REDIS_DB and REDIS_PASSWORD.

        Raises:
            ImportError: redis-py is not installed.
            redis.ConnectionError: nobody answers there, or refuses us.
        """
        try:
            from .bus import RedisEventBus  # noqa: PLC0415  (so that its absence can be caught here)
        except ImportError as error:
            raise ImportError(
                f"redis-py is needed for the trade event bus: pip install redis ({error})"
            ) from error
        return RedisEventBus(_redis_config(env_config), **options)


def _redis_config(env_config: Any) -> RedisConfig:
    from ..utils.redis.config import RedisConfig  # noqa: PLC0415

    if hasattr(env_config, "redis_config"):
        made: RedisConfig = env_config.redis_config()
        return made
    return RedisConfig(
        host=env_config.REDIS_HOST or "localhost",
        port=int(env_config.REDIS_PORT or 6379),
        db=int(env_config.REDIS_DB or 0),
        password=env_config.REDIS_PASSWORD or None,
    )
