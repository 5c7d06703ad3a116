"""The local Alpaca's settings: frozen objects, built at the edge and handed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .venue_config import VenueConfig

SessionPhase = Literal["closed", "pre", "regular", "post"]


@dataclass(frozen=True)
class Credentials:
    """An Alpaca key pair. The secret never shows in a `repr`."""

    key_id: str = "local"
    secret: str = field(default="local-secret", repr=False)

    def matches(self, key_id: object, secret: object) -> bool:
        """Whether what a client sent is this key pair."""
        return key_id == self.key_id and secret == self.secret


@dataclass(frozen=True, kw_only=True)
class StreamRules:
    """How the market-data streams behave; where Alpaca's own value is unknown, a choice.

    Limits of 0 mean "none". Times are in seconds.
    """

    symbol_limit: int = 30
    # "symbols": distinct symbols over all channels; "entries": trades + quotes entries.
    symbol_limit_counts: Literal["symbols", "entries"] = "symbols"
    connection_limit: int = 1
    # What a connection is counted against: the user at one endpoint, or the user alone.
    connection_limit_key: Literal["endpoint", "user"] = "endpoint"
    # How long a connection that ended without a closing handshake keeps its slot.
    zombie_slot_s: float = 90.0
    auth_timeout_s: float = 10.0
    ack_delay_s: float = 0.0
    # More handshakes than this within the window are answered with HTTP 429.
    handshake_limit: int = 60
    handshake_window_s: float = 60.0
    # Messages that may wait for one reader before it is a slow client (407).
    buffer_messages: int = 200_000
    # No pong for this long ends the connection (Alpaca: 20 s).
    pong_timeout_s: float = 20.0
    # The close code that follows 404, 406 and 407 is not documented.
    close_code: int = 1008
    close_after_auth_failure: bool = False
    compression: bool = True
    max_frame_messages: int = 1_000
    # Since 2025-11-03 quote sizes are shares; round lots before.
    quote_size_unit: Literal["shares", "round_lots"] = "shares"
    refused_feeds: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MarketRules:
    """What the simulated market does. Rates are trades per second and ticker."""

    seed: int = 1
    default_rate: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    quotes_per_trade: float = 1.0
    # Where stocks trade. The `iex` feed shows only those of V, `sip` all of them.
    exchanges: tuple[str, ...] = ("V",)
    prices: Mapping[str, float] = field(default_factory=dict)
    # Trades (and as many quotes) kept for the historical REST calls and the oracle: per ticker,
    # and together, shared evenly among the tickers that are alive.
    history_per_symbol: int = 20_000
    history_total: int = 400_000
    # How often the market moves; what happens within one tick goes out together.
    tick_ms: float = 10.0
    # Multiplies the rates for the first seconds of a regular session.
    opening_burst: float = 1.0
    opening_burst_s: float = 30.0
    # "always": a virtual session that never closes; "calendar": the real exchange calendar.
    session: Literal["always", "calendar"] = "always"
    # RFC 3339; where the clock starts. None: now. It then moves at true speed.
    clock_start: str | None = None


@dataclass(frozen=True, kw_only=True)
class SimConfig:
    """Everything that one local Alpaca needs. It listens on 127.0.0.1 only.

    `port` and `control_port` of 0 mean any free port; `control_port=None` means no control API.
    `tickers` are known besides the built-in list; with `any_ticker` every well-formed one is.
    Rest limits are requests per minute and account; 0 means none.
    """

    port: int = 0
    control_port: int | None = 0
    credentials: Credentials = field(default_factory=Credentials)
    tickers: tuple[str, ...] = ()
    any_ticker: bool = False
    streams: StreamRules = field(default_factory=StreamRules)
    market: MarketRules = field(default_factory=MarketRules)
    venue: VenueConfig | None = None
    trading_frames: Literal["binary", "text"] = "binary"
    # Connections to /stream per user; unknown at Alpaca, so none by default.
    trading_connection_limit: int = 0
    trading_rest_limit: int = 200
    data_rest_limit: int = 200
    # Files: a fault scenario to play at once, a recording to play instead of the walk.
    scenario: str | None = None
    replay: str | None = None
    # Times true speed; 0 means as fast as possible.
    replay_speed: float = 1.0
    replay_shift_to_now: bool = True
    # Whether the recording waits for the first subscription.
    replay_waits: bool = True


@dataclass(frozen=True, kw_only=True)
class SimAddress:
    """Where a running local Alpaca listens, and which hours its market keeps."""

    port: int
    control_port: int | None
    session: str = ""

    @property
    def rest_url(self) -> str:
        """Base of every REST call, for alpaca-py's `url_override`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_stream_url(self) -> str:
        """The stock stream (IEX feed)."""
        return self.stream_url("iex")

    @property
    def crypto_stream_url(self) -> str:
        """The crypto stream."""
        return f"ws://127.0.0.1:{self.port}/v1beta3/crypto/us"

    @property
    def trading_stream_url(self) -> str:
        """The account's order updates."""
        return f"ws://127.0.0.1:{self.port}/stream"

    @property
    def control_url(self) -> str | None:
        """The control API, if there is one."""
        return None if self.control_port is None else f"http://127.0.0.1:{self.control_port}"

    def stream_url(self, feed: str) -> str:
        """The stock stream of one feed: iex, sip, delayed_sip or test."""
        return f"ws://127.0.0.1:{self.port}/v2/{feed}"
