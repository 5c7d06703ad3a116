"""One bridge at a time may write its memory; another one waits, or is told.

Two at once would not double an event, for the ids are the same. But each would write its own half
of the memory, and a position that misses an execution is worse than a bridge that waits.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import redis

from ..utils.processes import has_ended, namespace, start_of

LEASE_S: Final = 5.0


class AnotherBridge(Exception):
    """Another bridge owns the memory now. This one has to end; nothing of it was lost."""

    retry = False

    def __init__(self, owner: str) -> None:
        self.owner = owner
        super().__init__(f"another events bridge is at work: {owner}")


class Ownership:
    """The lease, and the only road by which memory is written. One thread."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client, self._key = client, key
        self._me = f"{this_process()}:{secrets.token_hex(4)}"

    def acquire(self) -> str | None:
        """None if it is ours now, else who has it.

        An owner of this machine whose process is gone is not waited for.
        """
        if self._client.set(self._key, self._me, nx=True, px=int(LEASE_S * 1_000)):
            return None
        found: Any = self._client.get(self._key)
        owner = found.decode() if found else ""
        if owner == self._me:
            return None
        if owner and _is_gone(owner):
            with self._pipeline() as pipe:
                pipe.watch(self._key)
                if pipe.get(self._key) == found:
                    pipe.multi()
                    pipe.set(self._key, self._me, px=int(LEASE_S * 1_000))
                    try:
                        pipe.execute()
                        return None
                    except redis.WatchError:
                        return owner
        return owner or "one that has just ended"

    def write(self, changes: Mapping[str, tuple[Mapping[str, bytes], list[str]]]) -> bool:
        """Write hashes (key to fields and to names that go) in one step, and renew the lease.

        False if nobody owned it: Redis was emptied, and so was the memory. It is ours again now,
        and everything has to be written.

        Raises:
            AnotherBridge: nothing was written.
            redis.RedisError: Redis does not answer; whether it was written is not known, and
                writing it again is harmless.
        """
        with self._pipeline() as pipe:
            pipe.watch(self._key)
            found: Any = pipe.get(self._key)
            if found is None:
                pipe.unwatch()
                if (owner := self.acquire()) is not None:
                    raise AnotherBridge(owner)
                return False
            if found.decode() != self._me:
                raise AnotherBridge(found.decode())
            pipe.multi()
            for key, (fields, gone) in changes.items():
                if fields:
                    pipe.hset(key, mapping=dict(fields))
                if gone:
                    pipe.hdel(key, *gone)
            pipe.set(self._key, self._me, px=int(LEASE_S * 1_000))
            try:
                pipe.execute()
            except redis.WatchError:
                return self.write(changes)
        return True

    def _pipeline(self) -> Any:  # redis-py's own types have holes here
        return self._client.pipeline()

    def release(self) -> None:
        """Let the next one begin at once."""
        with self._pipeline() as pipe:
            pipe.watch(self._key)
            found: Any = pipe.get(self._key)
            if found is not None and found.decode() == self._me:
                pipe.multi()
                pipe.delete(self._key)
                pipe.execute()


def this_process(pid: int | None = None) -> str:
    """`host:process:its start:where`, of a process that runs here; its start and where are empty if
    this system does not tell. `where` is this boot of this machine and the namespace of process
    numbers: two containers may share host name and number."""
    pid = os.getpid() if pid is None else pid
    return f"{socket.gethostname()}:{pid}:{start_of(pid)}:{_where()}"


def _where() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    return f"{boot}/{found}" if (found := namespace()) else ""


def _is_gone(owner: str) -> bool:
    """Whether that was a process of this machine, in the same namespace, and is no more. Of any
    other nothing is known but its lease."""
    process, _, _token = owner.rpartition(":")
    who, _, where = process.rpartition(":")
    host, _, number = who.rpartition(":")[0].rpartition(":")
    if not where or where != _where() or host != socket.gethostname() or not number.isdecimal():
        return False
    if start := start_of(int(number)):
        return start != who.rpartition(":")[2]
    return has_ended(int(number))  # or hidden from us
