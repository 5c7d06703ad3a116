"""Which broker process owns the Alpaca connection: one key with an expiry, by compare and set.

The owner renews it every second. A clean stop lets go of it at once; otherwise a standby takes it
when, with Redis reachable, it has been absent for one whole expiry: an owner that was merely cut
off from Redis keeps its upstream, and takes the key back first.

An owner cannot tell a Redis that is away from one that only it does not reach. In the first case
nobody else can lead, and what it keeps is worth keeping; in the second a standby leads by now, and
waits for the one slot that Alpaca gives. So it keeps its market-data connections for `LET_GO_S`:
by then what waits for Redis is folded to the last price anyway, and a refill by REST brings more.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import msgspec
import redis

from ..utils.processes import is_gone, machine
from ..utils.redis.constants import BusNames
from ..utils.redis.functions import call_function

EXPIRY_MS: Final = 3_000
LET_GO_S: Final = 40.0


class Standing(Enum):
    """Where this process stands."""

    OWNER = "owner"
    RETAKEN = "retaken"  # owner, but the key was gone: Redis was emptied
    WAITING = "waiting"  # another broker of this account has it, or may come back for it
    FOREIGN = "foreign"  # a broker of another account has it


class Leadership:
    """One process's claim for one account. Every method raises redis.RedisError."""

    def __init__(
        self,
        client: redis.Redis,
        names: BusNames,
        account_id: str,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._names, self._clock_s = client, names, clock_s
        self._account_id = account_id
        self._mine = _encode(account_id, f"{machine()}/{os.getpid()}/{uuid.uuid4().hex}")
        self._absent_since_s: float | None = None
        self._led_s = clock_s()
        self.holder: str | None = None  # who has it, while it is not this process
        self._found: bytes | None = None  # the key's value, while it is another's

    @property
    def value(self) -> str:
        """What the key holds while this process leads."""
        return self._mine

    def seek(self) -> Standing:
        """Take the leadership if it is free."""
        waited = self._absent_for_s() >= EXPIRY_MS / 1000
        try:
            standing = self._lead(may_take=waited or self._is_first())
            if standing is Standing.WAITING and self._bury_dead_owner():
                standing = self._lead(may_take=False)
            return standing
        except redis.RedisError:
            # Nobody could come back for the key meanwhile: the wait begins again.
            self._absent_since_s = None
            raise

    def renew(self) -> Standing:
        """Keep the leadership; one that vanished with Redis's data is taken back."""
        return self._lead(may_take=True)

    def unknown_for_s(self) -> float:
        """How long ago the leadership was last found to be this process's."""
        return self._clock_s() - self._led_s

    def release(self) -> None:
        """Hand over at once."""
        self._let_go(self._mine)

    def _let_go(self, value: str) -> None:
        """Write "let go" in place of `value`, if that is there."""
        key = self._names.BROKER_LEADER
        let_go = _encode(self._account_id, None)
        call_function(self._client, "tickerbus_release_3", [key], value, let_go, EXPIRY_MS)

    def _bury_dead_owner(self) -> bool:
        """An owner that was a process of this machine, and is none any more, will not come back:
        nobody has to wait for its key to expire. Whether there was one."""
        if self._found is None or not _is_dead(self.holder):
            return False
        self._let_go(self._found.decode())
        return True

    def _lead(self, may_take: bool) -> Standing:
        verdict, found = call_function(
            self._client,
            "tickerbus_lead_3",
            [self._names.BROKER_LEADER],
            self._mine,
            EXPIRY_MS,
            int(may_take),
        )
        if verdict == b"ABSENT":
            if self._absent_since_s is None:
                self._absent_since_s = self._clock_s()
            return Standing.WAITING
        self._absent_since_s = self._found = None
        if verdict == b"OTHER":
            self._found = found
            account_id, self.holder = _decode(found)
            mine = account_id == self._account_id
            return Standing.WAITING if mine else Standing.FOREIGN
        self._led_s = self._clock_s()
        return Standing.OWNER if verdict == b"MINE" else Standing.RETAKEN

    def _absent_for_s(self) -> float:
        since = self._absent_since_s
        return 0.0 if since is None else self._clock_s() - since

    def _is_first(self) -> bool:
        """Where no broker hears registrations, none is alive that could come back for an absent
        key: so a first start does not wait. Who has seen an owner does: when Redis was restarted,
        nobody listens for a moment."""
        if self.holder is not None:
            return False
        reply: Any = self._client.pubsub_numsub(self._names.BROKER_REGISTRATION)
        return all(listeners == 0 for _, listeners in reply)


def _encode(account_id: str, owner: str | None) -> str:
    return msgspec.json.encode({"account_id": account_id, "owner": owner}).decode()


def _decode(value: bytes) -> tuple[str | None, str | None]:
    try:
        fields = msgspec.json.decode(value)
        return fields.get("account_id"), fields.get("owner")
    except (msgspec.DecodeError, AttributeError):
        return None, repr(value[:80])


def _is_dead(owner: str | None) -> bool:
    """Whether an owner was a process of this machine that is gone. Elsewhere nobody can tell."""
    of_machine, _, process = (owner or "").rpartition("/")[0].rpartition("/")
    return process.isdecimal() and is_gone(of_machine, int(process))
