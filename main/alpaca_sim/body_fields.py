"""The JSON object of a request's body, read field by field. Malformed fields raise Refusal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from .refusals import bad_body, invalid
from .wire_numbers import bounded, parse_decimal

Fields = Mapping[str, object]
# JSON can escape halves of surrogate pairs, which are no text and cannot be answered with.
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


def decode_body(body: bytes) -> dict[str, object]:
    """The JSON object of a request, with exact decimals. Raises Refusal."""
    try:
        decoded = json.loads(
            body, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant
        )
    except (ValueError, ArithmeticError, RecursionError):
        raise bad_body() from None
    if not isinstance(decoded, dict):
        raise bad_body()
    return decoded


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def text_of(fields: Fields, name: str) -> str | None:
    """A text, or None if it is absent."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or _HALF_A_CHARACTER.search(value):
        raise bad_body()
    return value


def flag_of(fields: Fields, name: str) -> bool:
    """A truth value; absent is false."""
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise bad_body()
    return value


def choice_of(
    fields: Fields, name: str, allowed: tuple[str, ...], default: str | None
) -> str | None:
    """One of these words; absent or empty is the default."""
    value = text_of(fields, name)
    if value is None or value == "":
        return default
    if value not in allowed:
        raise invalid(f"invalid {name}")
    return value


def required_choice_of(fields: Fields, name: str, allowed: tuple[str, ...], fault: str) -> str:
    """One of these words, or a refusal with these words."""
    value = text_of(fields, name)
    if value not in allowed:
        raise invalid(fault)
    return value


def decimal_of(fields: Fields, name: str, shown: str = "") -> Decimal | None:
    """A number, or None if it is absent. Bounded, so that the books stay exact."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    shown = shown or name
    try:
        if isinstance(value, Decimal):
            return bounded(value)
        if isinstance(value, str):
            return parse_decimal(value)
    except ValueError as error:
        raise invalid(_number_fault(shown, str(error))) from None
    raise invalid(f"invalid {shown}")


def _number_fault(name: str, reason: str) -> str:
    return f"invalid {name}" if reason == "is not a number" else f"{name} {reason}"


def object_of(fields: Fields, name: str) -> Fields | None:
    """An object in the object, or None if it is absent."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad_body()
    return value
