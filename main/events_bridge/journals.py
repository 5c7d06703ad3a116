"""The order journals themselves: which symbols have one, and what stands in it after a place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import redis

from ..utils.redis.constants import UNROUTED, BusNames
from ..utils.redis.journal_pages import forwards
from ..utils.redis.messages import OrderMessage, decode_typed

_PAGE: Final = 500
_SHARE: Final = 20.0  # looking for symbols may take a twentieth of the time


class OrderJournals:
    """One thread."""

    def __init__(self, client: redis.Redis, names: BusNames, every_s: float) -> None:
        self._client, self._names, self._every_s = client, names, every_s
        self._next_look = float("-inf")

    def new_symbols(self, known: set[str], now: float) -> list[str]:
        """Symbols with orders that are not known yet, if it is time to look again.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        if now < self._next_look:
            return []
        began = time.monotonic()
        prefix = self._names.ORDER_LOG
        keys = self._client.scan_iter(match=_literal(prefix) + "*", count=1_000, _type="stream")
        found = {key.decode().removeprefix(prefix) for key in keys}
        took_s = time.monotonic() - began
        self._next_look = now + max(self._every_s, took_s * _SHARE)
        return sorted(found - known - {UNROUTED})

    def after(self, symbol: str, place: str | None) -> Iterator[OrderMessage]:
        """The order messages after a place, oldest first.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        key, start = self._names.order_log(symbol), f"({place}" if place else "-"
        for _, body in forwards(self._client, key, start, _PAGE):
            message = decode_typed(body)
            if isinstance(message, OrderMessage):
                yield message

    def is_trimmed_after(self, symbol: str, place: str | None) -> bool:
        """Whether messages after this place are gone from the journal: it was away for too long.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        try:
            told: Any = self._client.xinfo_stream(self._names.order_log(symbol))
        except redis.ResponseError:
            return False  # there is no journal
        deleted = told.get("max-deleted-entry-id", b"0-0")
        deleted = deleted.decode() if isinstance(deleted, bytes) else str(deleted)
        return _numbers(deleted) > _numbers(place or "0-0")


def _numbers(entry_id: str) -> tuple[int, int]:
    epoch, _, seq = entry_id.partition("-")
    return int(epoch), int(seq or 0)


def _literal(prefix: str) -> str:
    return "".join(f"\\{c}" if c in "*?[]\\" else c for c in prefix)
