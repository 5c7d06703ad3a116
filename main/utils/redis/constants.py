"""Every channel, key and schema of the wire contract: the only place where a name is spelled.

`CHANNELS` holds the names without a prefix; `BusNames("PAPER_")` the same names for a second
account on the same Redis (pub/sub knows no databases, so a prefix has to keep accounts apart).
Schemas are JSON Schema draft 2020-12. A reader ignores fields and types that it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from .errors import InvalidTicker

JsonSchema = dict[str, Any]

TICKER_PATTERN: Final = r"[A-Z][A-Z0-9]{0,9}([./][A-Z0-9]{1,9})?"
ORDER_SYMBOL_PATTERN: Final = r"[A-Z0-9][A-Z0-9./-]{0,31}"
CLIENT_ID_PATTERN: Final = r"[A-Za-z0-9_@.-]{1,64}"
UNROUTED: Final = "_UNROUTED"  # what an order's symbol becomes when it cannot name a channel

DEFAULT_LEASE_S: Final = 300
MAX_LEASE_S: Final = 86_400
MAX_REGISTRATION_BYTES: Final = 16 * 1024

_TICKER = re.compile(TICKER_PATTERN)
_ORDER_SYMBOL = re.compile(ORDER_SYMBOL_PATTERN)


def normalize_ticker(ticker: str) -> str:
    """Trim, upper-case and check a ticker, as registration does.

    Raises:
        InvalidTicker: it cannot name a channel; says what would, where that is plain.
    """
    # Not ASCII: "ß" would become the ticker SS.
    plain = isinstance(ticker, str) and ticker.isascii()
    candidate = ticker.strip().upper() if plain else ""
    if _TICKER.fullmatch(candidate):
        return candidate
    dotted = candidate.replace("-", ".", 1)
    suggestion = dotted if dotted != candidate and _TICKER.fullmatch(dotted) else None
    raise InvalidTicker(ticker, suggestion)


def route_order_symbol(symbol: object) -> str:
    """The symbol under which an order is published: any that Alpaca sends, else `_UNROUTED`."""
    if isinstance(symbol, str) and _ORDER_SYMBOL.fullmatch(symbol):
        return symbol
    return UNROUTED


@dataclass(frozen=True)
class BusNames:
    """The names of one bus: all of them start with `prefix`."""

    prefix: str = ""

    @property
    def BROKER_REGISTRATION(self) -> str:  # noqa: N802  (the user's name)
        return f"{self.prefix}BROKER_REGISTRATION"

    @property
    def BROKER_REGISTRATION_REPLIES(self) -> str:  # noqa: N802
        return f"{self.prefix}BROKER_REGISTRATION_REPLIES"

    @property
    def BROKER_STATUS(self) -> str:  # noqa: N802
        return f"{self.prefix}BROKER_STATUS"

    @property
    def TICKER_UPDATES(self) -> str:  # noqa: N802
        """What a ticker's channel starts with."""
        return f"{self.prefix}TICKER_UPDATES_"

    @property
    def TICKER_QUOTES(self) -> str:  # noqa: N802
        return f"{self.prefix}TICKER_QUOTES_"

    @property
    def TICKER_BARS(self) -> str:  # noqa: N802
        return f"{self.prefix}TICKER_BARS_"

    @property
    def TICKER_LOG(self) -> str:  # noqa: N802
        """What the key of a ticker's journal starts with."""
        return f"{self.prefix}TICKER_LOG_"

    @property
    def ORDER_LOG(self) -> str:  # noqa: N802
        return f"{self.prefix}ORDER_LOG_"

    @property
    def BROKER_LEASES(self) -> str:  # noqa: N802
        return f"{self.prefix}BROKER_LEASES"

    @property
    def BROKER_LEADER(self) -> str:  # noqa: N802
        return f"{self.prefix}BROKER_LEADER"

    @property
    def BROKER_EPOCH(self) -> str:  # noqa: N802
        return f"{self.prefix}BROKER_EPOCH"

    @property
    def BROKER_BATCH(self) -> str:  # noqa: N802
        """The epoch and number of the last batch that was done whole: makes a retry safe."""
        return f"{self.prefix}BROKER_BATCH"

    @property
    def BROKER_RECONCILED(self) -> str:  # noqa: N802
        """Up to which moment the orders were compared with Alpaca's own list."""
        return f"{self.prefix}BROKER_RECONCILED"

    @property
    def BROKER_REPLAY(self) -> str:  # noqa: N802
        """Says that this bus carries what was recorded, and from where."""
        return f"{self.prefix}BROKER_REPLAY"

    def get_ticker_channel(self, ticker: str) -> str:
        """`get_ticker_channel("aapl") == "TICKER_UPDATES_AAPL"`.

        Raises:
            InvalidTicker: `ticker` cannot name a channel.
        """
        return self.TICKER_UPDATES + _channel_symbol(ticker)

    def get_quotes_channel(self, ticker: str) -> str:
        return self.TICKER_QUOTES + _channel_symbol(ticker)

    def get_bars_channel(self, ticker: str) -> str:
        return self.TICKER_BARS + _channel_symbol(ticker)

    def ticker_log(self, ticker: str) -> str:
        """The key of the ticker's journal."""
        return self.TICKER_LOG + _channel_symbol(ticker)

    def order_log(self, ticker: str) -> str:
        """The key of the ticker's order journal."""
        return self.ORDER_LOG + _channel_symbol(ticker)

    def get_client_registration_channel(self, client_id: str) -> str:
        """Where a client registers in secured mode; Redis ACLs bind it to the user."""
        return f"{self.BROKER_REGISTRATION}.{client_id}"

    def get_control_channel(self, client_id: str) -> str:
        """Where a running consumer hears a person's commands (scale-t pause, …)."""
        return f"{self.prefix}CONSUMER_CONTROL.{client_id}"

    def get_control_replies_channel(self, client_id: str) -> str:
        """Where it answers them."""
        return f"{self.prefix}CONSUMER_CONTROL_REPLIES.{client_id}"

    def get_consumer_lease(self, client_id: str, ticker: str) -> str:
        """The key that says which process trades the ticker as this client (scale-t)."""
        return f"{self.prefix}CONSUMER_LEASE.{client_id}.{ticker}"


