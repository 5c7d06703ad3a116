"""One scale_t for each ticker of a client: two would take each other's orders for their own.

Two locks, for two cases. The lease in Redis is seen from every machine; it is renewed every second
and runs out soon after its holder died. The lock on the state file is seen on this machine only,
but needs no Redis, and the system lets go of it in the moment in which its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import redis
import structlog

from ..utils.processes import is_gone, machine
from ..utils.redis.config import RedisConfig
from ..utils.redis.constants import BusNames
from .saved import StateFileBroken

log: Final = structlog.get_logger("tickerbus.scale_t")

EXPIRY_MS: Final = 4_000
RENEW_S: Final = 1.0
LOOK_S: Final = 0.2
NEVER: Final = -1  # PTTL's word for a key that does not run out


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who has it. `token`: of one run, so that no two are the same."""

    pid: int
    machine: str
    token: str

    @classmethod
    def me(cls) -> Holder:
        return cls(pid=os.getpid(), machine=machine(), token=uuid.uuid4().hex)

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.machine.partition('/')[0]}"


class AlreadyRuns(Exception):
    """Another scale_t has the ticker. Nothing was sent."""

    def __init__(self, client_id: str, ticker: str, holder: object) -> None:
        super().__init__(
            f"scale-t already runs for {ticker} as {client_id} ({holder}): "
            "stop that one first, or give another --client-id"
        )


class StateLock:
    """On the state file, for as long as this process lives or until `release`."""

    def __init__(self, state_file: Path, client_id: str, ticker: str) -> None:
        self._path = state_file.with_suffix(".lock")
        self._client_id, self._ticker = client_id, ticker
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Raises:
        AlreadyRuns: another process of this machine has it.
        StateFileBroken: it cannot be written, or this disk knows no locks.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.ExitStack() as opened:
                file = opened.enter_context(self._path.open("a+b"))
                self._lock(file)
                opened.pop_all()
        except OSError as error:
            raise StateFileBroken(
                f"{self._path} cannot be locked ({error}): give another folder with --state-dir"
            ) from error
        self._file = file  # it stays there: who removed it might remove the next one's

    def _lock(self, file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRuns(self._client_id, self._ticker, _holder(file.read())) from None
        file.truncate(0)
        file.write(msgspec.json.encode(Holder.me()))
        file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class TickerLease:
    """In Redis. `on_lost(holder)` is called on the keeper's thread when another took it."""

    def __init__(
        self,
        config: RedisConfig,
        client_id: str,
        ticker: str,
        on_lost: Callable[[str], object],
    ) -> None:
        self._client = config.client()
        self._key = BusNames(config.bus_prefix).get_consumer_lease(client_id, ticker)
        self._client_id, self._ticker, self._on_lost = client_id, ticker, on_lost
        self._mine = msgspec.json.encode(Holder.me())
        self._ended = threading.Event()
        self._away_told = False
        self._thread = threading.Thread(target=self._keep, name="ticker-lease", daemon=True)

    def take(self, pause: Callable[[float], object] = time.sleep) -> None:
        """Wait for a dead holder's lease to run out; one that is renewed meanwhile is alive.

        A Redis that does not answer or allow it is told, and no reason not to start: without a
        heartbeat no entry is sent, and the state file is locked.

        Raises:
            AlreadyRuns: another one renews it.
        """
        lowest_ms, dead = math.inf, b""
        while (found := self._try(dead)) is not None:
            holder, left_ms = found
            if left_ms > lowest_ms or left_ms == NEVER:  # no lease of ours, somebody put it there
                raise AlreadyRuns(self._client_id, self._ticker, _holder(holder))
            lowest_ms, dead = left_ms, holder if _is_dead(holder) else b""
            if not dead:
                pause(LOOK_S)
        self._thread.start()

    def close(self, timeout_s: float = 0.5) -> None:
        """Let go of it."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        with contextlib.suppress(redis.RedisError, OSError):
            self._give_back()
        self._client.close()

    # -- private

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_S):
            found = self._try(b"")
            if found is not None and not self._ended.is_set():
                self._on_lost(_holder(found[0]))
                return

    def _try(self, dead: bytes) -> tuple[bytes, int] | None:
        """Who else has it, and for how many milliseconds; None if it is ours, or nobody can say."""
        try:
            found = self._take_if_free(dead)
        except (redis.RedisError, OSError) as error:
            if not self._away_told:
                log.warning("scale_t.no_lease", reason=str(error))
            self._away_told = True
            return None
        self._away_told = False
        return found

    def _take_if_free(self, dead: bytes) -> tuple[bytes, int] | None:
        """Where it is free, ours already, or `dead`'s: in a transaction, for a script would need a
        right that no strategy should have."""
        with self._pipeline() as pipe:
            while True:
                pipe.watch(self._key)
                found = pipe.get(self._key)
                if found not in (None, self._mine, dead):
                    return found, pipe.pttl(self._key)
                pipe.multi()
                pipe.set(self._key, self._mine, px=EXPIRY_MS)
                with contextlib.suppress(redis.WatchError):  # somebody was quicker: look again
                    pipe.execute()
                    return None

    def _give_back(self) -> None:
        with self._pipeline() as pipe:
            pipe.watch(self._key)
            if pipe.get(self._key) == self._mine:
                pipe.multi()
                pipe.delete(self._key)
                pipe.execute()

    def _pipeline(self) -> Any:  # redis-py's own types have holes here
        return self._client.pipeline()


def _is_dead(holder: bytes) -> bool:
    try:
        known = msgspec.json.decode(holder, type=Holder)
    except msgspec.DecodeError:
        return False
    return is_gone(known.machine, known.pid)


def _holder(told: bytes) -> str:
    try:
        return str(msgspec.json.decode(told, type=Holder))
    except msgspec.DecodeError:
        return "it does not say where"
