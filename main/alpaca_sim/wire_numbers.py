"""Numbers and times as Alpaca writes them: decimal strings, and RFC 3339 with nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache

# Money is exact: quantities and prices have at most nine decimals and are bounded where they
# enter, so that no product or sum of them needs more digits than this. Divisions alone round.
EXACT = Context(prec=60, traps=[InvalidOperation, Inexact])
ROUNDING = Context(prec=60, traps=[InvalidOperation])
NINE_PLACES = Decimal("0.000000001")
ZERO = Decimal(0)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OFFSET = len("+00:00")
_SECOND = 1_000_000_000
_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](\d{2}:\d{2}(?::\d{2})?)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})?)?"
)


def number(value: Decimal) -> str:
    """A decimal without exponent and without trailing zeros: 150, 0.02, -3.5."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def optional_number(value: Decimal | None) -> str | None:
    """The same, or null."""
    return None if value is None else number(value)


@lru_cache(maxsize=1_024)  # one moment stands in several fields of several events
def timestamp(time_ns: int) -> str:
    """RFC 3339 in UTC with up to nine decimals; trailing zeros are cut, as Go does."""
    seconds, fraction = divmod(time_ns, _SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-_OFFSET]
    return f"{text}.{fraction:09d}".rstrip("0") + "Z" if fraction else f"{text}Z"


def optional_timestamp(time_ns: int | None) -> str | None:
    """The same, or null."""
    return None if time_ns is None else timestamp(time_ns)


def parse_timestamp(text: str) -> int:
    """Nanoseconds since 1970 of a date or an RFC 3339 time; without an offset it is UTC.

    A space stands for a plus sign that a client forgot to escape in a query.
    Raises ValueError.
    """
    match = _RFC3339.fullmatch(text.strip().replace(" ", "+") if "T" in text else text.strip())
    if match is None:
        raise ValueError(f"not a time: {text!r}")
    day, clock, fraction, offset = match.groups()
    clock = clock or "00:00:00"
    clock = clock if len(clock) > len("00:00") else f"{clock}:00"
    offset = "+00:00" if offset in {None, "Z", "z"} else offset
    moment = datetime.fromisoformat(f"{day}T{clock}{offset}")
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * _SECOND + int((fraction or "").ljust(9, "0"))


_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_MAX_DIGITS = 40
_MAX_MAGNITUDE = 12
_MAX_PLACES = 9


def parse_decimal(text: str) -> Decimal:
    """A client's number: at most 10**12, with at most nine decimal places.

    Raises ValueError, with the reason as its text.
    """
    if len(text) > _MAX_DIGITS or _DECIMAL.fullmatch(text) is None:
        raise ValueError("is not a number")
    return bounded(Decimal(text))


def bounded(value: Decimal) -> Decimal:
    """The number itself, if it is one whose products and sums stay exact. Raises ValueError."""
    if not value.is_finite() or len(value.as_tuple().digits) > _MAX_DIGITS:
        raise ValueError("is not a number")
    if not value:
        return ZERO
    if value.adjusted() > _MAX_MAGNITUDE:
        raise ValueError("is too large")
    if value.adjusted() < -_MAX_PLACES or value % NINE_PLACES:
        raise ValueError(f"must have at most {_MAX_PLACES} decimal places")
    return value.normalize(EXACT)
