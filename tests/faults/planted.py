"""Secrets that the lab gives its programs, and looks for in all that can be seen from outside."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final

from main.alpaca_sim.config import Credentials

KEYS: Final = Credentials(key_id="PKLABPLANTEDKEY", secret="planted-alpaca-secret")
REDIS_USER: Final = "lab"
REDIS_PASSWORD: Final = "planted-redis-password"
SECRETS: Final = (KEYS.key_id, KEYS.secret, REDIS_PASSWORD)
USER_RULES: Final = ("--user", REDIS_USER, "on", f">{REDIS_PASSWORD}", "~*", "&*", "+@all")


class Leaks:
    """Where a secret was seen. Any thread may look."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._lock = threading.Lock()

    def look(self, where: str, text: str | bytes) -> None:
        words = text.decode(errors="replace") if isinstance(text, bytes) else text
        for secret in SECRETS:
            if secret in words:
                with self._lock:
                    self.found.append(f"{where} shows {secret[:9]}…: {words[:200]!r}")

    def look_through_redis(self, client: Any) -> int:
        """Look at every key and value; returns how many values were seen."""
        seen = 0
        for key in client.scan_iter(count=1_000):
            self.look("a key of Redis", key)
            for value in _values(client, key):
                self.look(f"Redis, {key!r}", value)
                seen += 1
        return seen


def _values(client: Any, key: bytes) -> Iterator[bytes]:
    kind = client.type(key)
    if kind == b"string":
        yield client.get(key) or b""
    elif kind == b"hash":
        for name, value in client.hgetall(key).items():
            yield from (name, value)
    elif kind == b"set":
        yield from client.smembers(key)
    elif kind == b"stream":
        for _, fields in client.xrange(key):
            yield from fields.values()
    else:
        raise AssertionError(f"{key!r} is a {kind!r}: the lab does not know how to look into it")
