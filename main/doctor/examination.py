"""The whole examination: every area in a thread of its own, and none longer than the deadline.

Name resolution has no timeout that a program could set, so an area that hangs is left behind: its
thread is a daemon, and what it did not find is told as such.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import redis

from ..settings import Settings
from ..utils.hosts import is_loopback
from ..utils.redis.config import RedisConfig
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.messages import BrokerStatus
from . import alpaca_facts, broker_check, redis_facts
from .alpaca_facts import AlpacaFacts
from .alpaca_judge import Plan, judge_alpaca, judge_no_keys
from .broker_check import HEARD_WITHIN_S
from .connection_check import Endpoint, judge_connection
from .findings import Finding, Notebook
from .machine import examine_machine
from .redis_facts import Role
from .redis_judge import Expectations, judge_redis
from .settings_check import examine_settings

T = TypeVar("T")
ALPACAS_DOMAIN: Final = ".alpaca.markets"
STANDBY_NAME: Final = "tickerbus-standby"
AREAS: Final = ("machine", "settings", "redis", "broker", "alpaca")


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What to examine, and how long at the most. `probe`: whether to sign in to Alpaca's stream
    when no broker runs here. `hear_s`: how long to wait for a heartbeat."""

    env_file: Path = Path(".env")
    role: Role = "broker"
    probe: bool = False
    timeout_s: float = 15.0
    hear_s: float = HEARD_WITHIN_S


