"""One owner: the leader's key on a real Valkey, with a fake clock for the waiting."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import redis

from main.alpaca_broker.leadership import EXPIRY_MS, Leadership, Standing
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.errors import Fenced
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for

Seek = Callable[..., Leadership]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(redis_config: RedisConfig) -> Iterator[redis.Redis]:
    client = redis_config.client()
    yield client
    client.close()


@pytest.fixture
def candidate(client: redis.Redis, clock: Clock) -> Seek:
    def make(account_id: str = "mine") -> Leadership:
        return Leadership(client, CHANNELS, account_id, clock)

    return make


def test_the_first_takes_it_at_once_and_the_second_waits(candidate: Seek) -> None:
    first, second = candidate(), candidate()
    assert first.seek() is Standing.RETAKEN
    assert second.seek() is Standing.WAITING
    assert second.holder is not None
    assert first.renew() is Standing.OWNER


def test_a_clean_stop_hands_over_at_once(candidate: Seek) -> None:
    first, second = candidate(), candidate()
    first.seek()
    second.seek()
    first.release()
    assert second.seek() is Standing.RETAKEN
    assert first.renew() is Standing.WAITING


def test_who_does_not_own_it_cannot_release_it(candidate: Seek, client: redis.Redis) -> None:
    first, second = candidate(), candidate()
    first.seek()
    second.release()
    assert first.renew() is Standing.OWNER
    assert client.pttl(CHANNELS.BROKER_LEADER) > 0


def test_a_standby_takes_an_absent_key_only_after_one_whole_expiry(
    candidate: Seek, client: redis.Redis, clock: Clock
) -> None:
    first, second = candidate(), candidate()
    first.seek()
    second.seek()
    client.flushall()
    assert second.seek() is Standing.WAITING
    clock.now += EXPIRY_MS / 1000 - 0.01
    assert second.seek() is Standing.WAITING
    clock.now += 0.01
    assert second.seek() is Standing.RETAKEN


def test_an_owner_takes_the_key_back_when_redis_was_emptied(
    candidate: Seek, client: redis.Redis
) -> None:
    first, second = candidate(), candidate()
    first.seek()
    second.seek()
    client.flushall()
    client.function_flush()
    assert second.seek() is Standing.WAITING
    assert first.renew() is Standing.RETAKEN
    assert second.seek() is Standing.WAITING
    assert first.renew() is Standing.OWNER


def test_a_first_start_waits_while_a_broker_still_listens_for_registrations(
    candidate: Seek, client: redis.Redis, clock: Clock
) -> None:
    with client.pubsub() as listener:
        listener.subscribe(CHANNELS.BROKER_REGISTRATION)
        wait_for(lambda: listener.get_message(timeout=1), what="subscribed")
        newcomer = candidate()
        assert newcomer.seek() is Standing.WAITING
        clock.now += EXPIRY_MS / 1000
        assert newcomer.seek() is Standing.RETAKEN


def test_a_redis_that_was_away_makes_the_wait_begin_again(
    candidate: Seek, client: redis.Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = candidate(), candidate()
    first.seek()
    second.seek()
    client.delete(CHANNELS.BROKER_LEADER)
    second.seek()
    clock.now += EXPIRY_MS / 1000
    with monkeypatch.context() as away:

        def refuse(*_arguments: object) -> None:
            raise redis.ConnectionError("away")

        away.setattr(client, "fcall", refuse)
        with pytest.raises(redis.ConnectionError):
            second.seek()
    assert second.seek() is Standing.WAITING


def test_another_accounts_broker_is_told_apart(candidate: Seek) -> None:
    candidate("theirs").seek()
    mine = candidate("mine")
    assert mine.seek() is Standing.FOREIGN
    assert mine.holder is not None


def test_an_owner_that_slept_finds_itself_superseded(
    candidate: Seek, client: redis.Redis, clock: Clock
) -> None:
    first, second = candidate(), candidate()
    first.seek()
    second.seek()
    client.delete(CHANNELS.BROKER_LEADER)  # its expiry passed while it slept
    second.seek()
    clock.now += EXPIRY_MS / 1000
    second.seek()
    assert first.renew() is Standing.WAITING


def test_a_standby_waits_a_whole_expiry_also_when_redis_was_emptied_and_nobody_listens_yet(
    candidate: Seek, client: redis.Redis, clock: Clock
) -> None:
    """After a restart of Redis the owner needs a moment to come back."""
    owner, standby = candidate(), candidate()
    owner.seek()
    standby.seek()
    client.flushall()
    assert standby.seek() is Standing.WAITING
    assert owner.renew() is Standing.RETAKEN
    client.flushall()
    assert standby.seek() is Standing.WAITING
    clock.now += EXPIRY_MS / 1000
    assert standby.seek() is Standing.RETAKEN


def test_a_killed_owner_on_this_machine_is_not_waited_for(
    redis_config: RedisConfig, candidate: Seek
) -> None:
    program = (
        "import os, sys\n"
        "from main.alpaca_broker.leadership import Leadership\n"
        "from main.utils.redis.config import RedisConfig\n"
        "from main.utils.redis.constants import CHANNELS\n"
        "client = RedisConfig(host='127.0.0.1', port=int(sys.argv[1])).client()\n"
        "print(Leadership(client, CHANNELS, 'mine').seek().value, flush=True)\n"
        "sys.stdin.read()\n"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", program, str(redis_config.port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdin is not None
    try:
        assert owner.stdout.readline().strip() == "retaken"
        successor = candidate()
        assert successor.seek() is Standing.WAITING
        owner.kill()
        wait_for(lambda: successor.seek() is Standing.RETAKEN, timeout_s=2)
    finally:
        owner.kill()
        owner.wait()
        owner.stdin.close()
        owner.stdout.close()


def test_an_owner_elsewhere_is_never_taken_for_dead(candidate: Seek, client: redis.Redis) -> None:
    value = '{"account_id":"mine","owner":"another-host/-/999999999/x"}'
    client.set(CHANNELS.BROKER_LEADER, value, px=EXPIRY_MS)
    assert candidate().seek() is Standing.WAITING
    assert client.get(CHANNELS.BROKER_LEADER) == value.encode()


def test_an_epoch_is_opened_only_by_the_leader_and_only_upwards(
    redis_config: RedisConfig, candidate: Seek, client: redis.Redis
) -> None:
    leader = candidate()
    leader.seek()
    client.set(CHANNELS.BROKER_EPOCH, 9_000_000_000_000)
    with RedisPublisher(redis_config) as publisher:
        assert publisher.open_epoch(leader.value) == 9_000_000_000_001
        with pytest.raises(Fenced):
            publisher.open_epoch(candidate().value)
        assert client.get(CHANNELS.BROKER_EPOCH) == b"9000000000001"
        assert publisher.epoch == 9_000_000_000_001
