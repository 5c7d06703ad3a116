"""From facts to findings: what no real server can be made to say on every machine."""

from __future__ import annotations

from typing import Any

import pytest

from main.doctor.alpaca_facts import AlpacaFacts, Answer
from main.doctor.alpaca_judge import Plan, judge_alpaca, judge_no_keys
from main.doctor.broker_check import judge_account, judge_broker, judge_budget
from main.doctor.connection_check import Endpoint, judge_connection
from main.doctor.findings import Notebook, Severity
from main.doctor.redis_clients import judge_clock, pubsub_limits
from main.doctor.redis_facts import (
    EVENT_ID_RETENTION_S,
    EVENT_IDS_MAX,
    EventFacts,
    RedisFacts,
    Role,
)
from main.doctor.redis_judge import Expectations, judge_redis
from main.embedded_valkey import TITLE
from main.holders import Holder
from main.trade_events.library import library_source
from main.utils.redis.batch import JournalBounds
from main.utils.redis.messages import (
    BrokerStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    TickerStatus,
    UpstreamStatus,
)

GOOD_INFO: dict[str, Any] = {"redis_version": "7.4.1", "maxmemory_policy": "noeviction"}
GOOD_CONFIG = {
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 "
    "pubsub 33554432 8388608 60",
    "appendonly": "yes",
    "save": "3600 1",
    "bind": "127.0.0.1",
    "requirepass": "",
    "protected-mode": "yes",
}
EXPECTED = Expectations(
    address="redis:6379/0",
    is_loopback=True,
    tls=False,
    journal=JournalBounds(),
    symbol_limit=30,
)


def mended(notebook: Notebook) -> list[str]:
    return [f.name for f in notebook.findings if f.severity >= Severity.WARNING]


def redis_findings(
    info: dict[str, Any] | None = None, config: dict[str, str] | None = None, **facts: Any
) -> list[str]:
    told: dict[str, Any] = {
        "clients": [],
        "round_trips_ms": [0.1, 0.2],
        "ahead_s": 0.0,
        "right_problems": [],
        "refused": [],
        "registration_listeners": 0,
    }
    found = RedisFacts(
        info=GOOD_INFO | {"aof_enabled": 1} | (info or {}),
        config=GOOD_CONFIG | (config or {}),
        **(told | facts),
    )
    notebook = Notebook("redis")
    judge_redis(notebook, found, EXPECTED)
    return mended(notebook)


@pytest.mark.parametrize(
    ("pace", "retention_s", "maxmemory_mb", "expected"),
    [
        (1, 604_800, 0, []),
        (100, 604_800, 0, ["redis.event_ids"]),
        (100, 7_200, 0, []),
        (1, 604_800, 100, ["redis.event_ids"]),
    ],
)
def test_known_ids_of_trade_events_that_go_too_early_or_take_too_much_are_told_in_time(
    pace: int, retention_s: int, maxmemory_mb: int, expected: list[str]
) -> None:
    """They are bounded by time and by count: whichever is reached first."""
    events = EventFacts(length=2_000, span_s=2_000 / pace, retention_s=retention_s)
    info = {"maxmemory": maxmemory_mb * 2**20, "used_memory": 0}
    found = redis_findings(info, events=events)
    assert [each for each in found if each != "redis.memory_small"] == expected


def test_the_doctor_knows_how_long_an_id_is_known_and_how_many_are() -> None:
    """Where nothing is configured, these are the server-side functions' own numbers."""
    assert f"event_id_retention_s = {EVENT_ID_RETENTION_S},".encode() in library_source()
    assert f"event_ids_max = {EVENT_IDS_MAX},".encode() in library_source()


def test_a_good_redis_has_nothing_to_mend() -> None:
    assert redis_findings() == []


@pytest.mark.parametrize(
    ("info", "config", "name"),
    [
        ({"redis_version": "6.2.14"}, {}, "redis.version"),
        ({"redis_mode": "cluster"}, {}, "redis.cluster"),
        ({"role": "slave", "master_host": "a", "master_port": 1}, {}, "redis.replica"),
        ({"maxmemory_policy": "volatile-lru"}, {}, "redis.memory_policy"),
        ({"evicted_keys": 4}, {}, "redis.evicted"),
        ({"maxmemory": 200_000_000, "used_memory": 190_000_000}, {}, "redis.memory_full"),
        ({"maxmemory": 20_000_000, "used_memory": 1_000_000}, {}, "redis.memory_small"),
        ({"rdb_last_bgsave_status": "err"}, {}, "redis.disk"),
        ({"aof_last_write_status": "err"}, {}, "redis.disk"),
        ({}, {"appendfsync": "always"}, "redis.fsync_always"),
        ({"aof_enabled": 0}, {"save": ""}, "redis.persistence"),
        ({"connected_slaves": 1}, {"min-replicas-to-write": "2"}, "redis.replicas"),
        ({"maxclients": 100, "connected_clients": 95}, {}, "redis.connections"),
        ({}, {"client-output-buffer-limit": "pubsub 0 0 0"}, "redis.output_buffer"),
        ({}, {"client-output-buffer-limit": "pubsub 1048576 0 0"}, "redis.output_buffer"),
        ({}, {"bind": "* -::*", "protected-mode": "no"}, "redis.exposed"),
    ],
)
def test_a_misconfigured_redis_is_named(
    info: dict[str, Any], config: dict[str, str], name: str
) -> None:
    assert redis_findings(info, config) == [name]


