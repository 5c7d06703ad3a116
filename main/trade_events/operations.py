"""The operational configuration: one Redis hash that the server-side functions read at every call.

The names and their defaults stand in functions.lua; here is what may be written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import redis

from .errors import InvalidTradeEvent
from .library import CONFIG, GROUP, call
from .names import TradeNames

GROUP_PATTERN: Final = r"[A-Za-z0-9_.@-]{1,64}"
_GROUP: Final = re.compile(GROUP_PATTERN)
# The least and the most of each number, and what it means.
BOUNDS: Final[dict[str, tuple[int, int, str]]] = {
    "log_max_events": (1_000, 100_000_000, "events that the log keeps"),
    "anomalies_max_events": (100, 10_000_000, "anomalies that are kept"),
    "failed_max_events": (100, 10_000_000, "failures that are kept"),
    "event_id_retention_s": (60, 31_536_000, "how long an event id is known, if so many may be"),
    "event_ids_max": (
        1_000,
        1_000_000_000,
        "event ids that are known at most; the oldest go first",
    ),
    "open_order_ttl_s": (0, 31_536_000, "an open order's state after its last event; 0: for ever"),
    "ended_order_ttl_s": (0, 31_536_000, "an ended order's state after its end; 0: for ever"),
    "closed_position_ttl_s": (0, 31_536_000, "a closed position's state; 0: for ever"),
    "claim_idle_ms": (100, 86_400_000, "after this a durable consumer's event is another's"),
    "retry_after_ms": (0, 3_600_000, "how long a durable consumer waits before it tries again"),
    "max_deliveries": (1, 1_000, "how often an event is tried before it is kept as failed"),
}
GROUPS: Final = "groups"
MEANINGS: Final = {name: meaning for name, (_, _, meaning) in BOUNDS.items()} | {
    GROUPS: "durable consumer groups, with commas between them"
}


@dataclass(frozen=True, kw_only=True)
class Operations:
    """What is in force. Times as the names say."""

    log_max_events: int
    anomalies_max_events: int
    failed_max_events: int
    event_id_retention_s: int
    event_ids_max: int
    open_order_ttl_s: int
    ended_order_ttl_s: int
    closed_position_ttl_s: int
    claim_idle_ms: int
    retry_after_ms: int
    max_deliveries: int
    groups: tuple[str, ...]


def read_operations(client: redis.Redis, names: TradeNames) -> Operations:
    """
    Raises:
        redis.RedisError: Redis does not answer.
    """
    flat = call(client, CONFIG, [names.config])
    found = {flat[place].decode(): flat[place + 1].decode() for place in range(0, len(flat), 2)}
    groups = tuple(filter(None, re.split(r"[,\s]+", found.pop(GROUPS))))
    return Operations(groups=groups, **{name: int(text) for name, text in found.items()})


def write_operations(client: redis.Redis, names: TradeNames, changes: dict[str, Any]) -> None:
    """Change some of it, at once for everybody. None: back to the default.

    Groups that are new start with the next event; those that are left out lose their place.

    Raises:
        InvalidTradeEvent: an unknown name, or a value out of range: nothing is changed.
        redis.RedisError: Redis does not answer.
    """
    checked = {name: _checked(name, value) for name, value in changes.items()}
    wanted = checked.pop(GROUPS, ())
    if GROUPS in changes:
        _set_groups(client, names, (wanted or "").split(",") if wanted else [])
    for name, value in checked.items():
        if value is None:
            client.hdel(names.config, name)
        else:
            client.hset(names.config, name, value)


def _set_groups(client: redis.Redis, names: TradeNames, wanted: list[str]) -> None:
    for group in read_operations(client, names).groups:
        if group not in wanted:
            client.hset(names.config, GROUPS, ",".join(wanted))
            try:
                client.xgroup_destroy(names.log, group)
            except redis.ResponseError as error:
                if "requires the key to exist" not in str(error):
                    raise
    for group in wanted:
        add_group(client, names, group, "$")


def add_group(client: redis.Redis, names: TradeNames, group: str, start: str) -> bool:
    """Make a consumer group that starts after `start`, if there is none of that name."""
    return bool(call(client, GROUP, [names.log, names.config], group, start))


def check_group(name: object, field: str) -> str:
    """
    Raises:
        InvalidTradeEvent: it cannot name a group or a consumer.
    """
    if isinstance(name, str) and _GROUP.fullmatch(name):
        return name
    lack = f"{str(name)[:60]!r} is no name: use up to 64 letters, digits and _ . @ -"
    raise InvalidTradeEvent(field, lack)


def _checked(name: str, value: Any) -> str | None:
    if name == GROUPS:
        words = value.split(",") if isinstance(value, str) else list(value or ())
        groups = [check_group(word.strip(), GROUPS) for word in words if word.strip()]
        return ",".join(dict.fromkeys(groups))
    if name not in BOUNDS:
        known = ", ".join([*BOUNDS, GROUPS])
        raise InvalidTradeEvent(name[:60], f"no such setting; there are {known}")
    if value is None:
        return None
    least, most, _ = BOUNDS[name]
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or not least <= int(text) <= most:
        lack = f"must be a whole number from {least:,} to {most:,}, not {text[:40]!r}"
        raise InvalidTradeEvent(name, lack)
    return str(int(text))
