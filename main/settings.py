"""One frozen `Settings`, read from the environment and `.env` at the edge, and nowhere else.

A part receives its own small config (`settings.redis_config()`, …), never the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .utils.redis.batch import JournalBounds
from .utils.redis.config import RedisConfig, parse_sentinels

_PAPER_TRADING_URL = "https://paper-api.alpaca.markets"
_LIVE_TRADING_URL = "https://api.alpaca.markets"
_DATA_URL = "https://data.alpaca.markets"
_DATA_STREAM_URL = "wss://stream.data.alpaca.markets"


class SettingsError(Exception):
    """One or more settings are wrong; `problems` names them all. The program exits with 2."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("These settings are wrong:\n" + "\n".join(f"  - {p}" for p in problems))


class Settings(BaseSettings):
    """Every setting, by the name of its environment variable. See `.env.example`."""

    model_config = SettingsConfigDict(
        env_file=None, env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    redis_url: SecretStr | None = None
    redis_host: str = "localhost"
    redis_port: int = Field(6379, ge=1, le=65535)
    redis_db: int = Field(0, ge=0)
    redis_username: str | None = None
    redis_password: SecretStr | None = None
    redis_tls: bool = False
    redis_tls_ca_file: str | None = None
    redis_sentinels: str | None = None
    redis_sentinel_master: str | None = None
    redis_sentinel_password: SecretStr | None = None
    bus_prefix: str = Field("", pattern=r"^[A-Za-z0-9_.:-]{0,32}$")

    alpaca_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices(
            "ALPACA_API_KEY", "APCA_API_KEY_ID", "PAPER_ALPACA_API_KEY_ID"
        ),
    )
    alpaca_api_secret: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices(
            "ALPACA_API_SECRET",
            "APCA_API_SECRET_KEY",
            "PAPER_ALPACA_API_SECRET_KEY",
            "ALPACA_SECRET",
        ),
    )
    alpaca_paper: bool = True
    alpaca_live_confirmed: bool = False
    alpaca_data_feed: Literal["iex", "sip", "delayed_sip", "test"] = "iex"
    alpaca_symbol_limit: int = Field(30, ge=0)
    alpaca_data_stream_url: str | None = None
    alpaca_trading_stream_url: str | None = None
    alpaca_data_url: str = _DATA_URL
    alpaca_trading_url: str | None = None

    registration_secured: bool = False
    journal_max_per_ticker: int = Field(10_000, ge=100)
    journal_max_mb: int = Field(512, ge=1)
    order_log_days: int = Field(7, ge=1)
    broker_state_dir: str | None = None
    metrics_port: int | None = Field(None, ge=1, le=65535)
    metrics_host: str = "127.0.0.1"
    dashboard_token: SecretStr | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("log_level", "log_format", "alpaca_data_feed", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    def problems(self) -> list[str]:
        """What no single setting shows: wrong combinations."""
        found = []
        if not self.alpaca_paper and not self.alpaca_live_confirmed:
            found.append(
                "ALPACA_PAPER=false trades real money: confirm it with ALPACA_LIVE_CONFIRMED=true"
            )
        if (self.alpaca_api_key is None) != (self.alpaca_api_secret is None):
            lacks = "ALPACA_API_KEY" if self.alpaca_api_key is None else "ALPACA_API_SECRET"
            found.append(f"{lacks} is not set, but the other half of the key pair is")
        found += self._redis_problems()
        for name, endpoint in (
            ("ALPACA_TRADING_URL", self.trading_url),
            ("ALPACA_TRADING_STREAM_URL", self.trading_stream_url),
        ):
            if self.alpaca_paper and _host_of(endpoint) == _host_of(_LIVE_TRADING_URL):
                found.append(f"{name} is the live account's, but ALPACA_PAPER is true")
        urls = {
            "ALPACA_DATA_STREAM_URL": (self.alpaca_data_stream_url, ("ws://", "wss://")),
            "ALPACA_TRADING_STREAM_URL": (self.alpaca_trading_stream_url, ("ws://", "wss://")),
            "ALPACA_DATA_URL": (self.alpaca_data_url, ("http://", "https://")),
            "ALPACA_TRADING_URL": (self.alpaca_trading_url, ("http://", "https://")),
        }
        for name, (url, schemes) in urls.items():
            if url is not None and not url.startswith(schemes):
                found.append(f"{name} must start with {' or '.join(schemes)}")
        return found

    def _redis_problems(self) -> list[str]:
        """No value is cited: a secret may have been put in the wrong place."""
        found = []
        url = self.redis_url.get_secret_value() if self.redis_url is not None else None
        for parse, text in ((RedisConfig.from_url, url), (parse_sentinels, self.redis_sentinels)):
            try:
                if text is not None:
                    parse(text)
            except ValueError as error:
                found.append(str(error))
        if (self.redis_sentinels is None) != (self.redis_sentinel_master is None):
            found.append("REDIS_SENTINELS and REDIS_SENTINEL_MASTER go together: set both")
        if self.redis_sentinels is not None and url is not None:
            found.append(
                "REDIS_SENTINELS say where Redis is, and so does REDIS_URL: keep one; REDIS_DB, "
                "REDIS_USERNAME, REDIS_PASSWORD and REDIS_TLS go with the Sentinels"
            )
        if self.redis_tls_ca_file is not None:
            if not Path(self.redis_tls_ca_file).is_file():
                found.append(f"REDIS_TLS_CA_FILE: there is no file {self.redis_tls_ca_file}")
            if not self.redis_tls and not (url or "").startswith("rediss://"):
                found.append("REDIS_TLS_CA_FILE is set, but TLS is not: set REDIS_TLS=true")
        return found

    @property
    def has_alpaca_keys(self) -> bool:
        return self.alpaca_api_key is not None and self.alpaca_api_secret is not None

    @property
    def names_a_redis(self) -> bool:
        """Whether the user said where Redis is, so that none is embedded."""
        return bool({"redis_url", "redis_host", "redis_sentinels"} & self.model_fields_set)

    @property
    def trading_url(self) -> str:
        """REST of trading, without a trailing slash."""
        default = _PAPER_TRADING_URL if self.alpaca_paper else _LIVE_TRADING_URL
        return (self.alpaca_trading_url or default).rstrip("/")

    @property
    def data_url(self) -> str:
        return self.alpaca_data_url.rstrip("/")

    @property
    def stock_stream_url(self) -> str:
        """`ALPACA_DATA_STREAM_URL`: a whole endpoint, or only the host; then the feed is added."""
        base = (self.alpaca_data_stream_url or _DATA_STREAM_URL).rstrip("/")
        return base if base.count("/") > 2 else f"{base}/v2/{self.alpaca_data_feed}"

    @property
    def crypto_stream_url(self) -> str:
        base = (self.alpaca_data_stream_url or _DATA_STREAM_URL).rstrip("/")
        host = "/".join(base.split("/")[:3])
        return f"{host}/v1beta3/crypto/us"

    @property
    def trading_stream_url(self) -> str:
        if self.alpaca_trading_stream_url:
            return self.alpaca_trading_stream_url
        return self.trading_url.replace("http", "ws", 1) + "/stream"

    def redis_config(self, client_name: str = "tickerbus") -> RedisConfig:
        common: dict[str, Any] = {
            "client_name": client_name,
            "bus_prefix": self.bus_prefix,
            "tls_ca_file": self.redis_tls_ca_file,
        }
        if self.redis_url is not None:
            return RedisConfig.from_url(self.redis_url.get_secret_value(), **common)
        return RedisConfig(
            host=self.redis_host,
            port=self.redis_port,
            db=self.redis_db,
            username=self.redis_username,
            password=_plain(self.redis_password),
            tls=self.redis_tls,
            sentinels=parse_sentinels(self.redis_sentinels or ""),
            sentinel_master=self.redis_sentinel_master or "",
            sentinel_password=_plain(self.redis_sentinel_password),
            **common,
        )

    def journal_bounds(self) -> JournalBounds:
        return JournalBounds(
            max_per_ticker=self.journal_max_per_ticker,
            max_mb=self.journal_max_mb,
            order_days=self.order_log_days,
        )


def load_settings(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Read the environment, then `.env` for what it lacks. `overrides` win over both.

    Raises:
        SettingsError: with every wrong setting in one message.
    """
    try:
        settings = Settings(_env_file=env_file, **overrides)  # type: ignore[call-arg]
    except ValidationError as error:
        raise SettingsError([_explain(fault) for fault in error.errors()]) from None
    if problems := settings.problems():
        raise SettingsError(problems)
    return settings


class LoadEnvironmentVariables:
    """The settings that say where Redis is, under the names of their environment variables.

    `LoadEnvironmentVariables(".env")` is what the trade event bus is made from. The environment
    wins over the file; a file that is not there is no fault.

    Raises:
        SettingsError: with every wrong setting in one message.
    """

    def __init__(self, env_file: str | Path | None = ".env") -> None:
        self.settings = load_settings(env_file)
        self.REDIS_HOST = self.settings.redis_host
        self.REDIS_PORT = self.settings.redis_port
        self.REDIS_DB = self.settings.redis_db

    @property
    def REDIS_PASSWORD(self) -> str:  # noqa: N802  (the variable's name)
        """Empty: none."""
        return _plain(self.settings.redis_password) or ""

    def redis_config(self, client_name: str = "tickerbus-events") -> RedisConfig:
        """All of it: also REDIS_URL, TLS, Sentinels and BUS_PREFIX."""
        return self.settings.redis_config(client_name)


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret is not None else None


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None  # no URL; connecting will say so


# By pydantic's type of error: what the value must be. The value itself is never cited.
_MUST_BE: Final = {
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "bool_parsing": "must be true or false",
    "less_than_equal": "must be at most {le}",
    "greater_than_equal": "must be at least {ge}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_short": "must have at least {min_length} characters",
}


def _explain(fault: Any) -> str:
    name = ".".join(map(str, fault["loc"])).upper()
    must_be = _MUST_BE.get(fault["type"])
    return f"{name}: {must_be.format(**fault.get('ctx', {})) if must_be else fault['msg']}"
