"""Where Redis is: from a URL, from the environment, and to the wire's bytes."""

from __future__ import annotations

import itertools
import random

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.utils.redis.config import RedisConfig, backoff_delays, pack_command


def test_a_url_says_it_all() -> None:
    config = RedisConfig.from_url("rediss://me:p%40ss@example.com:7000/3", bus_prefix="X_")
    assert config == RedisConfig(
        host="example.com",
        port=7000,
        db=3,
        username="me",
        password="p@ss",
        tls=True,
        bus_prefix="X_",
    )
    assert RedisConfig.from_url("redis://localhost") == RedisConfig()


@pytest.mark.parametrize(
    "url", ["http://localhost", "localhost:6379", "redis://", "redis://:secret-word@h/name"]
)
def test_a_url_that_is_none_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="REDIS_URL") as told:
        RedisConfig.from_url(url)
    assert "secret-word" not in str(told.value)


def test_the_environment_is_read_name_by_name() -> None:
    env = {"REDIS_HOST": "h", "REDIS_PORT": "7", "REDIS_PASSWORD": "", "BUS_PREFIX": "P_"}
    assert RedisConfig.from_env(env) == RedisConfig(host="h", port=7, bus_prefix="P_")
    assert RedisConfig.from_env({}) == RedisConfig()
    url_first = {"REDIS_URL": "redis://other", "REDIS_HOST": "h"}
    assert RedisConfig.from_env(url_first).host == "other"
    with pytest.raises(ValueError, match="REDIS_PORT"):
        RedisConfig.from_env({"REDIS_PORT": "six"})


def test_a_password_is_never_shown() -> None:
    config = RedisConfig(password="secret-word", username="me")
    assert "secret-word" not in repr(config) + str(config) + config.address


@given(st.lists(st.text() | st.binary() | st.integers(), min_size=1))
def test_commands_are_packed_as_a_server_reads_them(arguments: list[str | bytes | int]) -> None:
    try:
        packed = pack_command(*arguments)
    except UnicodeEncodeError:
        return  # half a surrogate pair is no text
    reader = hiredis.Reader()
    reader.feed(packed)
    wanted = [part if isinstance(part, bytes) else str(part).encode() for part in arguments]
    assert reader.gets() == wanted
    assert reader.gets() is False


def test_delays_double_up_to_a_cap_with_jitter() -> None:
    delays = list(itertools.islice(backoff_delays(0.1, 2.0, random.Random(1)), 200))
    for delay, most in zip(delays, [0.1, 0.2, 0.4, 0.8, 1.6, *[2.0] * 195], strict=True):
        assert most / 2 <= delay <= most
    assert len(set(delays)) > 100
