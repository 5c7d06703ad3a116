"""Pure: Alpaca's numbers, which are strings, as `Decimal` and back."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation


def decimal_or_none(value: object) -> Decimal | None:
    """Alpaca's number, a string, as `Decimal`; None where there is none, or none that is finite."""
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def plain(number: Decimal) -> str:
    """`0.10`, never `1E-1`: the value as it is, without an exponent."""
    return f"{number:f}"
