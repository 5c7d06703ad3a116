"""Pure: from what Redis told to findings. Each says what to do, as a command where there is one."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..utils.redis.batch import JournalBounds
from ..utils.redis.ready import OLDEST_SERVER
from .findings import Notebook, Severity
from .machine import defects_of
from .redis_facts import RedisFacts

MB: Final = 1_048_576
# A message takes some 250 bytes on a subscriber's connection: these hold a burst of 30,000.
LEAST_BUFFER_MB: Final = 8
STALLED_BUFFER: Final = MB  # what a subscriber that reads never has waiting
SLOW_MS: Final = 5.0  # one batch is in flight at a time: each waits for a round trip
CLOCK_S: Final = 1.0
FULL_SHARE: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class Expectations:
    """What the settings make us expect of this Redis."""

    address: str
    is_loopback: bool
    tls: bool
    journal: JournalBounds
    symbol_limit: int

    @property
    def journal_mb(self) -> int:
        """What the journals may come to take."""
        if not self.symbol_limit:
            return self.journal.max_mb
        entries = self.symbol_limit * self.journal.per_ticker(self.symbol_limit)
        return max(1, min(self.journal.max_mb, entries * self.journal.entry_bytes // MB))


def judge_redis(notebook: Notebook, facts: RedisFacts, expected: Expectations) -> None:
    """Every finding about the server, its memory, its clients and its answers."""
    if facts.info:
        _judge_server(notebook, facts.info)
        _judge_policy(notebook, facts.info)
        _judge_room(notebook, facts.info, expected)
        _judge_persistence(notebook, facts.info, facts.config)
        _judge_replicas(notebook, facts.info, facts.config)
        _judge_connections(notebook, facts.info)
    if facts.config:
        _judge_buffers(notebook, facts.config)
        _judge_exposure(notebook, facts.config, expected)
    _judge_clients(notebook, facts.clients)
    _judge_rights(notebook, facts.right_problems)
    _judge_latency(notebook, facts.round_trips_ms)
    judge_clock(notebook, "Redis's clock", facts.ahead_s)
    if facts.refused:
        asked = ", ".join(facts.refused)
        notebook.note(
            "not_asked",
            f"this user may not ask: {asked}",
            "for the whole examination run the doctor as a user that may",
        )


def _judge_server(notebook: Notebook, info: Mapping[str, Any]) -> None:
    version = str(info.get("redis_version", ""))
    shown = f"Valkey {info['valkey_version']}" if info.get("valkey_version") else f"Redis {version}"
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_SERVER:
        notebook.error(
            "version",
            f"{shown or 'an unknown version'} has no server-side functions",
            "use Redis 7.0 or newer, or Valkey",
        )
    elif info.get("redis_mode") == "cluster" or info.get("cluster_enabled"):
        notebook.error(
            "cluster",
            f"{shown} runs in cluster mode, where one call cannot write several tickers' keys",
            "use a single server, with replicas and Sentinel for failover",
        )
    else:
        notebook.fine("version", shown)
    if info.get("role", "master") != "master":
        notebook.error(
            "replica",
            "this server is a read-only replica",
            f"point REDIS_URL at its primary, {info.get('master_host')}:{info.get('master_port')}",
        )


def _judge_policy(notebook: Notebook, info: Mapping[str, Any]) -> None:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        when = "now" if info.get("maxmemory") else "as soon as maxmemory is set"
        notebook.error(
            "memory_policy",
            f"the policy is {policy}: {when} Redis may evict journals and registrations",
            "CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
        )
    else:
        notebook.fine("memory_policy", "noeviction: nothing of the bus is evicted")
    if evicted := int(info.get("evicted_keys", 0)):
        notebook.warn(
            "evicted",
            f"{evicted:,} keys were evicted since this server started",
            "journals may have holes: see memory_policy",
        )


def _judge_room(notebook: Notebook, info: Mapping[str, Any], expected: Expectations) -> None:
    most, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not most:
        notebook.fine("memory", f"{_mb(used)} used, no limit")
        return
    if used > FULL_SHARE * most:
        notebook.warn(
            "memory_full",
            f"{_mb(used)} of {_mb(most)} are used; when it is full no price can be written",
            "raise maxmemory, or lower JOURNAL_MAX_MB",
        )
    needed = expected.journal_mb
    if needed * MB > most:
        notebook.warn(
            "memory_small",
            f"the journals may take {needed} MB, and maxmemory is {_mb(most)}",
            f"set maxmemory to {needed * 2} MB or more, or lower JOURNAL_MAX_MB",
        )
    elif used <= FULL_SHARE * most:
        notebook.fine("memory", f"{_mb(used)} of {_mb(most)} used")


def _judge_persistence(
    notebook: Notebook, info: Mapping[str, Any], config: Mapping[str, str]
) -> None:
    fails = [
        what
        for what, key in (
            ("snapshot", "rdb_last_bgsave_status"),
            ("write", "aof_last_write_status"),
        )
        if info.get(key, "ok") != "ok"
    ]
    if fails:
        notebook.error(
            "disk",
            f"Redis's last {' and '.join(fails)} to disk failed; it may refuse every write",
            "look into its log: most often the disk is full, or its folder is not writable",
        )
    if int(info.get("aof_enabled", 0)):
        if config.get("appendfsync") == "always":
            notebook.warn(
                "fsync_always",
                "appendfsync is always: every batch of prices waits for the disk",
                "CONFIG SET appendfsync everysec",
            )
        else:
            notebook.fine("persistence", "append-only file: a restart keeps what was written")
    elif config and not config.get("save"):
        notebook.warn(
            "persistence",
            "nothing is kept on disk: a restart of Redis forgets the journals, and also the "
            "registrations if no broker runs at that time",
            "CONFIG SET appendonly yes, and the same in redis.conf; for a trial it is fine so",
        )
    elif config:
        notebook.note(
            "persistence",
            f"snapshots only (save {config['save']}): a crash forgets all since the last one",
            "CONFIG SET appendonly yes keeps all but the last second",
        )


def _judge_replicas(notebook: Notebook, info: Mapping[str, Any], config: Mapping[str, str]) -> None:
    wanted = int(config.get("min-replicas-to-write") or 0)
    there = int(info.get("min_slaves_good_slaves", info.get("connected_slaves", 0)))
    if wanted > there:
        notebook.error(
            "replicas",
            f"min-replicas-to-write is {wanted}, and {there} replicas follow: every write is "
            "refused (NOREPLICAS)",
            f"bring the replicas back, or CONFIG SET min-replicas-to-write {there}",
        )


def _judge_connections(notebook: Notebook, info: Mapping[str, Any]) -> None:
    most, there = int(info.get("maxclients", 0)), int(info.get("connected_clients", 0))
    if most and there > FULL_SHARE * most:
        notebook.warn(
            "connections",
            f"{there} of {most} connections are taken; the next consumers may be refused",
            "CONFIG SET maxclients higher, and find who leaves connections open: CLIENT LIST",
        )


def _judge_buffers(notebook: Notebook, config: Mapping[str, str]) -> None:
    limits = pubsub_limits(config.get("client-output-buffer-limit", ""))
    if limits is None:
        return
    hard, soft, seconds = limits
    advice = 'CONFIG SET client-output-buffer-limit "pubsub 64mb 32mb 10"'
    if not hard and not soft:
        notebook.warn(
            "output_buffer",
            "subscribers have no output-buffer limit: one that does not read takes all the memory",
            advice,
        )
    elif 0 < hard < LEAST_BUFFER_MB * MB or 0 < soft < MB:
        notebook.warn(
            "output_buffer",
            f"subscribers are cut off at {_mb(hard)}, or above {_mb(soft)} for {seconds} s: an "
            "ordinary burst may do that",
            advice,
        )
    else:
        shown = f"{_mb(hard)}, or {_mb(soft)} for {seconds} s"
        notebook.fine("output_buffer", f"a subscriber that does not read is cut off at {shown}")


def pubsub_limits(text: str) -> tuple[int, int, int] | None:
    """`"normal 0 0 0 … pubsub 33554432 8388608 60"`: hard bytes, soft bytes, soft seconds."""
    words = text.split()
    if "pubsub" not in words:
        return None
    values = words[words.index("pubsub") + 1 :][:3]
    if len(values) < 3 or not all(value.isdecimal() for value in values):
        return None
    hard, soft, seconds = map(int, values)
    return hard, soft, seconds


def _judge_exposure(notebook: Notebook, config: Mapping[str, str], expected: Expectations) -> None:
    """Who reaches this server may publish prices in the broker's name."""
    listens = config.get("bind", "").replace("-", " ").split()
    everywhere = not listens or bool({"*", "0.0.0.0", "::*", "::"} & set(listens))
    is_open = config.get("requirepass") == "" and config.get("protected-mode") == "no"
    if everywhere and is_open:
        notebook.warn(
            "exposed",
            "it listens on every address without a password: anybody may publish prices",
            "set requirepass, or users with `tickerbus acl`, or bind it to 127.0.0.1",
        )
    if not expected.is_loopback and not expected.tls:
        notebook.note(
            "no_tls",
            f"{expected.address} is another host, and the connection is not encrypted",
            "REDIS_TLS=true, unless the network between is yours",
        )


