"""Which errors are the user's to mend, and the exit code of each: one table."""

from __future__ import annotations

from ..account import AccountRefused
from ..embedded_valkey import ValkeyFailed
from ..ports import PortTaken
from ..recorder.errors import RecorderError
from ..settings import SettingsError
from ..stack import PartFailed
from ..trade_events.errors import InvalidTradeEvent, TradeEventError
from ..utils.redis.errors import BusError, InvalidTicker, RedisUnavailable, RedisUnsuitable
from .common import BAD_USE, REFUSED, Mistake, program

EXIT_CODES: dict[type[Exception], int] = {
    SettingsError: BAD_USE,
    PortTaken: BAD_USE,
    RecorderError: BAD_USE,
    InvalidTicker: BAD_USE,
    RedisUnavailable: BAD_USE,
    RedisUnsuitable: BAD_USE,
    AccountRefused: REFUSED,
    ValkeyFailed: 1,
    InvalidTradeEvent: BAD_USE,
    TradeEventError: 1,
    BusError: 1,  # the rest of the bus's errors
}


def exit_code_of(error: Exception) -> int | None:
    """The exit code, or None: a fault of ours, which deserves its traceback."""
    if isinstance(error, Mistake | PartFailed):
        return error.exit_code
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), None)


def words_of(error: Exception) -> str:
    """What to tell: the error, and what to do next where it does not say so itself."""
    if isinstance(error, RedisUnavailable):
        hint = f"Say where Redis is with REDIS_URL or REDIS_HOST, or start one: {program()} up"
        return f"{error}\n{hint}"
    return str(error)
