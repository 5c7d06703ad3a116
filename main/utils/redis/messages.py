"""The typed messages of the wire, and their JSON.

Frozen and keyword-only. The wire's names are the field names, but for `gap`, whose `from` is a
Python keyword and is called `from_` here. What Alpaca did not send is UNSET and is not written.
Timestamps are RFC 3339 strings in UTC (`Z`) with up to nine digits: a float or a `datetime` would
cut the nanoseconds. Prices of the market are floats; orders stay verbatim, with numbers as the
strings that Alpaca sends, to be read as `Decimal`.
"""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from .constants import BusNames


class _Matchable(msgspec.StructMeta):
    """Lets `case PriceMessage(symbol, price, volume)` match: keyword-only fields name no order, so
    a message names one itself, in `__match_args__`."""

    @property
    def __match_args__(cls) -> tuple[str, ...]:  # type: ignore[override]  # noqa: N805
        own = (base.__dict__.get("__match_args__") for base in cls.__mro__)
        return next((named for named in own if isinstance(named, tuple)), ())


# A message is a tree that nothing can bend into a cycle, so the garbage collector need not walk it
# (`gc=False`): with a full queue its walks would cost more than reading and decoding together.
class Numbered(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, metaclass=_Matchable
):
    """What every message on a ticker's channels carries. `epoch-seq` is its place in the journal.

    Both are 0, and not written, until the publisher numbers the message. No other field of a
    message has a default, but for those that Alpaca may not send: so each one is written.
    """

    symbol: str
    timestamp: str
    epoch: int = 0
    seq: int = 0

    @property
    def id(self) -> str | None:
        """Its id in the journal, `<epoch>-<seq>`; None for what was never published."""
        return f"{self.epoch}-{self.seq}" if self.seq else None


class PriceMessage(Numbered, frozen=True, kw_only=True, tag="price", gc=False):
    """One trade. `price` > 0; `volume` in shares, or coins for crypto."""

    __match_args__ = ("symbol", "price", "volume")

    price: float
    volume: int | float
    trade_id: int | str | UnsetType = UNSET
    exchange: str | UnsetType = UNSET
    conditions: tuple[str, ...] | UnsetType = UNSET
    tape: str | UnsetType = UNSET
    feed: str
    last_eligible: bool
    backfilled: bool


class OrderMessage(Numbered, frozen=True, kw_only=True, tag="order"):
    """One event of an order. `order_data` is Alpaca's order object, verbatim; `update` the rest."""

    __match_args__ = ("symbol", "event", "order_data")

    event: str
    order_data: dict[str, Any]
    update: dict[str, Any]
    account_id: str
    paper: bool
    source: Literal["stream", "reconcile"]


class GapMessage(Numbered, frozen=True, kw_only=True, tag="gap", rename={"from_": "from"}):
    """Between `from_` and `to` messages of this ticker may be missing. `lost` where it is known.

    `seq` is 0 for the gaps that the reading library made itself: they were never published.
    """

    __match_args__ = ("symbol", "from_", "to", "cause")

    from_: str
    to: str
    cause: str
    backfilled: bool
    lost: int | None


class QuotesGap(GapMessage, frozen=True, kw_only=True, tag="gap", rename={"from_": "from"}):
    """A gap on the ticker's quotes channel, for the publisher; a reader gets a `GapMessage`."""


class BarsGap(GapMessage, frozen=True, kw_only=True, tag="gap", rename={"from_": "from"}):
    """A gap on the ticker's bars channel, for the publisher; a reader gets a `GapMessage`."""


class StatusMessage(Numbered, frozen=True, kw_only=True, tag="status"):
    """A trading halt or resume."""

    __match_args__ = ("symbol", "code", "message")

    code: str
    message: str
    reason_code: str
    reason_message: str
    tape: str | UnsetType = UNSET


class CorrectionMessage(Numbered, frozen=True, kw_only=True, tag="correction"):
    """A trade that was corrected, or cancelled (`corrected` is None)."""

    __match_args__ = ("symbol", "original", "corrected")

    original: dict[str, Any]
    corrected: dict[str, Any] | None


class QuoteMessage(Numbered, frozen=True, kw_only=True, tag="quote"):
    """The best bid and offer, on the ticker's quotes channel. Not journalled."""

    __match_args__ = ("symbol", "bid_price", "ask_price")

    bid_price: float
    bid_size: int | float
    ask_price: float
    ask_size: int | float
    bid_exchange: str | UnsetType = UNSET
    ask_exchange: str | UnsetType = UNSET
    conditions: tuple[str, ...] | UnsetType = UNSET
    tape: str | UnsetType = UNSET
    feed: str


class BarMessage(Numbered, frozen=True, kw_only=True, tag="bar"):
    """A bar, on the ticker's bars channel. `timestamp` is its start. Not journalled."""

    __match_args__ = ("symbol", "open", "high", "low", "close")

    open: float
    high: float
    low: float
    close: float
    volume: int | float
    trade_count: int | UnsetType = UNSET
    vwap: float | UnsetType = UNSET
    interval: Literal["minute", "updated", "day"]
    feed: str


class RegistrationRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client asks on `BROKER_REGISTRATION`."""

    action: Literal["subscribe", "unsubscribe"]
    ticker: str
    client_id: str | None = None
    lease_s: int | None = None
    request_id: str | int | None = None
    data: list[Literal["trades", "quotes", "bars"]] | None = None


class RegistrationReply(msgspec.Struct, frozen=True, kw_only=True, tag="registration"):
    """The broker's one answer to a request. `holders` counts who follows the ticker now."""

    action: str | None
    ticker: str | None
    client_id: str | None
    request_id: str | int | None
    status: Literal["accepted", "rejected"]
    reason: str | None
    detail: str | None
    holders: int
    timestamp: str


class PriceStreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    state: str
    since: str
    reason: str | None = None
    lag_ms: float | None = None
    symbols: int = 0


class OrderStreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`ready: false` means: send no new entries."""

    state: str
    since: str
    reason: str | None = None
    ready: bool = False
    last_event_at: str | None = None


class UpstreamStatus(msgspec.Struct, frozen=True, kw_only=True):
    prices: PriceStreamStatus
    orders: OrderStreamStatus


class TickerStatus(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    state: str


class MarketStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The regular stock session, by Alpaca's clock; `changes_at` is null until it was asked."""

    is_open: bool
    changes_at: str | None = None


class BrokerStatus(msgspec.Struct, frozen=True, kw_only=True, tag="broker_status"):
    """The broker's heartbeat, every second. Beyond 200 tickers the map is left out; then `states`
    counts the tickers by state, and `unwell` names up to 50 that are neither LIVE nor QUIET.
    `account_short`: the last four characters of the account's number; `local`: whether it is the
    local Alpaca's."""

    epoch: int
    state: str
    account_id: str | None
    account_short: str | UnsetType = UNSET
    paper: bool
    local: bool | UnsetType = UNSET
    timestamp: str
    started_at: str
    version: str
    upstream: UpstreamStatus
    market: MarketStatus | UnsetType = UNSET
    limits: dict[str, int] | UnsetType = UNSET
    tickers: dict[str, TickerStatus] | UnsetType = UNSET
    states: dict[str, int] | UnsetType = UNSET
    unwell: dict[str, str] | UnsetType = UNSET
    counters: dict[str, int]
    journal: dict[str, int]


TickerMessage: TypeAlias = (
    PriceMessage | OrderMessage | GapMessage | StatusMessage | CorrectionMessage
)
TypedMessage: TypeAlias = (
    TickerMessage | QuoteMessage | BarMessage | RegistrationReply | BrokerStatus
)

BusMessage: TypeAlias = TickerMessage | QuoteMessage | BarMessage | QuotesGap | BarsGap

_encoder: Final = msgspec.json.Encoder()
_typed: Final[msgspec.json.Decoder[TypedMessage]] = msgspec.json.Decoder(TypedMessage)
_plain: Final = msgspec.json.Decoder()
_FRACTION: Final = re.compile(r"\.(\d+)")


def encode(message: object) -> bytes:
    """One JSON object, UTF-8."""
    return _encoder.encode(message)


def decode_typed(payload: bytes) -> TypedMessage | None:
    """A typed message, or None when it is of a type or shape that this version does not know."""
    try:
        return _typed.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):  # not JSON at all, too
        return None


def decode_plain(payload: bytes) -> Any:
    """Whatever JSON it is.

    Raises:
        msgspec.DecodeError: it is not JSON.
    """
    return _plain.decode(payload)


def decode_for(names: BusNames, channel: str, payload: bytes) -> Any:
    """Decode by channel: typed on the contract's channels, plain JSON on any other.

    Returns None for what a reader must ignore: a type that this version does not know.
    """
    if channel.startswith(_typed_channels(names)):
        return decode_typed(payload)
    try:
        return decode_plain(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _typed_channels(names: BusNames) -> tuple[str, ...]:
    return (
        names.TICKER_UPDATES,
        names.TICKER_QUOTES,
        names.TICKER_BARS,
        names.BROKER_REGISTRATION_REPLIES,
        names.BROKER_STATUS,
    )


def rfc3339(unix_ns: int) -> str:
    """`2026-11-21T14:30:05.123456789Z`: UTC, all nine digits, nothing rounded.

    Raises:
        ValueError: not between 1970 and 9999.
    """
    return moment_text(*divmod(unix_ns, 1_000_000_000))


def moment_text(seconds: int, nanoseconds: int) -> str:
    """The same, of a moment in two parts; `nanoseconds` is below a billion."""
    # Most messages of a batch fall into the same second, and strftime costs more than all the
    # rest of a message. The tuple is replaced in one step, so threads may share it.
    known_second, text = _last_second
    if known_second != seconds:
        text = _second_text(seconds)
    digits = str(1_000_000_000 + nanoseconds)  # a one and nine digits: quicker than padding
    return f"{text}.{digits[1:]}Z"


_END_OF_9999_S: Final = 253_402_300_800
_last_second: tuple[int, str] = (-1, "")


def _second_text(seconds: int) -> str:
    global _last_second  # noqa: PLW0603
    if not 0 <= seconds < _END_OF_9999_S:
        raise ValueError(f"{seconds} s is not a moment between 1970 and 9999")
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    _last_second = (seconds, text)
    return text


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since 1970 of an RFC 3339 text with any offset; nothing is cut.

    Raises:
        ValueError: it is not one, or has no offset.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: end it with Z")
    fraction = _FRACTION.search(text)
    digits = fraction.group(1)[:9] if fraction else ""
    return int(moment.replace(microsecond=0).timestamp()) * 1_000_000_000 + int(
        digits.ljust(9, "0")
    )


def now_rfc3339() -> str:
    return rfc3339(time.time_ns())
