"""The lab finds a planted secret wherever it is shown."""

from __future__ import annotations

import pytest
import redis

from main.embedded_valkey import EmbeddedValkey
from tests.faults.planted import KEYS, REDIS_PASSWORD, SECRETS, Leaks


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_what_a_process_says_is_found(secret: str) -> None:
    leaks = Leaks()
    leaks.look("what broker says", '{"event":"redis.connected"}')
    assert not leaks.found
    leaks.look("what broker says", f"cannot connect to redis://lab:{secret}@host")
    assert len(leaks.found) == 1


@pytest.mark.integration
def test_secrets_in_any_kind_of_key_are_found() -> None:
    with EmbeddedValkey() as valkey, redis.Redis(port=valkey.port) as client:
        client.set("a", f"x{KEYS.secret}x")
        client.hset("b", f"{KEYS.key_id}", "1")
        client.sadd("c", REDIS_PASSWORD)
        client.xadd("d", {"m": f'{{"key":"{KEYS.key_id}"}}'})
        client.set(f"e{REDIS_PASSWORD}", "1")
        leaks = Leaks()
        assert leaks.look_through_redis(client) == 6
        assert len(leaks.found) == 5