def _channel_symbol(ticker: str) -> str:
    """Registered tickers are normalised; an order's other symbols stay as Alpaca sends them."""
    plain = isinstance(ticker, str) and ticker.isascii()
    symbol = ticker.strip().upper() if plain else ""
    if symbol == UNROUTED or _ORDER_SYMBOL.fullmatch(symbol):
        return symbol
    return normalize_ticker(ticker)


CHANNELS: Final = BusNames()
get_ticker_channel = CHANNELS.get_ticker_channel

# ---------------------------------------------------------------------------------------------
# Schemas

ACTIONS: Final = ("subscribe", "unsubscribe")
DATA_KINDS: Final = ("trades", "quotes", "bars")
REJECTION_REASONS: Final = (
    "invalid_json",
    "invalid_request",
    "invalid_ticker",
    "unknown_ticker",
    "unsupported_asset_class",
    "symbol_limit",
    "insufficient_subscription",
    "not_registered",
    "rate_limited",
    "upstream_unavailable",
)
BROKER_STATES: Final = (
    "STARTING",
    "STANDBY",
    "RUNNING",
    "DEGRADED",
    "STOPPING",
    "STOPPED",
    "REFUSED",
    "FAULTED",
)
STREAM_STATES: Final = ("CONNECTING", "LIVE", "QUIET", "LAGGING", "MUTE", "DOWN", "REFUSED")
GAP_CAUSES: Final = (
    "upstream_disconnected",
    "upstream_slow",
    "redis_unavailable",
    "broker_restart",
    "overload",
    "journal_expired",
    "consumer_slow",
)

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TIMESTAMP: JsonSchema = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$",
}
_SYMBOL: JsonSchema = {"type": "string", "minLength": 1, "maxLength": 32}
_NUMBERED: JsonSchema = {
    "symbol": _SYMBOL,
    "timestamp": _TIMESTAMP,
    "epoch": {"type": "integer", "minimum": 1},
    "seq": {"type": "integer", "minimum": 1},
}
_NUMBERED_REQUIRED = ["type", "symbol", "timestamp", "epoch", "seq"]