def _judge_clients(notebook: Notebook, clients: Sequence[Mapping[str, str]]) -> None:
    for client in clients:
        name = client.get("name") or client.get("addr", "?")
        for defect in _defects_of_client(client):
            write = notebook.error if defect.severity is Severity.ERROR else notebook.warn
            library = f"redis-py {client.get('lib-ver')}"
            write("client_defect", f"{name} uses {library}: {defect.what}", defect.remedy)
        waiting = int(client.get("omem", 0))
        subscribes = (client.get("sub", "0"), client.get("psub", "0")) != ("0", "0")
        if waiting > STALLED_BUFFER and subscribes:
            notebook.warn(
                "slow_subscriber",
                f"{name} ({client.get('addr')}) does not read: {_mb(waiting)} wait for it",
                "make its handler faster, or end it; its library refills what it missed",
            )


def _defects_of_client(client: Mapping[str, str]) -> list[Any]:
    if not client.get("lib-name", "").startswith("redis-py"):
        return []
    return defects_of("redis", client.get("lib-ver", ""))


def _judge_rights(notebook: Notebook, problems: Sequence[str]) -> None:
    if not problems:
        notebook.fine("rights", "this user may do all that its role needs")
        return
    listed = "\n".join(f"- {problem}" for problem in problems)
    notebook.error(
        "rights",
        f"this user lacks rights:\n{listed}",
        "grant them: `tickerbus acl` prints the rules for each role",
    )


