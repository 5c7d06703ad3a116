"""Pure: what needs a person's attention now, each with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, Literal

from . import words
from .diagnosis import ENDED_STATES, World
from .gaps import Outage
from .redis_facts import FULL, RedisFacts
from .registrations import Budget

RECENT_S: Final = 300.0


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One sentence, and what to do. `bad` is wrong now; `warn` may become so."""

    level: Literal["bad", "warn"]
    words: str
    todo: str


def find_alerts(
    *,
    world: World,
    redis: RedisFacts,
    states: Mapping[str, int],
    budget: Budget,
    outages: Iterable[Outage],
    dropped: int,
) -> list[Alert]:
    """The worst first. Where Redis is away, nothing else can be known."""
    if world.redis_trouble is not None:
        return [
            _bad(
                f"Redis at {redis.address}: {world.redis_trouble}",
                "What you see is what was known before. Start Redis, or check REDIS_URL.",
            )
        ]
    return [
        *_broker(world),
        *_tickers(states, world),
        *_gaps(outages, world.now_s),
        *_redis(redis),
        *_budget(budget),
        *_page(dropped),
    ]


def _broker(world: World) -> Iterable[Alert]:
    state, broker = world.broker_state, world.broker
    if state == "SILENT":
        age_s = world.broker_age_s
        heard = "none since this page runs" if age_s is None else f"{words.duration(age_s)} ago"
        yield _bad(
            f"No broker: the last heartbeat came {heard}" if age_s else f"No broker: {heard}",
            "Start one (`tickerbus broker`), or check that BUS_PREFIX is the broker's.",
        )
        return
    if state in ENDED_STATES:
        yield _bad(f"The broker is {state}", "Start it: `tickerbus broker`. Its log says why.")
        return
    if broker is None or state in ("", "STARTING"):
        return
    for name, stream in (("prices", broker.upstream.prices), ("orders", broker.upstream.orders)):
        if stream.state not in ("LIVE", "QUIET"):
            reason = f": {words.word(stream.reason, 160)}" if stream.reason else ""
            since = words.clock(words.unix_s(stream.since))
            yield Alert(
                level="bad" if stream.state in ("DOWN", "REFUSED", "MUTE") else "warn",
                words=f"Alpaca's {name} are {stream.state} since {since} UTC{reason}",
                todo="The broker connects again by itself."
                if stream.state != "REFUSED"
                else "Check the keys and the plan.",
            )
    if not broker.upstream.orders.ready:
        yield Alert(
            level="warn",
            words="An order event may be missing still",
            todo="Send no new entries until this is gone.",
        )


def _tickers(states: Mapping[str, int], world: World) -> Iterable[Alert]:
    if world.broker_state not in ("RUNNING", "DEGRADED"):
        return
    mute, lagging = states.get("MUTE", 0), states.get("LAGGING", 0)
    if mute:
        do, them = ("do", "them") if mute > 1 else ("does", "it")
        yield _bad(
            f"{words.count(mute, 'ticker')} should trade and {do} not",
            f"The broker asks Alpaca for {them} again by itself.",
        )
    if lagging:
        yield Alert(
            level="warn",
            words=f"The prices of {words.count(lagging, 'ticker')} come late",
            todo="See Health: Alpaca, the network or this machine is too slow.",
        )


def _gaps(outages: Iterable[Outage], now_s: float) -> Iterable[Alert]:
    recent = takewhile(lambda outage: now_s - outage.to_s < RECENT_S, outages)
    missing = [outage for outage in recent if outage.verdict != "refilled"]
    if missing:
        newest = missing[0]
        yield Alert(
            level="warn",
            words=f"Prices of {newest.names} are missing: {newest.words}, "
            f"{words.clock(newest.from_s)} to {words.clock(newest.to_s)} UTC",
            todo="See Gaps.",
        )


def _redis(redis: RedisFacts) -> Iterable[Alert]:
    if redis.full is not None and redis.full >= FULL:
        yield _bad(
            f"Redis uses {redis.full:.0%} of its memory bound",
            "Raise maxmemory, or lower JOURNAL_MAX_MB: when it is full, nothing can be published.",
        )
    if redis.evicted:
        yield _bad(
            f"Redis has evicted {redis.evicted:,} keys: journals may be missing",
            "Set maxmemory-policy to noeviction.",
        )
    if redis.slow:
        names = ", ".join(sorted({reader.name for reader in redis.slow})[:4])
        yield Alert(
            level="warn",
            words=f"Too slow a reader: {names}",
            todo="Redis will cut it off when too much waits for it. See Health.",
        )


def _budget(budget: Budget) -> Iterable[Alert]:
    if budget.limit and budget.used >= budget.limit:
        yield Alert(
            level="warn",
            words=f"All {budget.limit} symbols of the plan are taken",
            todo="Further tickers are rejected until one is let go.",
        )


def _page(dropped: int) -> Iterable[Alert]:
    if dropped:
        yield Alert(
            level="warn",
            words=f"This page could not keep up and left out {dropped:,} messages",
            todo="Only this page: strategies have their own connections.",
        )


def _bad(sentence: str, todo: str) -> Alert:
    return Alert(level="bad", words=sentence, todo=todo)
