"""Pure: event ids. Two witnesses of the same fact arrive at the same id: it becomes one event."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from .checks import check_id
from .errors import InvalidTradeEvent
from .kinds import FILL_TYPES, SHAPES, TradeEventType


def event_id_of(
    account: str | None,
    subject_id: str,
    event_type: TradeEventType | str,
    discriminator: str | int | float | Decimal | None = None,
    *,
    symbol: str | None = None,
) -> str:
    """32 hexadecimal digits made of these and of nothing else.

    `subject_id` is the order's or the position's id; `discriminator` tells apart events of one type
    of one subject: an execution id, or a cumulative quantity (100 and "100.00" are the same).
    Without an `account` the `symbol` stands in its place.

    Raises:
        InvalidTradeEvent: neither account nor symbol; or no id.
    """
    scope = ["account", account] if account else ["symbol", symbol]
    if not scope[1]:
        raise InvalidTradeEvent("account", "give an account, or else the symbol")
    parts = [*scope, check_id(subject_id, "subject_id"), str(event_type), _plain(discriminator)]
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()


def default_event_id(
    event_type: TradeEventType, symbol: str, account: str | None, data: Mapping[str, Any]
) -> str:
    """What an event that was given no id is called: deterministic for orders, random otherwise."""
    if SHAPES[event_type].subject != "order":
        return random_event_id()
    discriminator = None
    if event_type in FILL_TYPES:
        # The cumulative quantity first: whoever asks by REST knows it, but no execution's id.
        discriminator = data.get("filled_volume") or data.get("execution_id")
        if discriminator is None:
            return random_event_id()
    elif event_type is TradeEventType.ORDER_MODIFIED:
        discriminator = data.get("modification_id") or data.get("replaced_by")
        if discriminator is None:
            return random_event_id()
    return event_id_of(account, data["order_id"], event_type, discriminator, symbol=symbol)


def random_event_id() -> str:
    return uuid.uuid4().hex


def _plain(discriminator: str | float | Decimal | None) -> str | None:
    """A number in its only form; text as it is, unless it is a number."""
    if discriminator is None:
        return None
    text = str(discriminator)
    if len(text) <= 40 and text.replace(".", "", 1).replace("-", "", 1).isdecimal():
        return f"{Decimal(text).normalize():f}"
    if isinstance(discriminator, str):
        return text
    return f"{Decimal(text).normalize():f}"
