"""Whether this Redis, and this user on it, can carry the bus. Each problem says what to do.

Rights are asked for with `ACL DRYRUN`. Who may not ask (it is an administrator's command) gets the
same answer from commands that cannot do anything: Redis checks the rights before the arguments, so
a `SET` with an option that does not exist is refused either way, but by different errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

import redis

from .batch import FUNCTION
from .constants import BusNames

OLDEST_SERVER: Final = (7, 0)
_NO_OPTION: Final = "TICKERBUS-PROBE"  # an argument that no command knows
_CONTAINERS: Final = ("FUNCTION", "PUBSUB")  # commands whose second word says what they do
_PROBE: Final = "_PROBE"  # stands for a ticker; no ticker can be called so
_PROBE_MESSAGE: Final = '{"type":"probe"}'  # readers ignore types that they do not know


class Need(NamedTuple):
    """A command that has to be allowed, in a form that changes nothing, and on what."""

    command: tuple[str, ...]
    on: str


def check_broker_redis(client: redis.Redis, names: BusNames, *, secured: bool = False) -> list[str]:
    """What keeps the broker from working here; empty if nothing does. `secured`: clients register
    on channels of their own.

    Raises:
        redis.ConnectionError, redis.TimeoutError: Redis does not answer.
    """
    return [
        *_server_problems(client, writes=True),
        *broker_right_problems(client, names, secured=secured),
    ]


def check_reader_redis(client: redis.Redis, names: BusNames) -> list[str]:
    """What keeps a subscriber that follows tickers from working here; empty if nothing does.

    Raises:
        redis.ConnectionError, redis.TimeoutError: Redis does not answer.
    """
    return [
        *_server_problems(client, writes=False),
        *reader_right_problems(client, names),
    ]


def broker_right_problems(
    client: redis.Redis, names: BusNames, *, secured: bool = False
) -> list[str]:
    """What this user may not do and the broker has to; empty if it may do everything.

    Raises:
        redis.ConnectionError, redis.TimeoutError: Redis does not answer.
    """
    return _right_problems(client, "the broker", _broker_needs(names, secured))


def reader_right_problems(client: redis.Redis, names: BusNames) -> list[str]:
    """The same for a subscriber that follows tickers."""
    return _right_problems(client, "a subscriber", _reader_needs(names))


# -- the server


def _server_problems(client: redis.Redis, *, writes: bool) -> list[str]:
    try:
        info: dict[str, Any] = client.info()
    except redis.ResponseError as error:
        grant = f"The server could not be checked ({error}): grant +info to this user."
        return [grant] if writes else []
    problems = [_cluster_problem(info)]
    if writes:
        problems += [_version_problem(info), _memory_problem(info), _replica_problem(info)]
    return [problem for problem in problems if problem]


def _version_problem(info: dict[str, Any]) -> str | None:
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers >= OLDEST_SERVER:
        return None
    return (
        f"Redis {version or 'of an unknown version'} has no server-side functions: "
        "use Redis 7.0 or newer, or Valkey."
    )


def _memory_problem(info: dict[str, Any]) -> str | None:
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return None
    when = "now" if info.get("maxmemory") else "as soon as maxmemory is set"
    return (
        f"The memory policy is {policy}, so Redis may evict journals and registrations {when}: "
        "set maxmemory-policy to noeviction."
    )


def _replica_problem(info: dict[str, Any]) -> str | None:
    if info.get("role", "master") == "master":
        return None
    primary = f"{info.get('master_host')}:{info.get('master_port')}"
    return (
        f"This server is a read-only replica: point REDIS_HOST or REDIS_URL at its primary, "
        f"{primary}."
    )


def _cluster_problem(info: dict[str, Any]) -> str | None:
    if info.get("redis_mode") != "cluster" and not info.get("cluster_enabled"):
        return None
    return (
        "This server runs in cluster mode, where one call cannot write several tickers' keys: "
        "use a single server, with replicas for failover."
    )


# -- the user's rights


def _broker_needs(names: BusNames, secured: bool) -> list[Need]:
    log, order_log = names.TICKER_LOG + _PROBE, names.ORDER_LOG + _PROBE
    strings = (names.BROKER_EPOCH, names.BROKER_BATCH, names.BROKER_LEADER, names.BROKER_RECONCILED)
    leases, every_client = names.BROKER_LEASES, names.get_client_registration_channel("*")
    return [
        *(Need(("GET", key), key) for key in strings),
        *(Need(("SET", key, "0", _NO_OPTION), key) for key in strings),
        Need(("PEXPIRE", names.BROKER_LEADER, "0", _NO_OPTION), names.BROKER_LEADER),
        Need(("EXEC",), "transactions"),
        Need(("HGETALL", leases), leases),
        Need(("HDEL", leases, _NO_OPTION), leases),
        Need(("HSET", leases, _NO_OPTION, "", _NO_OPTION), leases),
        *(
            Need(("XADD", key, _NO_OPTION, "m", ""), f"{key[: -len(_PROBE)]}*")
            for key in (log, order_log)
        ),
        Need(("XINFO", "STREAM", log), f"{names.TICKER_LOG}*"),
        Need(("RENAME", log, f"{log}.set_aside"), f"{names.TICKER_LOG}*"),
        Need(("RENAME", order_log, f"{order_log}.set_aside"), f"{names.ORDER_LOG}*"),
        Need(("EXPIRE", order_log, "60", _NO_OPTION), f"{names.ORDER_LOG}*"),
        Need(("EXPIRE", log, "60", _NO_OPTION), f"{names.TICKER_LOG}*"),
        Need(("XTRIM", order_log, _NO_OPTION, "0"), f"{names.ORDER_LOG}*"),
        *(Need((verb, log), f"{names.TICKER_LOG}*") for verb in ("TTL", "PERSIST")),
        *_journal_reads(names),
        Need(("FUNCTION", "LOAD", _NO_OPTION), "the server-side functions"),
        Need(("FCALL", FUNCTION, "2", names.BROKER_EPOCH, names.BROKER_BATCH), FUNCTION),
        *_publishes(names.TICKER_UPDATES, names.TICKER_QUOTES, names.TICKER_BARS, each_ticker=True),
        *_publishes(names.BROKER_STATUS, names.BROKER_REGISTRATION_REPLIES),
        Need(("SUBSCRIBE", names.BROKER_REGISTRATION), names.BROKER_REGISTRATION),
        *([Need(("PSUBSCRIBE", every_client), every_client)] if secured else []),
        Need(("PUBSUB", "NUMSUB"), "the server's channels"),
        Need(("SCAN", "0", "COUNT", "0"), "the keys"),
    ]


def _reader_needs(names: BusNames) -> list[Need]:
    return [
        Need(("SUBSCRIBE", names.TICKER_UPDATES + _PROBE), f"{names.TICKER_UPDATES}*"),
        Need(("SUBSCRIBE", names.BROKER_STATUS), names.BROKER_STATUS),
        *_journal_reads(names),
        Need(("GET", names.BROKER_EPOCH), names.BROKER_EPOCH),
    ]


def _journal_reads(names: BusNames) -> list[Need]:
    return [
        Need((verb, key + _PROBE, _NO_OPTION, _NO_OPTION), f"{key}*")
        for verb in ("XRANGE", "XREVRANGE")
        for key in (names.TICKER_LOG, names.ORDER_LOG)
    ]


def _publishes(*channels: str, each_ticker: bool = False) -> list[Need]:
    return [
        Need(
            ("PUBLISH", channel + (_PROBE if each_ticker else ""), _PROBE_MESSAGE),
            channel + ("*" if each_ticker else ""),
        )
        for channel in channels
    ]


def _right_problems(client: redis.Redis, who: str, needs: list[Need]) -> list[str]:
    refusal = _dry_run(client) or _attempt
    problems = []
    for need in needs:
        if refused := refusal(client, need):
            words = 2 if need.command[0] in _CONTAINERS else 1
            verb = " ".join(need.command[:words])
            problems.append(
                f"This user may not run {verb} on {need.on} ({refused}): {who} needs that right, "
                "grant it with ACL SETUSER."
            )
    return problems


Refusal = Callable[[redis.Redis, Need], str | None]


def _dry_run(client: redis.Redis) -> Refusal | None:
    """A way to ask without doing; None if this user may not ask."""
    try:
        user = _text(_run(client, "ACL", "WHOAMI"))
        _run(client, "ACL", "DRYRUN", user, "PING")
    except redis.ResponseError:
        return None

    def ask(client: redis.Redis, need: Need) -> str | None:
        try:
            answer = _text(_run(client, "ACL", "DRYRUN", user, *need.command))
        except redis.ResponseError as error:
            return str(error)  # a command that this server does not have
        return None if answer == "OK" else answer

    return ask


def _attempt(client: redis.Redis, need: Need) -> str | None:
    if need.command[0] in ("SUBSCRIBE", "PSUBSCRIBE"):
        return _attempt_subscribe(client, *need.command)
    if need.command[0] == "EXEC":
        return _attempt_transaction(client)
    try:
        _run(client, *need.command)
    except redis.exceptions.NoPermissionError as error:
        return str(error)
    except redis.ResponseError:
        pass  # allowed, and then refused for what the arguments say
    return None


def _attempt_transaction(client: redis.Redis) -> str | None:
    try:
        cast(Any, client.pipeline(transaction=True)).ping().execute()
    except redis.ResponseError as error:
        return str(error)  # MULTI is refused, or EXEC
    return None


def _attempt_subscribe(client: redis.Redis, verb: str, channel: str) -> str | None:
    with cast(Any, client).pubsub() as pubsub:
        # By redis-py's own methods: it reads no reply of a command that it does not know to be one.
        (pubsub.psubscribe if verb == "PSUBSCRIBE" else pubsub.subscribe)(channel)
        try:
            pubsub.get_message(timeout=1.0)
        except redis.exceptions.NoPermissionError as error:
            return str(error)
    return None


def _run(client: redis.Redis, *command: str) -> Any:
    return cast(Any, client).execute_command(*command)  # it has no types


def _text(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)
