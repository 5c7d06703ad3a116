"""The page's own small config, made from the settings at the edge."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..utils.hosts import is_loopback
from ..utils.redis.config import RedisConfig

LEAST_TOKEN = 16  # characters


class DashboardRefused(Exception):
    """The page would be open to more than it should be. Says what to set; exit code 2."""


@dataclass(frozen=True, kw_only=True)
class DashboardConfig:
    """Where the page listens and what it shows. `symbol_limit` 0 means that there is none.

    Raises:
        DashboardRefused: others than this machine could reach it, and no good token is set.
    """

    redis: RedisConfig
    client_id: str
    host: str = "127.0.0.1"
    port: int = 8787
    token: str | None = field(default=None, repr=False)
    secured: bool = False
    symbol_limit: int = 0

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < LEAST_TOKEN:
            raise DashboardRefused(
                f"DASHBOARD_TOKEN is shorter than {LEAST_TOKEN} characters: make one with "
                "`openssl rand -hex 16`"
            )
        if not is_loopback(self.host) and self.token is None:
            raise DashboardRefused(
                f"on {self.host} others could see the account and change its registrations: set "
                "DASHBOARD_TOKEN (`openssl rand -hex 16`), or leave --host out"
            )

    @property
    def url(self) -> str:
        """For a person on this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
