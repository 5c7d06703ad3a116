"""What journals keep, beyond the bound that every write keeps: by age, once an hour.

An order journal is kept for days, counted from each message's own moment: its ids tell only when
the run began that wrote them. The journal of a ticker that nobody follows any more ends after as
many days.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

import redis
import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.journal_pages import forwards
from ..utils.redis.messages import decode_typed, parse_rfc3339

log: Final = structlog.get_logger("tickerbus.housekeeping")

EVERY_S: Final = 3_600.0
_DAY_S: Final = 86_400
_PAGE: Final = 200


class Housekeeping:
    """One thread at a time calls `keep`."""

    def __init__(
        self,
        client: redis.Redis,
        names: BusNames,
        order_days: int,
        following: Callable[[], Collection[str]],
    ) -> None:
        self._client, self._names, self._following = client, names, following
        self._keep_s = order_days * _DAY_S
        self._due_s = 0.0

    def keep(self) -> None:
        """Trim what is too old, if an hour has passed."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + EVERY_S
        try:
            trimmed = self._trim_order_logs(time.time_ns() - self._keep_s * 10**9)
            self._expire_left_logs()
        except redis.RedisError as error:
            log.warning("housekeeping.failed", error=str(error))
            return
        if trimmed:
            log.info("housekeeping.trimmed", order_messages=trimmed)

    def _trim_order_logs(self, older_than_ns: int) -> int:
        trimmed = 0
        for key in self._keys(self._names.ORDER_LOG):
            first_kept = self._first_since(key, older_than_ns)
            if first_kept is not None:
                trimmed += int(self._client.xtrim(key, minid=first_kept, approximate=False))
        return trimmed

    def _first_since(self, key: bytes, since_ns: int) -> bytes | None:
        """The id of the first message from that moment on; None if there is none to keep."""
        for entry_id, body in forwards(self._client, key, page=_PAGE):
            moment = getattr(decode_typed(body), "timestamp", None)
            if moment is None or parse_rfc3339(moment) >= since_ns:
                return entry_id
        return None  # all of it is old: the key's own expiry is about to end it

    def _expire_left_logs(self) -> None:
        followed = {self._names.ticker_log(ticker).encode() for ticker in self._following()}
        for key in self._keys(self._names.TICKER_LOG):
            if key in followed:
                self._client.persist(key)
            elif self._client.ttl(key) == -1:
                self._client.expire(key, self._keep_s)

    def _keys(self, start: str) -> list[bytes]:
        found = self._client.scan_iter(match=start + "*", count=1_000)
        return [key for key in found if b".set_aside." not in key]
