"""Pure: whoever is connected to Redis, and how it answers us."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .findings import Notebook, Severity
from .machine import defects_of
from .redis_facts import RedisFacts

MB: Final = 1_048_576
# A message takes some 250 bytes on a subscriber's connection: these hold a burst of 30,000.
LEAST_BUFFER_MB: Final = 8
STALLED_BUFFER: Final = MB  # what a subscriber that reads never has waiting
SLOW_MS: Final = 5.0  # no more than two batches are on their way at once
CLOCK_S: Final = 1.0
FULL_SHARE: Final = 0.8


def judge_clients(notebook: Notebook, facts: RedisFacts) -> None:
    """Every finding about connections, subscribers and round trips."""
    if facts.info:
        _judge_connections(notebook, facts.info)
    if facts.config:
        _judge_buffers(notebook, facts.config)
    _judge_clients(notebook, facts.clients)
    _judge_latency(notebook, facts.round_trips_ms)


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
            f"subscribers are cut off at {shown_mb(hard)}, or above {shown_mb(soft)} for "
            f"{seconds} s: an ordinary burst may do that",
            advice,
        )
    else:
        shown = f"{shown_mb(hard)}, or {shown_mb(soft)} for {seconds} s"
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
                f"{name} ({client.get('addr')}) does not read: {shown_mb(waiting)} wait for it",
                "make its handler faster, or end it; its library refills what it missed",
            )


def _defects_of_client(client: Mapping[str, str]) -> list[Any]:
    if not client.get("lib-name", "").startswith("redis-py"):
        return []
    return defects_of("redis", client.get("lib-ver", ""))


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


def shown_mb(size: int) -> str:
    return f"{size / MB:,.1f} MB" if size < 10 * MB else f"{size / MB:,.0f} MB"
