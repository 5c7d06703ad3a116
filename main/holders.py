"""Who holds which ticker until when: the broker's durable registrations, read only."""

from __future__ import annotations

import time
from typing import Any, cast

import msgspec
import redis

from .utils.redis.config import RedisConfig
from .utils.redis.constants import BusNames
from .utils.redis.errors import RedisUnavailable


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """One registration. `client_id` is empty for the anonymous; `until_ms` None means for ever."""

    ticker: str
    client_id: str
    until_ms: int | None
    data: list[str]
    lease_s: int | None = None

    def left_s(self, now_s: float) -> float | None:
        """Seconds until the lease ends, from Unix time `now_s`; None means for ever."""
        return None if self.until_ms is None else self.until_ms / 1000 - now_s


def read_holders(config: RedisConfig, now_s: float | None = None) -> list[Holder]:
    """The registrations whose lease has not ended, by ticker and client.

    Raises:
        RedisUnavailable: Redis does not answer, or refuses us.
    """
    now_s = time.time() if now_s is None else now_s
    client = config.client()
    try:
        fields = cast(dict[bytes, bytes], client.hgetall(BusNames(config.bus_prefix).BROKER_LEASES))
    except (redis.RedisError, OSError) as error:
        raise RedisUnavailable(config.address, error) from error
    finally:
        client.close()
    return current_holders(fields, now_s)


def current_holders(fields: dict[bytes, bytes], now_s: float) -> list[Holder]:
    """Of the broker's hash: those whose lease has not ended, by ticker and client."""
    holders = [holder for value in fields.values() if (holder := _decode(value))]
    current = [h for h in holders if (left := h.left_s(now_s)) is None or left > 0]
    return sorted(current, key=lambda holder: (holder.ticker, holder.client_id))


def _decode(value: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(value, type=Holder)
    except (msgspec.DecodeError, ValueError):
        return None  # the broker tells of it; here it holds nothing


def describe_left(left_s: float | None) -> str:
    """`59 min`, `1 h 30 min`, `45 s`, `for ever`."""
    if left_s is None:
        return "for ever"
    seconds = max(0, round(left_s))
    if seconds < 90:
        return f"{seconds} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return " ".join(
        part for part in (f"{hours} h" * bool(hours), f"{minutes} min" * bool(minutes)) if part
    )


def parse_duration(text: str) -> int:
    """`90`, `90s`, `45m`, `2h`, `1d`: seconds.

    Raises:
        ValueError: it is not one.
    """
    units: dict[str, Any] = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
    word = text.strip().lower()
    number, unit = (word[:-1], word[-1]) if word and word[-1] in units else (word, "s")
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(f"{text!r} is not a time: write e.g. 90s, 45m, 2h or 1d")
    return int(int(number) * units[unit])
