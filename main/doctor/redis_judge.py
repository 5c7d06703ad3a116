"""Pure: from what Redis told to findings. Each says what to do, as a command where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..embedded_valkey import TITLE
from ..utils.redis.batch import JournalBounds
from ..utils.redis.ready import OLDEST_SERVER
from .findings import Notebook
from .redis_clients import FULL_SHARE, MB, judge_clients, judge_clock, shown_mb
from .redis_facts import EventFacts, RedisFacts

EVENT_ID_BYTES: Final = 90  # of memory, for each known id of a trade event
_FEW_EVENTS: Final = 1_000  # tell no pace


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
        _judge_event_ids(notebook, facts.info, facts.events)
    judge_clients(notebook, facts)
    if facts.config:
        _judge_exposure(notebook, facts.config, expected)
    _judge_rights(notebook, facts.right_problems)
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
        notebook.fine("memory", f"{shown_mb(used)} used, no limit")
        return
    if used > FULL_SHARE * most:
        notebook.warn(
            "memory_full",
            f"{shown_mb(used)} of {shown_mb(most)} are used; a full one takes no price",
            "raise maxmemory, or lower JOURNAL_MAX_MB",
        )
    needed = expected.journal_mb
    if needed * MB > most:
        notebook.warn(
            "memory_small",
            f"the journals may take {needed} MB, and maxmemory is {shown_mb(most)}",
            f"set maxmemory to {needed * 2} MB or more, or lower JOURNAL_MAX_MB",
        )
    elif used <= FULL_SHARE * most:
        notebook.fine("memory", f"{shown_mb(used)} of {shown_mb(most)} used")


def _judge_event_ids(
    notebook: Notebook, info: Mapping[str, Any], events: EventFacts | None
) -> None:
    """How long the trade events' ids are known at the log's own pace, and what they take."""
    if events is None or events.length < _FEW_EVENTS:
        return
    pace = events.length / max(events.span_s, 1.0)
    sure_s = min(events.retention_s, events.ids_max * 2 / 3 / pace)
    mb = int(min(events.ids_max, pace * events.retention_s * 1.5) * EVENT_ID_BYTES) // MB
    most = int(info.get("maxmemory", 0)) // MB
    told = (
        f"at {pace:.1f} trade events a second an id is known for {sure_s / 3_600:,.0f} hours, "
        f"and all of them take up to {mb:,} MB"
    )
    if most and mb > most // 2:
        notebook.warn(
            "event_ids",
            f"{told}, of {most:,} MB",
            "raise maxmemory, or lower it: tickerbus events config event_ids_max=500000; what is "
            "published once more later than that is taken for new",
        )
    elif sure_s < events.retention_s:
        notebook.warn(
            "event_ids",
            f"{told}: event_ids_max is reached before event_id_retention_s is over",
            "raise it: tickerbus events config event_ids_max=…, some 90 bytes of Redis each; or "
            "shorten event_id_retention_s to what is enough",
        )
    else:
        notebook.fine("event_ids", told)


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
    elif config.get("proc-title-template") == TITLE:
        notebook.note(
            "persistence",
            "the embedded Valkey of up and demo keeps nothing: it ends with them",
            "for production a Redis of your own, with CONFIG SET appendonly yes",
        )
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
