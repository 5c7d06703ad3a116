"""Asking Redis: everything that the judgement needs, read and never written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, cast

import redis

from ..trade_events.names import TradeNames
from ..utils.redis.config import RedisConfig
from ..utils.redis.connections import CONNECTION_FAULTS
from ..utils.redis.constants import BusNames
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.ready import broker_right_problems, reader_right_problems

T = TypeVar("T")
Role = Literal["broker", "strategy"]

PINGS: Final = 15
EVENT_ID_RETENTION_S: Final = 604_800  # as in functions.lua, where nothing else is configured
EVENT_IDS_MAX: Final = 1_500_000  # likewise
_CONFIGS: Final = (
    *("maxmemory", "maxmemory-policy", "client-output-buffer-limit", "save", "appendonly"),
    *("appendfsync", "min-replicas-to-write", "maxclients", "protected-mode", "bind"),
    *("requirepass", "stop-writes-on-bgsave-error", "maxmemory-clients", "proc-title-template"),
)


@dataclass(frozen=True, kw_only=True)
class RedisFacts:
    """What Redis told. Empty, or None, is what this user may not ask; `refused` names it.

    `ahead_s`: its clock minus ours. `right_problems`: what the role may not do, in words.
    """

    info: Mapping[str, Any]
    config: Mapping[str, str]
    clients: Sequence[Mapping[str, str]]
    round_trips_ms: Sequence[float]
    ahead_s: float | None
    right_problems: Sequence[str]
    refused: Sequence[str]
    registration_listeners: int | None
    events: EventFacts | None = None


@dataclass(frozen=True, kw_only=True)
class EventFacts:
    """The trade events' log, where there is one: how many stand in it, over how long, how long an
    event id is known at most, and how many of them are."""

    length: int
    span_s: float
    retention_s: int
    ids_max: int = EVENT_IDS_MAX


def gather(config: RedisConfig, role: Role, *, secured: bool) -> RedisFacts:
    """Ask; each command within the config's own deadline.

    Raises:
        RedisUnavailable: nobody answers, or we are not let in.
    """
    names = BusNames(config.bus_prefix)
    client = config.client()
    refused: list[str] = []

    def ask(what: str, command: Callable[[], T], otherwise: T) -> T:
        try:
            return command()
        except redis.ResponseError:
            refused.append(what)
            return otherwise

    try:
        return RedisFacts(
            round_trips_ms=_round_trips_ms(client),
            info=ask("INFO", client.info, {}),
            config=_config(client, refused),
            clients=ask("CLIENT LIST", lambda: _clients(client), []),
            ahead_s=ask("TIME", lambda: _ahead_s(client), None),
            registration_listeners=ask("PUBSUB NUMSUB", lambda: _listeners(client, names), None),
            right_problems=_right_problems(client, names, role, secured),
            events=_events(client, TradeNames(config.bus_prefix)),
            refused=refused,
        )
    except (*CONNECTION_FAULTS, redis.RedisError) as error:
        raise RedisUnavailable(config.address, error) from error
    finally:
        client.close()


def _right_problems(
    client: redis.Redis, names: BusNames, role: Role, secured: bool
) -> Sequence[str]:
    if role == "broker":
        return broker_right_problems(client, names, secured=secured)
    return reader_right_problems(client, names)


def _events(client: redis.Redis, names: TradeNames) -> EventFacts | None:
    """None, without a word, where there are none or this user has nothing to do with them."""
    try:
        told: Any = client.xinfo_stream(names.log)
        said: Any = client.hmget(names.config, "event_id_retention_s", "event_ids_max")
    except redis.ResponseError:
        return None
    first, last = told["first-entry"], told["last-entry"]
    if not first or not last:
        return None
    span_ms = _millis(last[0]) - _millis(first[0])
    retention, most = (_text(each or "") for each in said)
    return EventFacts(
        length=int(told["length"]),
        span_s=span_ms / 1_000,
        retention_s=int(retention) if retention.isdecimal() else EVENT_ID_RETENTION_S,
        ids_max=int(most) if most.isdecimal() else EVENT_IDS_MAX,
    )


def _millis(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _round_trips_ms(client: redis.Redis) -> list[float]:
    client.ping()  # the connection is made here
    found = []
    for _ in range(PINGS):
        began = time.perf_counter()
        client.ping()
        found.append((time.perf_counter() - began) * 1_000)
    return found


def _ahead_s(client: redis.Redis) -> float:
    before = time.time()
    seconds, microseconds = client.time()
    middle = (before + time.time()) / 2
    return seconds + microseconds / 1e6 - middle


def _clients(client: redis.Redis) -> list[Mapping[str, str]]:
    return cast(list[Mapping[str, str]], cast(Any, client).client_list())


def _listeners(client: redis.Redis, names: BusNames) -> int:
    counts = cast(list[tuple[bytes, int]], client.pubsub_numsub(names.BROKER_REGISTRATION))
    return sum(count for _, count in counts)


def _config(client: redis.Redis, refused: list[str]) -> dict[str, str]:
    """One by one: a managed server may know some of them only."""
    found: dict[str, str] = {}
    try:
        for name in _CONFIGS:
            found |= cast(dict[str, str], cast(Any, client).config_get(name))
    except redis.ResponseError:
        refused.append("CONFIG GET")
    values = {_text(name): _text(value) for name, value in found.items()}
    if "requirepass" in values:  # whether, never which
        values["requirepass"] = "yes" if values["requirepass"] else ""
    return values


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