def test_the_embedded_valkey_that_keeps_nothing_is_as_it_should_be() -> None:
    config = {"save": "", "proc-title-template": TITLE}
    assert redis_findings({"aof_enabled": 0}, config) == []


def test_slow_answers_clocks_apart_and_lacking_rights_are_named() -> None:
    assert redis_findings(round_trips_ms=[9.0, 8.0, 0.1]) == ["redis.latency"]
    assert redis_findings(ahead_s=-3.5) == ["redis.clock"]
    assert redis_findings(right_problems=["no XADD"]) == ["redis.rights"]


def test_a_client_of_redis_py_8_0_0_is_named_and_others_are_not() -> None:
    bad = {"name": "old-bot", "lib-name": "redis-py", "lib-ver": "8.0.0"}
    assert redis_findings(clients=[bad]) == ["redis.client_defect"]
    assert redis_findings(clients=[bad | {"lib-ver": "8.1.0"}, bad | {"lib-name": "jedis"}]) == []


def test_only_a_subscriber_with_much_waiting_is_slow() -> None:
    stalled = {"addr": "10.0.0.9:1", "omem": "20000000", "sub": "1", "psub": "0"}
    assert redis_findings(clients=[stalled]) == ["redis.slow_subscriber"]
    assert redis_findings(clients=[stalled | {"omem": "100"}, stalled | {"sub": "0"}]) == []


def test_the_journals_need_what_the_symbol_limit_lets_them_have() -> None:
    assert EXPECTED.journal_mb == 77  # 30 tickers of 10,000 entries of 270 bytes
    unlimited = Expectations(
        address="", is_loopback=True, tls=False, journal=JournalBounds(), symbol_limit=0
    )
    assert unlimited.journal_mb == 512


def test_output_buffer_limits_are_read_or_left_alone() -> None:
    assert pubsub_limits(GOOD_CONFIG["client-output-buffer-limit"]) == (33554432, 8388608, 60)
    assert pubsub_limits("normal 0 0 0") is None
    assert pubsub_limits("pubsub 1 x") is None


def test_a_clock_that_could_not_be_asked_is_no_finding() -> None:
    notebook = Notebook("redis")
    judge_clock(notebook, "Redis's clock", None)
    assert notebook.findings == []


# -- the broker


def heartbeat(broker: str = "RUNNING", /, *, ready: bool = True, **prices: Any) -> BrokerStatus:
    return BrokerStatus(
        epoch=1,
        state=broker,
        account_id="account-1",
        paper=True,
        timestamp="2026-11-21T14:30:00Z",
        started_at="2026-11-21T14:00:00Z",
        version="0.1.0",
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(**({"state": "LIVE", "since": ""} | prices)),
            orders=OrderStreamStatus(state="LIVE", since="", ready=ready),
        ),
        tickers={"AAPL": TickerStatus(seq=1, state="MUTE" if prices.get("lag_ms") else "LIVE")},
        counters={},
        journal={},
    )


@pytest.mark.parametrize(
    ("heard", "listeners", "expected"),
    [
        (heartbeat(), 1, []),
        (None, 0, []),
        (None, None, []),
        (None, 1, ["broker.silent"]),
        (heartbeat("FAULTED"), 1, ["broker.state"]),
        (heartbeat("DEGRADED"), 1, ["broker.state"]),
        (heartbeat(ready=False), 1, ["broker.orders_not_ready"]),
        (heartbeat(lag_ms=90_000.0), 1, ["broker.lag", "broker.mute"]),
    ],
)
def test_the_heartbeat_tells_how_the_broker_is(
    heard: BrokerStatus | None, listeners: int | None, expected: list[str]
) -> None:
    notebook = Notebook("broker")
    judge_broker(notebook, heard, listeners)
    assert mended(notebook) == expected


def test_a_standby_is_told_of() -> None:
    notebook = Notebook("broker")
    judge_broker(notebook, heartbeat(), 1, standbys=1)
    assert notebook.findings[0].found == "the broker is RUNNING, version 0.1.0; 1 on standby"


def test_another_accounts_broker_under_the_prefix_is_named() -> None:
    notebook = Notebook("broker")
    judge_account(notebook, heartbeat(), "account-1", "…1A2B")
    judge_account(notebook, None, "account-1", "…1A2B")
    judge_account(notebook, heartbeat(), None, "…")
    assert notebook.findings == []
    judge_account(notebook, heartbeat(), "account-2", "…9Z8Y")
    assert mended(notebook) == ["broker.other_account"]
    assert "account …9Z8Y's" in notebook.findings[0].found


