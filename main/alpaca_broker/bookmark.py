"""Up to which moment the orders were compared with Alpaca's list: kept in Redis, and on disk."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import redis
import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.messages import parse_rfc3339, rfc3339
from .order_record import OrderRecord

log: Final = structlog.get_logger("tickerbus.reconcile")


class Reconciled(NamedTuple):
    """All order events up to `until_ns` are published. Of what happened before `floor_ns` nobody
    knows whether it was: nothing is looked for there. Unix ns; 0: nothing is known."""

    until_ns: int = 0
    floor_ns: int = 0

    @classmethod
    def parse(cls, text: str) -> Reconciled:
        """From `<until>` or `<until> <floor>`; what says nothing is nothing known."""
        try:
            until, *floor = text.split()
            return cls(parse_rfc3339(until), parse_rfc3339(floor[0]) if floor else 0)
        except ValueError:
            return cls()

    def __str__(self) -> str:
        return f"{rfc3339(self.until_ns)} {rfc3339(self.floor_ns)}"


class Bookmark:
    """`save` is for any thread."""

    def __init__(self, client: redis.Redis, names: BusNames, record: OrderRecord) -> None:
        self._client, self._names, self._record = client, names, record

    def load(self) -> Reconciled:
        """The furthest that is known anywhere. Raises redis.RedisError."""
        saved: Any = self._client.get(self._names.BROKER_RECONCILED)
        recorded = self._record.load_reconciled() or ""
        texts = (saved.decode(errors="replace") if saved else "", recorded)
        return max(map(Reconciled.parse, texts))

    def save(self, reconciled: Reconciled) -> None:
        if not reconciled.until_ns:
            return  # nothing is known yet, and what is kept there must not be lost
        self._record.note_reconciled(str(reconciled))
        try:
            self._client.set(self._names.BROKER_RECONCILED, str(reconciled))
        except redis.RedisError as error:
            log.warning("reconcile.moment_not_saved", error=str(error))
