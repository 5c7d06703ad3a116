"""Pure: what Redis says of itself: its memory, and who reads too slowly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import words

SLOW_BYTES: Final = 256 * 1024  # that wait for one reader
FULL: Final = 0.8  # of its memory bound
BROKER_NAME: Final = "tickerbus-broker"
STANDBY_NAME: Final = "tickerbus-standby"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A connection that listens. `waiting` counts the bytes that it has not taken yet."""

    name: str
    address: str
    channels: int
    waiting: int
    age_s: int

    @property
    def is_slow(self) -> bool:
        return self.waiting >= SLOW_BYTES


@dataclass(frozen=True, kw_only=True)
class RedisFacts:
    """`trouble`: Redis does not answer, and what it said. `refused`: what this user may not ask."""

    address: str
    trouble: str | None = None
    trouble_since_s: float | None = None
    refused: tuple[str, ...] = ()
    version: str = ""
    used: int | None = None
    peak: int | None = None
    bound: int | None = None  # 0: none
    policy: str = ""
    clients: int | None = None
    evicted: int = 0
    uptime_s: int | None = None
    persistence: str = ""
    role: str = ""
    replicas: int = 0
    readers: tuple[Reader, ...] = ()
    leader: str = ""
    standbys: int = 0
    broker_connections: int = 0

    @property
    def slow(self) -> list[Reader]:
        return [reader for reader in self.readers if reader.is_slow]

    @property
    def full(self) -> float | None:
        """How much of its memory bound is used, 0 to 1; None without a bound."""
        return self.used / self.bound if self.used is not None and self.bound else None


def read_info(info: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `RedisFacts` that INFO tells."""
    appends, saves = info.get("aof_enabled"), str(info.get("rdb_last_bgsave_status", ""))
    persistence = "append-only file" if appends else "snapshots, if any"
    if saves == "err" or info.get("aof_last_write_status") == "err":
        persistence += ", the last write failed"
    server = info.get("server_name") or "redis"
    version = info.get("valkey_version") or info.get("redis_version") or "?"
    return {
        "version": words.word(f"{str(server).capitalize()} {version}", 40),
        "used": _int(info.get("used_memory")),
        "peak": _int(info.get("used_memory_peak")),
        "bound": _int(info.get("maxmemory")) or 0,
        "policy": words.word(info.get("maxmemory_policy"), 32),
        "clients": _int(info.get("connected_clients")),
        "evicted": _int(info.get("evicted_keys")) or 0,
        "uptime_s": _int(info.get("uptime_in_seconds")),
        "persistence": persistence,
        "role": words.word(info.get("role"), 16),
        "replicas": _int(info.get("connected_slaves")) or 0,
    }


def read_clients(clients: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The fields of `RedisFacts` that CLIENT LIST tells: listeners, most waiting bytes first."""
    readers, standbys, brokers = [], set(), 0
    for client in clients:
        name, address = words.word(client.get("name"), 64), words.word(client.get("addr"), 64)
        if name == STANDBY_NAME:
            standbys.add(address)
        brokers += name == BROKER_NAME
        channels = (_int(client.get("sub")) or 0) + (_int(client.get("psub")) or 0)
        if channels:
            reader = Reader(
                name=name or "(no name)",
                address=address,
                channels=channels,
                waiting=_int(client.get("omem")) or 0,
                age_s=_int(client.get("age")) or 0,
            )
            readers.append(reader)
    readers.sort(key=lambda reader: (-reader.waiting, reader.name, reader.address))
    return {
        "readers": tuple(readers),
        "standbys": len(standbys),
        "broker_connections": brokers,
    }


def _int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