class _Work(Generic[T]):
    """A function in a daemon thread, and what came of it."""

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self.result: T | None = None
        self.failure: Exception | None = None
        self._function = function
        self._thread = threading.Thread(target=self._run, name=f"doctor-{name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except Exception as error:  # the supervisor of this thread: it is told as a finding
            self.failure = error

    def ended_by(self, deadline: float) -> bool:
        """Whether it ended before that monotonic time."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


def examine(examination: Examination) -> list[Finding]:
    """Every finding, by area. Returns within `timeout_s`, whatever hangs."""
    deadline = time.monotonic() + examination.timeout_s
    notebooks = {area: Notebook(area) for area in AREAS}
    examine_machine(notebooks["machine"])
    settings = examine_settings(notebooks["settings"], examination.env_file, os.environ)
    if settings is not None:
        _examine_network(examination, settings, notebooks, deadline)
    return [finding for area in AREAS for finding in notebooks[area].findings]


def _examine_network(
    examination: Examination,
    settings: Settings,
    notebooks: Mapping[str, Notebook],
    deadline: float,
) -> None:
    redis_notes, alpaca_notes = Notebook("redis"), Notebook("alpaca")
    broker_notes = Notebook("broker")
    on_redis = _Work(
        "redis", lambda: _examine_redis(examination, settings, redis_notes, broker_notes)
    )
    on_alpaca = _Work("alpaca", lambda: _examine_alpaca(settings, alpaca_notes))
    _close(on_redis, redis_notes, deadline, examination.timeout_s)
    _close(on_alpaca, alpaca_notes, deadline, examination.timeout_s)
    if not settings.has_alpaca_keys:
        judge_no_keys(alpaca_notes, examination.role, on_redis.result)
    if on_alpaca.result is not None:
        told = on_alpaca.result
        broker_check.judge_account(
            broker_notes, on_redis.result, told.account_id, told.account_name
        )
    knows_account = on_alpaca.result is not None and on_alpaca.result.account_id is not None
    knows = on_redis.result is not None or knows_account
    if settings.has_alpaca_keys and knows and examination.role == "broker":
        # On its own notes: who is late must not write into what is being read.
        connection_notes = Notebook("alpaca")
        endpoint = _endpoint(settings)
        on_connection = _Work(
            "connection",
            lambda: judge_connection(
                connection_notes, on_redis.result, endpoint, probe=examination.probe
            ),
        )
        _close(on_connection, connection_notes, deadline, examination.timeout_s)
        alpaca_notes.findings += connection_notes.findings
    for notes in (redis_notes, broker_notes, alpaca_notes):
        notebooks[notes.area].findings += notes.findings


def _close(work: _Work[T], notes: Notebook, deadline: float, timeout_s: float) -> None:
    if not work.ended_by(deadline):
        notes.error(
            "no_answer",
            f"the examination of {notes.area} did not end within {timeout_s:.0f} s",
            "check the network and this machine's DNS; --timeout gives it longer",
        )
    elif work.failure is not None:
        notes.error("failed", f"the examination itself failed: {work.failure!r}", "report it to us")


def _examine_redis(
    examination: Examination, settings: Settings, notes: Notebook, broker_notes: Notebook
) -> BrokerStatus | None:
    config = settings.redis_config("tickerbus-doctor")
    try:
        facts = redis_facts.gather(config, examination.role, secured=settings.registration_secured)
        notes.fine("reached", f"{config.address} answers")
        judge_redis(notes, facts, _expectations(settings, config))
    except RedisUnavailable as error:
        _tell_unreachable(notes, error)
        return None
    try:
        heard = broker_check.hear(config, examination.hear_s)
    except RedisUnavailable as error:
        broker_notes.error(
            "not_heard", f"the heartbeat cannot be heard: {error}", "see redis.rights"
        )
        return None
    standbys = sum(client.get("name") == STANDBY_NAME for client in facts.clients)
    broker_check.judge_broker(broker_notes, heard, facts.registration_listeners, standbys)
    broker_check.examine_holders(broker_notes, config, settings.alpaca_symbol_limit)
    return heard


def _tell_unreachable(notes: Notebook, error: RedisUnavailable) -> None:
    if isinstance(error.cause, redis.AuthenticationError):
        notes.error("login", str(error), "check REDIS_USERNAME and REDIS_PASSWORD, or REDIS_URL")
        return
    if isinstance(error.cause, redis.exceptions.NoPermissionError):
        notes.error("rights", str(error), "grant that: `tickerbus acl` prints each role's rules")
        return
    notes.error(
        "unreachable",
        str(error),
        "say where Redis is with REDIS_URL, or REDIS_HOST and REDIS_PORT; or start one: "
        "tickerbus up",
    )


def _examine_alpaca(settings: Settings, notes: Notebook) -> AlpacaFacts | None:
    """What Alpaca told; None without keys."""
    if settings.alpaca_api_key is None or settings.alpaca_api_secret is None:
        return None
    key = settings.alpaca_api_key.get_secret_value()
    facts = alpaca_facts.gather(
        alpaca_facts.AlpacaQuestion(
            trading_url=settings.trading_url,
            data_url=settings.data_url,
            feed=settings.alpaca_data_feed,
            key=key,
            secret=settings.alpaca_api_secret.get_secret_value(),
        )
    )
    plan = Plan(
        paper=settings.alpaca_paper,
        feed=settings.alpaca_data_feed,
        symbol_limit=settings.alpaca_symbol_limit,
        key_kind=key[:2],
        is_alpacas_own=_host(settings.trading_url).endswith(ALPACAS_DOMAIN),
    )
    judge_alpaca(notes, facts, plan)
    return facts


def _endpoint(settings: Settings) -> Endpoint:
    assert settings.alpaca_api_key is not None
    assert settings.alpaca_api_secret is not None
    return Endpoint(
        url=settings.stock_stream_url,
        key=settings.alpaca_api_key.get_secret_value(),
        secret=settings.alpaca_api_secret.get_secret_value(),
    )


def _expectations(settings: Settings, config: RedisConfig) -> Expectations:
    hosts = [host for host, _ in config.sentinels] or [config.host]
    return Expectations(
        address=config.address,
        is_loopback=all(map(is_loopback, hosts)),
        tls=config.tls,
        journal=settings.journal_bounds(),
        symbol_limit=settings.alpaca_symbol_limit,
    )


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
