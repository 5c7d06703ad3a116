"""Query parameters, read and checked. Raises Refusal for one that is malformed."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from .refusals import invalid
from .wire_numbers import parse_decimal, parse_timestamp

_MAX_DIGITS = 9


def flag_of(query: Mapping[str, str], name: str) -> bool:
    """A truth value: true or false in any case; absent is false."""
    value = query.get(name, "").lower()
    if value not in {"", "true", "false", "1", "0"}:
        raise invalid(f"invalid {name}")
    return value in {"true", "1"}


def whole_number_of(query: Mapping[str, str], name: str, default: int, greatest: int) -> int:
    """A whole number from 1 to `greatest`."""
    value = query.get(name)
    if value is None or value == "":
        return default
    if not (value.isascii() and value.isdigit()) or len(value) > _MAX_DIGITS:
        raise invalid(f"invalid {name}")
    number = int(value)
    if not 1 <= number <= greatest:
        raise invalid(f"{name} must be between 1 and {greatest}")
    return number


def one_of(query: Mapping[str, str], name: str, allowed: tuple[str, ...], default: str) -> str:
    """One of these words."""
    value = query.get(name) or default
    if value != default and value not in allowed:
        raise invalid(f"invalid {name}")
    return value


def time_of(query: Mapping[str, str], name: str) -> int | None:
    """A date or RFC 3339 time as nanoseconds since 1970."""
    value = query.get(name)
    if not value:
        return None
    try:
        return parse_timestamp(value)
    except (ValueError, OverflowError):
        raise invalid(f"invalid {name}") from None


def list_of(query: Mapping[str, str], name: str) -> frozenset[str] | None:
    """A comma-separated list; absent or empty means no filter."""
    parts = frozenset(part.strip() for part in query.get(name, "").split(","))
    return parts - {""} or None


def decimal_of(query: Mapping[str, str], name: str) -> Decimal | None:
    """A positive number with at most nine decimals."""
    value = query.get(name)
    if not value:
        return None
    try:
        number = parse_decimal(value)
    except ValueError:
        raise invalid(f"invalid {name}") from None
    if number <= 0:
        raise invalid(f"{name} must be > 0")
    return number
