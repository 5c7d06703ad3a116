"""Every lack of a Redis, or of the user on it, is named at once."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator

import pytest
import redis

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS, BusNames
from main.utils.redis.ready import check_broker_redis, check_reader_redis

pytestmark = pytest.mark.integration

BROKER_RULES = (
    "resetkeys resetchannels -@all +ping +info +get +set +pexpire +hgetall +hset +hdel +xadd "
    "+xinfo|stream +rename +multi +exec +pubsub|numsub +scan +expire +xrange +xrevrange "
    "+ttl +persist +xtrim +function|load +fcall +publish +subscribe +client "
    "~TICKER_LOG_* ~ORDER_LOG_* ~BROKER_* &TICKER_* &BROKER_*"
)


@pytest.fixture
def admin(config: RedisConfig) -> Iterator[redis.Redis]:
    client = config.client()
    yield client
    client.acl_deluser("limited")
    client.close()


def check_as(
    admin: redis.Redis, config: RedisConfig, rules: str, *, reader: bool = False
) -> list[str]:
    admin.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules.split())
    client = dataclasses.replace(config, username="limited", password="secret").client()
    try:
        check = check_reader_redis if reader else check_broker_redis
        return check(client, CHANNELS)
    finally:
        client.close()


def test_a_plain_server_with_all_rights_has_no_problem(config: RedisConfig) -> None:
    client = config.client()
    assert check_broker_redis(client, CHANNELS) == []
    assert check_reader_redis(client, BusNames("PAPER_")) == []
    assert client.dbsize() == 0, "the check left something behind"
    client.close()


@pytest.mark.parametrize("may_ask", ["", " +acl|whoami +acl|dryrun"], ids=["probing", "dry_run"])
def test_enough_rights_are_enough_and_nothing_is_left_behind(
    admin: redis.Redis, config: RedisConfig, may_ask: str
) -> None:
    admin.set(CHANNELS.BROKER_EPOCH, "7")
    assert check_as(admin, config, BROKER_RULES + may_ask) == []
    assert admin.keys() == [b"BROKER_EPOCH"]
    assert admin.get(CHANNELS.BROKER_EPOCH) == b"7"


@pytest.mark.parametrize("may_ask", ["", " +acl|whoami +acl|dryrun"], ids=["probing", "dry_run"])
@pytest.mark.parametrize(
    ("without", "verb", "on"),
    [
        ("+set", "SET", "BROKER_EPOCH"),
        ("+xadd", "XADD", "ORDER_LOG_*"),
        ("~TICKER_LOG_*", "XADD", "TICKER_LOG_*"),
        ("+xrange", "XRANGE", "TICKER_LOG_*"),
        ("+fcall", "FCALL", "tickerbus_publish_3"),
        ("+function|load", "FUNCTION LOAD", "the server-side functions"),
        ("&TICKER_*", "PUBLISH", "TICKER_UPDATES_*"),
        ("+publish", "PUBLISH", "BROKER_STATUS"),
        ("+subscribe", "SUBSCRIBE", "BROKER_REGISTRATION"),
        ("+hset", "HSET", "BROKER_LEASES"),
        ("+rename", "RENAME", "TICKER_LOG_*"),
        ("+exec", "EXEC", "transactions"),
        ("+pubsub|numsub", "PUBSUB NUMSUB", "the server's channels"),
        ("+scan", "SCAN", "the keys"),
        ("+xtrim", "XTRIM", "ORDER_LOG_*"),
    ],
)
def test_a_missing_right_is_named_with_what_it_is_needed_for(
    admin: redis.Redis, config: RedisConfig, without: str, verb: str, on: str, may_ask: str
) -> None:
    rules = " ".join(rule for rule in BROKER_RULES.split() if rule != without) + may_ask
    problems = check_as(admin, config, rules)
    assert any(f"may not run {verb} on {on} " in problem for problem in problems), problems
    assert admin.dbsize() == 0


def test_a_reader_needs_less_than_a_broker(admin: redis.Redis, config: RedisConfig) -> None:
    rules = (
        "resetchannels -@all +info +subscribe +xrange +xrevrange +get +client "
        "%R~TICKER_LOG_* %R~ORDER_LOG_* %R~BROKER_EPOCH &TICKER_* &BROKER_STATUS"
    )
    assert check_as(admin, config, rules, reader=True) == []
    broker_problems = check_as(admin, config, rules)
    assert any("XADD" in problem for problem in broker_problems)
    blind = check_as(admin, config, rules.replace("&BROKER_STATUS", ""), reader=True)
    assert len(blind) == 1
    assert "SUBSCRIBE on BROKER_STATUS" in blind[0]


def test_who_may_not_ask_for_info_is_told_so(admin: redis.Redis, config: RedisConfig) -> None:
    (problem,) = check_as(admin, config, BROKER_RULES.replace("+info ", ""))
    assert "could not be checked" in problem
    assert "+info" in problem


@pytest.mark.parametrize(("maxmemory", "when"), [("0", "as soon as"), ("100mb", "now")])
def test_a_memory_policy_that_evicts_is_named(maxmemory: str, when: str) -> None:
    options = ("--maxmemory-policy", "allkeys-lru", "--maxmemory", maxmemory)
    with EmbeddedValkey(None, *options) as server:
        client = redis.Redis(port=server.port)
        (problem,) = check_broker_redis(client, CHANNELS)
        assert check_reader_redis(client, CHANNELS) == []
        client.close()
    assert "allkeys-lru" in problem
    assert when in problem
    assert "noeviction" in problem


def test_a_replica_is_named_with_its_primary(
    config: RedisConfig, own_valkey: EmbeddedValkey
) -> None:
    client = redis.Redis(port=own_valkey.port)
    client.replicaof("127.0.0.1", config.port)
    (problem,) = check_broker_redis(client, CHANNELS)
    client.close()
    assert "read-only replica" in problem
    assert f"127.0.0.1:{config.port}" in problem


def test_cluster_mode_is_named() -> None:
    # The cluster's own port is 10,000 higher unless given, which may be too high.
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ("--cluster-enabled", "yes", "--cluster-port", port)
    with EmbeddedValkey(None, *options) as server:
        client = redis.Redis(port=server.port)
        problems = check_broker_redis(client, CHANNELS)
        client.close()
    assert any("cluster mode" in problem for problem in problems)


def test_a_server_without_functions_is_named(mocker: object, config: RedisConfig) -> None:
    client = config.client()
    info = {**client.info(), "redis_version": "6.2.14"}  # type: ignore[dict-item]
    mocker.patch.object(client, "info", return_value=info)  # type: ignore[attr-defined]
    (problem,) = check_broker_redis(client, CHANNELS)
    client.close()
    assert "6.2.14" in problem
    assert "Redis 7.0 or newer" in problem