def _message(kind: str, properties: JsonSchema, required: list[str]) -> JsonSchema:
    return {
        "$schema": _DIALECT,
        "title": kind,
        "type": "object",
        "properties": {"type": {"const": kind}, **properties},
        "required": required,
    }


def _numbered(kind: str, properties: JsonSchema, required: list[str]) -> JsonSchema:
    return _message(kind, {**_NUMBERED, **properties}, _NUMBERED_REQUIRED + required)


REGISTRATION_REQUEST_SCHEMA: Final[JsonSchema] = {
    "$schema": _DIALECT,
    "title": "registration request",
    "type": "object",
    "properties": {
        "action": {"enum": list(ACTIONS)},
        "ticker": {"type": "string", "maxLength": 64},
        # Python's `$` also matches before a last line feed, which JSON Schema's does not.
        "client_id": {"type": "string", "pattern": rf"^{CLIENT_ID_PATTERN}$(?!\n)"},
        "lease_s": {"type": "integer", "minimum": 1, "maximum": MAX_LEASE_S},
        "request_id": {"type": ["string", "integer"], "maxLength": 128},
        "data": {
            "type": "array",
            "items": {"enum": list(DATA_KINDS)},
            "minItems": 1,
            "uniqueItems": True,
        },
    },
    "required": ["action", "ticker"],
    "dependentRequired": {"lease_s": ["client_id"]},
}

ENVELOPE_SCHEMA: Final[JsonSchema] = {
    "$schema": _DIALECT,
    "title": "envelope",
    "type": "object",
    "properties": {
        "data": {"type": "object"},
        "sender": {"type": ["string", "null"]},
        "timestamp": {"type": "string"},
    },
    "required": ["data"],
}

REGISTRATION_REPLY_SCHEMA: Final = _message(
    "registration",
    {
        "action": {"type": ["string", "null"]},
        "ticker": {"type": ["string", "null"]},
        "client_id": {"type": ["string", "null"]},
        "request_id": {"type": ["string", "integer", "null"]},
        "status": {"enum": ["accepted", "rejected"]},
        "reason": {"enum": [None, *REJECTION_REASONS]},
        "detail": {"type": ["string", "null"]},
        "holders": {"type": "integer", "minimum": 0},
        "timestamp": _TIMESTAMP,
    },
    [
        "type",
        "action",
        "ticker",
        "client_id",
        "request_id",
        "status",
        "reason",
        "detail",
        "holders",
        "timestamp",
    ],
)

PRICE_SCHEMA: Final = _numbered(
    "price",
    {
        "price": {"type": "number", "exclusiveMinimum": 0},
        "volume": {"type": "number", "minimum": 0},
        "trade_id": {"type": ["integer", "string"]},
        "exchange": {"type": "string"},
        "conditions": {"type": "array", "items": {"type": "string"}},
        "tape": {"type": "string"},
        "feed": {"type": "string"},
        "last_eligible": {"type": "boolean"},
        "backfilled": {"type": "boolean"},
    },
    ["price", "volume", "feed", "last_eligible", "backfilled"],
)

ORDER_SCHEMA: Final = _numbered(
    "order",
    {
        "event": {"type": "string"},
        "order_data": {"type": "object"},
        "update": {"type": "object"},
        "account_id": {"type": "string"},
        "paper": {"type": "boolean"},
        "source": {"enum": ["stream", "reconcile"]},
    },
    ["event", "order_data", "update", "account_id", "paper", "source"],
)

# A gap that the reading library made itself has no `seq`: it was never published.
GAP_SCHEMA: Final = _message(
    "gap",
    {
        **_NUMBERED,
        "from": _TIMESTAMP,
        "to": _TIMESTAMP,
        "cause": {"enum": list(GAP_CAUSES)},
        "backfilled": {"type": "boolean"},
        "lost": {"type": ["integer", "null"], "minimum": 0},
    },
    ["type", "symbol", "timestamp", "epoch", "from", "to", "cause", "backfilled", "lost"],
)

STATUS_SCHEMA: Final = _numbered(
    "status",
    {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "reason_code": {"type": "string"},
        "reason_message": {"type": "string"},
        "tape": {"type": "string"},
    },
    ["code", "message", "reason_code", "reason_message"],
)

