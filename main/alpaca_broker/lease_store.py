"""The registrations, durable in Redis: one hash, a field for each holder of each ticker.

Field `<ticker>|<client_id>`; value `{"ticker","client_id","until_ms","data","lease_s"}` as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec
import redis
import structlog

from ..utils.redis.constants import DATA_KINDS, BusNames, normalize_ticker
from ..utils.redis.errors import InvalidTicker
from .registry import Holding

log: Final = structlog.get_logger("tickerbus.registration")


def field_name(holding: Holding) -> str:
    return f"{holding.ticker}|{holding.client_id}"


class LeaseStore:
    """Reads and writes the hash. Every method raises redis.RedisError when Redis is away."""

    def __init__(self, client: redis.Redis, names: BusNames) -> None:
        self._client, self._key = client, names.BROKER_LEASES

    def load(self) -> list[Holding]:
        """All holdings; one that nobody can hold is told and left where it is."""
        try:
            fields = cast(dict[bytes, bytes], self._client.hgetall(self._key))
        except redis.ResponseError as error:
            raise redis.ResponseError(f"{self._key} cannot be read: {error}") from error
        holdings = []
        for name, value in fields.items():
            try:
                holdings.append(msgspec.json.decode(value, type=_Stored).holding())
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                field = name.decode("utf-8", "replace")
                log.error("lease.unreadable", field=field, error=str(error))
        return holdings

    def write(self, held: Iterable[Holding], released: Iterable[Holding]) -> None:
        """Write what changed, in one step."""
        mapping = {field_name(h): msgspec.json.encode(_Stored.of(h)) for h in held}
        gone = [name for h in released if (name := field_name(h)) not in mapping]
        pipeline = self._client.pipeline(transaction=True)
        if mapping:
            pipeline.hset(self._key, mapping=cast(Any, mapping))
        if gone:
            pipeline.hdel(self._key, *gone)
        pipeline.execute()


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    ticker: str
    client_id: str
    until_ms: int | None
    data: list[str]
    lease_s: int | None = None

    @classmethod
    def of(cls, holding: Holding) -> _Stored:
        return cls(
            ticker=holding.ticker,
            client_id=holding.client_id,
            until_ms=holding.until_ms,
            data=sorted(holding.data),
            lease_s=holding.lease_s,
        )

    def holding(self) -> Holding:
        """Raises ValueError: no request could have made this one."""
        if normalize_ticker(self.ticker) != self.ticker:
            raise InvalidTicker(self.ticker, normalize_ticker(self.ticker))
        if not self.data or not set(self.data) <= set(DATA_KINDS):
            raise ValueError(f"{self.data} are not kinds of data")
        return Holding(
            ticker=self.ticker,
            client_id=self.client_id,
            until_ms=self.until_ms,
            data=frozenset(self.data),
            lease_s=self.lease_s,
        )
