"""Two scale_t of one client and ticker: the second is refused, and takes over from a dead one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis

from main.alpaca_broker import AlpacaBroker
from main.commands import scale_t_control
from main.commands.common import Mistake
from main.embedded_valkey import EmbeddedValkey
from main.scale_t import alone
from main.scale_t.alone import AlreadyRuns, Holder, StateLock, TickerLease
from main.settings import Settings
from main.utils.processes import machine
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import STARTED_S, AccountOrders, Run
from tests.integration.scale_t.stand_in_broker import StandInBroker

pytestmark = pytest.mark.integration

KEY = "CONSUMER_LEASE.scale-t.AAPL"


@pytest.fixture
def run_scale_t(command: Run) -> Run:
    """`run_scale_t(state="one")`: with a state directory of its own."""
    ladder = ("--ticker", "AAPL", "--max-position", "20", "--start-price", "100")
    return partial(command, "run", *ladder)


@pytest.fixture
def server(redis_config: RedisConfig) -> Iterator[redis.Redis]:
    with closing(redis_config.client()) as client:
        yield client


def test_the_second_of_a_name_is_refused_and_the_first_trades_on(
    real_broker: AlpacaBroker, orders: AccountOrders, run_scale_t: Run, server: redis.Redis
) -> None:
    """By the lock on the state file; with another state directory, by the lease in Redis."""
    first = run_scale_t(state="one")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    for second in (run_scale_t(state="one"), run_scale_t(state="another")):
        assert second.exit_code(STARTED_S) == 2
        said = "\n".join(second.lines)
        assert "scale-t already runs for AAPL as scale-t (pid " in said
        assert "Traceback" not in said
    assert set(orders.working()) == {"entry:0:1"}
    first.signal(signal.SIGTERM)
    assert first.exit_code(10) == 0
    assert server.get(KEY) is None, "given back"


def test_a_killed_one_is_followed_at_once(
    real_broker: AlpacaBroker, orders: AccountOrders, run_scale_t: Run
) -> None:
    """Its lease had seconds to run; but its process is gone, and this machine knows."""
    first = run_scale_t()
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    first.signal(signal.SIGKILL)
    first.exit_code()
    second = run_scale_t()
    second.wait_for_line("scale_t.entries_allowed", STARTED_S)
    assert not any("already runs" in line for line in second.lines)
    assert len(orders.all()) == 1


def lease(config: RedisConfig, lost: Any = None) -> TickerLease:
    return TickerLease(config, "scale-t", "AAPL", lost or (lambda _: None))


def holder(pid: int, of: str) -> bytes:
    return msgspec.json.encode(Holder(pid=pid, machine=of, token="another"))


def test_the_lease_of_a_dead_process_is_taken_without_waiting(
    redis_config: RedisConfig, server: redis.Redis
) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    server.set(KEY, holder(dead.pid, machine()), px=60_000)
    with closing(lease(redis_config)) as mine:
        mine.take(pause=lambda _: pytest.fail("it waited"))
        assert str(os.getpid()).encode() in (server.get(KEY) or b"")  # type: ignore[operator]


def test_the_lease_of_another_machine_is_waited_for_until_it_runs_out(
    redis_config: RedisConfig, server: redis.Redis
) -> None:
    begun = time.monotonic()
    server.set(KEY, holder(1, "elsewhere/1"), px=600)
    with closing(lease(redis_config)) as mine:
        mine.take()
        assert time.monotonic() - begun >= 0.5
    assert server.get(KEY) is None


def test_a_lease_that_is_renewed_belongs_to_somebody_alive(
    redis_config: RedisConfig, server: redis.Redis
) -> None:
    with closing(lease(redis_config)) as first, closing(lease(redis_config)) as second:
        first.take()
        with pytest.raises(AlreadyRuns, match=f"pid {os.getpid()} on "):
            second.take()
        second.close()
        assert server.get(KEY) is not None, "who does not have it cannot give it back"


def test_an_emptied_redis_is_written_again(redis_config: RedisConfig, server: redis.Redis) -> None:
    with closing(lease(redis_config)) as mine:
        mine.take()
        server.flushall()
        wait_for(lambda: server.get(KEY))


def test_who_lost_the_lease_ends_and_leaves_what_works_to_the_other(
    broker: StandInBroker, orders: AccountOrders, start_scale_t: Any, server: redis.Redis
) -> None:
    """It was frozen for too long, say. The orders have the same names in both."""
    scale_t = start_scale_t(max_position="20", start_price="100")
    wait_for(lambda: "entry:0:1" in orders.working())
    server.set(KEY, holder(1, "elsewhere/1"), px=60_000)
    wait_for(lambda: scale_t.ended)
    assert scale_t.code == 2
    assert set(orders.working()) == {"entry:0:1"}


def test_a_redis_that_does_not_allow_it_is_told_and_the_file_locks_alone(
    own_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ACL rule from before there was a lease. One that is away is told as well."""
    told: list[str] = []
    monkeypatch.setattr(alone.log, "warning", lambda _, reason: told.append(reason), raising=False)
    with closing(redis.Redis(port=own_valkey.port)) as admin:
        admin.acl_setuser(
            "older", enabled=True, nopass=True, keys=["TICKER_*"], categories=["+@all"]
        )
    forbids = RedisConfig(host="127.0.0.1", port=own_valkey.port, username="older", password="any")
    for config in (forbids, RedisConfig(host="127.0.0.1", port=1)):
        with closing(lease(config)) as mine:
            mine.take()
    assert [("permission" in each.lower(), "refused" in each) for each in told] == [
        (True, False),
        (False, True),
    ]


def test_flatten_by_rest_does_not_work_beside_one_that_runs_here(
    settings: Settings, tmp_path: Path, orders: AccountOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is away, so it is not reached: it would trade on, and undo what is flattened."""
    number = str(orders.client.get("/account")["account_number"])
    lock = StateLock(tmp_path / f"{number}-scale-t-AAPL.json", "scale-t", "AAPL")
    lock.take()
    monkeypatch.setattr(scale_t_control, "_told_to_flatten", lambda *_: False)
    monkeypatch.setattr(scale_t_control, "open_settings", lambda: settings)
    try:
        with pytest.raises(Mistake, match="already runs for AAPL"):
            scale_t_control.flatten(ticker="AAPL", yes=True, state_dir=tmp_path)
    finally:
        lock.release()
    scale_t_control.flatten(ticker="AAPL", yes=True, state_dir=tmp_path)