CORRECTION_SCHEMA: Final = _numbered(
    "correction",
    {"original": {"type": "object"}, "corrected": {"type": ["object", "null"]}},
    ["original", "corrected"],
)

QUOTE_SCHEMA: Final = _numbered(
    "quote",
    {
        "bid_price": {"type": "number", "minimum": 0},
        "bid_size": {"type": "number", "minimum": 0},
        "ask_price": {"type": "number", "minimum": 0},
        "ask_size": {"type": "number", "minimum": 0},
        "bid_exchange": {"type": "string"},
        "ask_exchange": {"type": "string"},
        "conditions": {"type": "array", "items": {"type": "string"}},
        "tape": {"type": "string"},
        "feed": {"type": "string"},
    },
    ["bid_price", "bid_size", "ask_price", "ask_size", "feed"],
)

BAR_SCHEMA: Final = _numbered(
    "bar",
    {
        "open": {"type": "number"},
        "high": {"type": "number"},
        "low": {"type": "number"},
        "close": {"type": "number"},
        "volume": {"type": "number", "minimum": 0},
        "trade_count": {"type": "integer", "minimum": 0},
        "vwap": {"type": "number"},
        "interval": {"enum": ["minute", "updated", "day"]},
        "feed": {"type": "string"},
    },
    ["open", "high", "low", "close", "volume", "interval", "feed"],
)

# The combined schema of document 002: everything that a ticker's one channel carries.
TICKER_UPDATE_SCHEMA: Final[JsonSchema] = {
    "$schema": _DIALECT,
    "title": "ticker update",
    "oneOf": [PRICE_SCHEMA, ORDER_SCHEMA, GAP_SCHEMA, STATUS_SCHEMA, CORRECTION_SCHEMA],
}

_STREAM: JsonSchema = {
    "type": "object",
    "properties": {
        "state": {"enum": list(STREAM_STATES)},
        "since": _TIMESTAMP,
        "reason": {"type": ["string", "null"]},
    },
    "required": ["state", "since", "reason"],
}

BROKER_STATUS_SCHEMA: Final = _message(
    "broker_status",
    {
        "epoch": {"type": "integer", "minimum": 0},
        "state": {"enum": list(BROKER_STATES)},
        "account_id": {"type": ["string", "null"]},
        "account_short": {"type": "string", "maxLength": 4},
        "paper": {"type": "boolean"},
        "local": {"type": "boolean"},
        "timestamp": _TIMESTAMP,
        "started_at": _TIMESTAMP,
        "version": {"type": "string"},
        "upstream": {
            "type": "object",
            "properties": {"prices": _STREAM, "orders": _STREAM},
            "required": ["prices", "orders"],
        },
        "tickers": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "seq": {"type": "integer", "minimum": 0},
                    "state": {"enum": list(STREAM_STATES)},
                },
                "required": ["seq", "state"],
            },
        },
        "market": {
            "type": "object",
            "properties": {
                "is_open": {"type": "boolean"},
                "changes_at": {"anyOf": [_TIMESTAMP, {"type": "null"}]},
            },
            "required": ["is_open"],
        },
        "limits": {
            "type": "object",
            "properties": {"symbols": {"type": "integer", "minimum": 0}},
        },
        "states": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
        "unwell": {"type": "object", "additionalProperties": {"enum": list(STREAM_STATES)}},
        "counters": {"type": "object"},
        "journal": {"type": "object"},
    },
    [
        "type",
        "epoch",
        "state",
        "account_id",
        "paper",
        "timestamp",
        "started_at",
        "version",
        "upstream",
        "counters",
        "journal",
    ],
)

SCHEMAS: Final[dict[str, JsonSchema]] = {
    "registration_request": REGISTRATION_REQUEST_SCHEMA,
    "envelope": ENVELOPE_SCHEMA,
    "registration": REGISTRATION_REPLY_SCHEMA,
    "price": PRICE_SCHEMA,
    "order": ORDER_SCHEMA,
    "gap": GAP_SCHEMA,
    "status": STATUS_SCHEMA,
    "correction": CORRECTION_SCHEMA,
    "quote": QUOTE_SCHEMA,
    "bar": BAR_SCHEMA,
    "broker_status": BROKER_STATUS_SCHEMA,
}