@pytest.mark.parametrize(
    ("role", "heard", "expected"),
    [("broker", False, ["alpaca.no_keys"]), ("broker", True, []), ("strategy", False, [])],
)
def test_lacking_keys_are_to_be_mended_only_where_a_broker_is_lacking_too(
    role: Role, heard: bool, expected: list[str]
) -> None:
    notebook = Notebook("alpaca")
    judge_no_keys(notebook, role, heartbeat() if heard else None)
    assert [finding.name for finding in notebook.findings] == ["alpaca.no_keys"]
    assert mended(notebook) == expected


def test_a_full_symbol_budget_is_named_and_pairs_do_not_count_against_stocks() -> None:
    def holds(*tickers: str) -> list[Holder]:
        return [
            Holder(ticker=ticker, client_id="a", until_ms=1, data=["trades"]) for ticker in tickers
        ]

    notebook = Notebook("broker")
    judge_budget(notebook, holds("AAPL", "BTC/USD"), 2)
    judge_budget(notebook, holds("AAPL", "MSFT"), 0)
    assert notebook.findings == []
    judge_budget(notebook, holds("AAPL", "MSFT"), 2)
    assert mended(notebook) == ["broker.symbols_full"]


# -- Alpaca

OWN = Plan(paper=True, feed="iex", symbol_limit=30, key_kind="PK", is_alpacas_own=True)
ACTIVE = Answer(url="u", status=200, body={"id": "a", "status": "ACTIVE", "account_number": "PA1"})


def alpaca_findings(account: Answer = ACTIVE, data: Answer | None = None, **plan: Any) -> list[str]:
    notebook = Notebook("alpaca")
    facts = AlpacaFacts(account=account, data=data, ahead_s=0.0)
    fields = {name: getattr(OWN, name) for name in OWN.__dataclass_fields__}
    judge_alpaca(notebook, facts, Plan(**(fields | plan)))
    return mended(notebook)


def data(limit: str = "200", left: str = "190", status: int = 200) -> Answer:
    headers = {"x-ratelimit-limit": limit, "x-ratelimit-remaining": left}
    return Answer(url="u", status=status, headers=headers)


def test_a_good_account_has_nothing_to_mend() -> None:
    assert alpaca_findings(data=data()) == []
    assert alpaca_findings(data=None) == []


@pytest.mark.parametrize(
    ("account", "name"),
    [
        (Answer(url="u", status=401), "alpaca.keys"),
        (Answer(url="u", status=403), "alpaca.keys"),
        (Answer(url="u", status=429), "alpaca.rate_limit"),
        (Answer(url="u", status=503), "alpaca.trading_api"),
        (Answer(url="u", trouble="no address is known", hint="DNS"), "alpaca.unreachable"),
        (Answer(url="u", status=200, body={"trading_blocked": True}), "alpaca.account_blocked"),
        (Answer(url="u", status=200, body={"status": "INACTIVE"}), "alpaca.account_blocked"),
    ],
)
def test_what_alpaca_refuses_is_named(account: Answer, name: str) -> None:
    assert alpaca_findings(account) == [name]


def test_a_plan_that_lacks_the_feed_or_the_symbols_is_named() -> None:
    assert alpaca_findings(data=data(status=403)) == ["alpaca.feed"]
    assert alpaca_findings(data=data(), symbol_limit=0) == ["alpaca.symbol_limit"]
    assert alpaca_findings(data=data(), symbol_limit=100) == ["alpaca.symbol_limit"]
    assert alpaca_findings(data=data("10000", "9999"), symbol_limit=0) == []
    assert alpaca_findings(data=data(left="3")) == ["alpaca.rate_limit"]


def test_keys_of_the_other_kind_of_account_are_named_at_alpacas_own_hosts_only() -> None:
    assert alpaca_findings(key_kind="AK") == ["alpaca.key_kind"]
    assert alpaca_findings(key_kind="PK", paper=False) == ["alpaca.key_kind"]
    assert alpaca_findings(key_kind="AK", is_alpacas_own=False) == []


NOWHERE = Endpoint(url="ws://127.0.0.1:1/never", key="k", secret="s")


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({"state": "LIVE"}, []),
        ({"state": "LIVE", "reason": "406 connection limit exceeded"}, []),
        (
            {"state": "CONNECTING", "reason": "406 connection limit exceeded"},
            ["alpaca.connection_taken"],
        ),
        ({"state": "DOWN", "reason": "ConnectionClosed"}, ["alpaca.connection"]),
    ],
)
def test_a_running_broker_is_asked_by_its_heartbeat_and_never_probed(
    prices: dict[str, str], expected: list[str]
) -> None:
    notebook = Notebook("alpaca")
    # Nobody listens at that endpoint: a probe would find that, and not what is expected.
    judge_connection(notebook, heartbeat(**prices), NOWHERE, probe=True)
    assert mended(notebook) == expected


def test_without_a_broker_nothing_is_tried_unless_it_is_asked_for() -> None:
    notebook = Notebook("alpaca")
    judge_connection(notebook, None, NOWHERE, probe=False)
    assert mended(notebook) == []
    assert "--probe" in notebook.findings[0].remedy


def test_secrets_stay_out_of_what_can_be_printed() -> None:
    assert "hush" not in repr(Endpoint(url="", key="hush", secret="hush"))
