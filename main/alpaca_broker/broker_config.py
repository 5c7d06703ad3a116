"""The broker's own small config, made from the settings at the edge."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..settings import Settings
from ..utils.redis.batch import JournalBounds
from ..utils.redis.config import RedisConfig
from .connection_config import ConnectionConfig
from .rest import MarketDataRest, TradingRest


@dataclass(frozen=True, kw_only=True)
class BrokerConfig:
    """Everything that one broker needs to know."""

    redis: RedisConfig
    journal: JournalBounds = field(default_factory=JournalBounds)
    rest: TradingRest
    data_rest: MarketDataRest
    stocks: ConnectionConfig
    crypto: ConnectionConfig
    orders: ConnectionConfig
    feed: str = "iex"
    symbol_limit: int = 30
    registration_secured: bool = False
    heartbeat_s: float = 1.0
    reply_timeout_s: float = 5.0
    start_timeout_s: float = 10.0
    stop_timeout_s: float = 4.0
    state_dir: Path | None = None  # for the record of told orders; None: none is kept

    @classmethod
    def from_settings(cls, settings: Settings) -> BrokerConfig:
        """From the settings, which must hold keys.

        Raises:
            ValueError: there are no keys.
        """
        if settings.alpaca_api_key is None or settings.alpaca_api_secret is None:
            raise ValueError("ALPACA_API_KEY and ALPACA_API_SECRET are not set")
        key = settings.alpaca_api_key.get_secret_value()
        secret = settings.alpaca_api_secret.get_secret_value()

        def stream(name: str, url: str) -> ConnectionConfig:
            return ConnectionConfig(name=name, url=url, key=key, secret=secret)

        return cls(
            redis=settings.redis_config("tickerbus-broker"),
            journal=settings.journal_bounds(),
            rest=TradingRest(
                url=settings.trading_url, key=key, secret=secret, paper=settings.alpaca_paper
            ),
            data_rest=MarketDataRest(url=settings.data_url, key=key, secret=secret),
            stocks=stream("stocks", settings.stock_stream_url),
            crypto=stream("crypto", settings.crypto_stream_url),
            orders=stream("orders", settings.trading_stream_url),
            feed=settings.alpaca_data_feed,
            symbol_limit=settings.alpaca_symbol_limit,
            registration_secured=settings.registration_secured,
            state_dir=Path(settings.broker_state_dir) if settings.broker_state_dir else None,
        )
