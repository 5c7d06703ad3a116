"""Pure: what may stand in a trade event. Every complaint names the field."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from .errors import InvalidTradeEvent
from .kinds import RESERVED, Kind, Shape, TradeEventType

MAX_EVENT_BYTES: Final = 64 * 1024
MAX_DATA_FIELDS: Final = 256
MAX_DEPTH: Final = 8
# No glob character, no colon (it separates the parts of a channel's name), no control character.
SYMBOL_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9./_#+&=-]{0,31}"
ID_PATTERN: Final = r"[!-~]{1,128}"

_SYMBOL: Final = re.compile(SYMBOL_PATTERN)
_ID: Final = re.compile(ID_PATTERN)
_UTC_TEXT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d{1,9})?(?:Z|z|[+-]00:?00)?"
)
_FRACTION: Final = re.compile(r"[.,](\d+)")
_JSON_SCALARS: Final = (str, bool, int, float, Decimal, type(None))
# Named once: `int | float` in a call makes a new type each time.
_NUMBERS: Final = (int, float, Decimal)
_FRACTIONS: Final = (float, Decimal)
_ID_KINDS: Final = (int, UUID)
_LISTS: Final = (list, tuple)


def check_symbol(symbol: object) -> str:
    """
    Raises:
        InvalidTradeEvent: it cannot name a channel.
    """
    if isinstance(symbol, str) and _SYMBOL.fullmatch(symbol):
        return symbol
    raise InvalidTradeEvent(
        "symbol",
        f"{_shown(symbol)} cannot name a channel: use up to 32 letters, digits and . / _ # + & = -,"
        " e.g. XAUUSD, BRK.B or BTC/USD",
    )


def check_type(event_type: object) -> TradeEventType:
    """
    Raises:
        InvalidTradeEvent: there is no such type.
    """
    try:
        return TradeEventType(event_type)  # type: ignore[arg-type]
    except ValueError:
        known = ", ".join(TradeEventType)
        lack = f"{_shown(event_type)} is no type of event: use one of {known}"
        raise InvalidTradeEvent("event_type", lack) from None


def check_timestamp(timestamp: object, field: str = "timestamp") -> str:
    """RFC 3339 in UTC with `Z`, no digit lost; what has no offset counts as UTC.

    Raises:
        InvalidTradeEvent: it is no moment.
    """
    text = timestamp.isoformat() if isinstance(timestamp, datetime) else timestamp
    if not isinstance(text, str):
        raise InvalidTradeEvent(field, f"must be ISO 8601 text or a datetime, not {_shown(text)}")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        lack = f"{_shown(text)} is no moment: write e.g. 2026-11-21T14:30:05Z"
        raise InvalidTradeEvent(field, lack) from None
    if plain := _UTC_TEXT.fullmatch(text):
        return f"{plain[1]}T{plain[2]}{plain[3] or ''}Z"
    if moment.tzinfo is not None:
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            raise InvalidTradeEvent(field, f"{_shown(text)} is out of range") from None
    digits = _FRACTION.search(text)
    fraction = f".{digits[1][:9]}" if digits else ""
    return f"{moment.replace(microsecond=0, tzinfo=None).isoformat()}{fraction}Z"


def check_id(value: object, field: str) -> str:
    """Ids are text; a number or a UUID becomes text.

    Raises:
        InvalidTradeEvent: it cannot be an id.
    """
    if isinstance(value, str):
        if _ID.fullmatch(value):
            return value
    elif isinstance(value, _ID_KINDS) and not isinstance(value, bool):
        return check_id(str(value), field)
    raise InvalidTradeEvent(field, f"must be {Kind.ID.value}, not {_shown(value)}")


def check_text(value: object, field: str) -> str | None:
    """None, or text of at most 256 characters.

    Raises:
        InvalidTradeEvent: it is neither.
    """
    if value is None or (isinstance(value, str) and len(value) <= 256):
        return value
    raise InvalidTradeEvent(field, f"must be text of at most 256 characters, not {_shown(value)}")


class FrozenDict(dict[str, Any]):
    """An event's `data`: what was checked stays as it was checked."""

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise TypeError("an event's data does not change: make another event")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


def check_data(data: object, shape: Shape) -> FrozenDict:
    """A copy of an event's `data`, checked for its type.

    Raises:
        InvalidTradeEvent: a field is missing, or does not hold what it must.
    """
    if not isinstance(data, Mapping):
        raise InvalidTradeEvent("data", f"must be a dict, not {_shown(data)}")
    if len(data) > MAX_DATA_FIELDS:
        raise InvalidTradeEvent("data", f"has {len(data)} fields; at most {MAX_DATA_FIELDS}")
    checked: dict[str, Any] = {}
    for name in shape.required:
        if name not in data:
            kind = shape.required[name].value
            raise InvalidTradeEvent(f"data.{name}", f"is missing: it must be {kind}")
    kinds = shape.kinds
    for name, value in data.items():
        if not isinstance(name, str):
            raise InvalidTradeEvent("data", f"has a key that is no text: {_shown(name)}")
        if shape.subject and name in RESERVED:
            lack = "is kept by the bus itself: give it another name"
            raise InvalidTradeEvent(f"data.{name}", lack)
        checked[name] = _check_field(name, value, kinds.get(name))
    return FrozenDict(checked)


def _check_field(name: str, value: object, kind: Kind | None) -> Any:
    field = f"data.{name}"
    if kind is None:
        if name.endswith("_id") and isinstance(value, _ID_KINDS) and not isinstance(value, bool):
            return str(value)
        return check_value(value, field)
    if kind is Kind.ID:
        return check_id(value, field)
    if kind is Kind.TEXT:
        if isinstance(value, str) and value.strip():
            return check_value(value, field)
    elif value is None:
        if kind in (Kind.NUMBER_OR_NONE, Kind.QUANTITY_OR_NONE):
            return None
    elif _is_finite(value) and not (
        value < 0 and kind in (Kind.QUANTITY, Kind.QUANTITY_OR_NONE)  # type: ignore[operator]
    ):
        return value
    raise InvalidTradeEvent(field, f"must be {kind.value}, not {_shown(value)}")


def check_value(value: Any, field: str, depth: int = 0) -> Any:
    """Anything that JSON can hold. UUIDs and moments become text.

    Raises:
        InvalidTradeEvent: it cannot be JSON, or is a number that is none.
    """
    if isinstance(value, str):
        if value.isascii() or _encodes(value):
            return str(value)
        raise InvalidTradeEvent(field, "holds half a surrogate pair: not Unicode text")
    if isinstance(value, _JSON_SCALARS):
        if isinstance(value, _FRACTIONS) and not math.isfinite(value):
            raise InvalidTradeEvent(field, f"must be a finite number, not {value}")
        return value
    if depth >= MAX_DEPTH:
        raise InvalidTradeEvent(field, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidTradeEvent(field, f"has a key that is no text: {_shown(key)}")
        return {k: check_value(v, f"{field}.{k[:40]}", depth + 1) for k, v in value.items()}
    if isinstance(value, _LISTS):
        return [check_value(v, f"{field}[{n}]", depth + 1) for n, v in enumerate(value)]
    if isinstance(value, datetime):
        return check_timestamp(value, field)
    if isinstance(value, UUID):
        return str(value)
    raise InvalidTradeEvent(field, f"cannot be sent as JSON: {_shown(value)}")


def _is_finite(value: object) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and math.isfinite(value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    """For a message: short, whatever it is; of what is no number, its type too."""
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "…"
    return (
        text if isinstance(value, str | int | float | None) else f"{text} ({type(value).__name__})"
    )
