"""Pure: who holds what, by client, and how much of the plan's symbols that takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

from ..holders import Holder
from . import words
from .diagnosis import is_crypto

NEAR_S = 30.0  # a lease that ends so soon was not renewed


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One client's hold on one ticker. Times are Unix seconds; None: for ever, or not known."""

    ticker: str
    data: str
    until_s: float | None
    renewed_s: float | None


@dataclass(frozen=True, kw_only=True)
class Client:
    """A client and its leases. The anonymous have no `client_id`."""

    client_id: str
    leases: tuple[Lease, ...]

    @property
    def name(self) -> str:
        return self.client_id or "anonymous"

    @property
    def first_ends_s(self) -> float | None:
        """When the first of its leases ends."""
        return min((x.until_s for x in self.leases if x.until_s is not None), default=None)

    @property
    def renewed_s(self) -> float | None:
        """When it last renewed one."""
        return max((x.renewed_s for x in self.leases if x.renewed_s is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The symbols of the plan; crypto counts apart. `limit` 0 means that there is none. `source`
    says where it is known from, if not from the broker."""

    used: int
    limit: int
    source: str
    crypto: int = 0

    @property
    def share(self) -> float:
        return min(1.0, self.used / self.limit) if self.limit else 0.0

    @property
    def words(self) -> str:
        return f"{self.used:,} of {self.limit:,}" if self.limit else f"{self.used:,}"


def by_client(holders: Iterable[Holder]) -> list[Client]:
    """The named first, then the anonymous."""

    def key(holder: Holder) -> tuple[bool, str]:
        return (not holder.client_id, holder.client_id)

    ordered = sorted(holders, key=lambda holder: (key(holder), holder.ticker))
    return [
        Client(client_id=words.word(client[1]), leases=tuple(map(_lease, held)))
        for client, held in groupby(ordered, key=key)
    ]


def _lease(holder: Holder) -> Lease:
    until_s = None if holder.until_ms is None else holder.until_ms / 1000
    known = until_s is not None and holder.lease_s is not None
    return Lease(
        ticker=words.word(holder.ticker, 32),
        data=words.word(", ".join(holder.data)),
        until_s=until_s,
        renewed_s=until_s - holder.lease_s if known and until_s and holder.lease_s else None,
    )


def count_holders(holders: Iterable[Holder]) -> dict[str, int]:
    """How many clients hold each ticker."""
    counts: dict[str, int] = {}
    for holder in holders:
        ticker = words.word(holder.ticker, 32)
        counts[ticker] = counts.get(ticker, 0) + 1
    return counts


def budget(counts: Mapping[str, int], limit: int, by_broker: bool) -> Budget:
    """What is held of stocks: the plan's limit is for them."""
    source = "" if by_broker else "by ALPACA_SYMBOL_LIMIT here"
    crypto = sum(map(is_crypto, counts))
    return Budget(used=len(counts) - crypto, limit=limit, source=source, crypto=crypto)