def _judge_latency(notebook: Notebook, round_trips_ms: Sequence[float]) -> None:
    if not round_trips_ms:
        return
    usual, worst = statistics.median(round_trips_ms), max(round_trips_ms)
    shown = f"{usual:.2f} ms a round trip, {worst:.1f} ms at worst"
    if usual > SLOW_MS:
        notebook.warn(
            "latency",
            f"{shown}: each batch waits for one",
            "run the broker beside Redis, and look for slow commands: SLOWLOG GET",
        )
    else:
        notebook.fine("latency", shown)


def judge_clock(notebook: Notebook, whose: str, ahead_s: float | None) -> None:
    """`ahead_s`: that clock minus ours."""
    if ahead_s is None:
        return
    if abs(ahead_s) > CLOCK_S:
        where = "ahead of" if ahead_s > 0 else "behind"
        notebook.warn(
            "clock",
            f"{whose} is {abs(ahead_s):,.1f} s {where} this machine's: lags, leases and gaps are "
            "told wrongly",
            "synchronise both with NTP: timedatectl set-ntp true",
        )
    else:
        notebook.fine("clock", f"{whose} agrees with this machine's within {CLOCK_S:.0f} s")


def _mb(size: int) -> str:
    return f"{size / MB:,.1f} MB" if size < 10 * MB else f"{size / MB:,.0f} MB"
