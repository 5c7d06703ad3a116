"""R1 to R12: what Redis, and the road to it, can do to the broker and the readers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, cast

import redis

from .fault import Fault
from .planted import REDIS_USER
from .stage import Stage, StageConfig

BUSY: Final = """
local begun = redis.call('TIME')
repeat
  local now = redis.call('TIME')
until (now[1] - begun[1]) * 1000000 + now[2] - begun[2] > tonumber(ARGV[1])
return 1
"""


def restart(stage: Stage) -> None:
    stage.cause_begins()
    stage.valkey.kill()
    stage.let_pass(1)
    stage.valkey.start()
    stage.cause_ends()


def frozen(seconds: float) -> Fault:
    def inflict(stage: Stage) -> None:
        stage.cause_begins()
        stage.signal_valkey(signal.SIGSTOP)
        stage.let_pass(seconds)
        stage.signal_valkey(signal.SIGCONT)
        stage.cause_ends()

    return Fault(number="R3", title=f"frozen for {seconds:g} s", inflict=inflict)


def failover(stage: Stage) -> None:
    """The primary stops answering, its replica is promoted and its address moves there; then the
    old one wakes, and becomes a replica."""
    assert stage.replica is not None
    old, new = stage.valkey, stage.replica
    stage.cause_begins()
    stage.signal_valkey(signal.SIGSTOP)
    stage.let_pass(1)
    with _admin(new.port) as client:
        client.replicaof("NO", "ONE")
    stage.move_primary(new)
    stage.cause_ends()
    stage.let_pass(2)
    stage.signal_valkey(signal.SIGCONT)
    with _admin(old.port) as client:
        client.replicaof("127.0.0.1", new.port)


def demoted(stage: Stage) -> None:
    """The roles are swapped while everybody stays connected to the old primary: it answers
    READONLY, and a bare PUBLISH there would still reach those who listen."""
    assert stage.replica is not None
    old, new = stage.valkey, stage.replica
    stage.cause_begins()
    with _admin(new.port) as client:
        client.replicaof("NO", "ONE")
    with _admin(old.port) as client:
        client.replicaof("127.0.0.1", new.port)
    stage.move_primary(new)
    stage.cause_ends()


def sentinel_promotes(stage: Stage) -> None:
    """The primary is killed, the Sentinel promotes the replica; the old one comes back, empty."""
    assert stage.sentinel is not None
    stage.cause_begins()
    stage.valkey.kill()
    _wait_for_promotion(stage)
    stage.cause_ends()
    stage.let_pass(1)
    stage.valkey.start()


def sentinel_swaps(stage: Stage) -> None:
    """The Sentinel swaps the roles while everybody stays connected to the old primary."""
    assert stage.sentinel is not None
    stage.cause_begins()
    stage.sentinel.fail_over()
    _wait_for_promotion(stage)
    stage.cause_ends()


def _wait_for_promotion(stage: Stage) -> None:
    assert stage.sentinel is not None
    assert stage.replica is not None
    new = stage.replica

    def promoted() -> bool:
        with _admin(new.port) as client:
            is_primary = client.info("replication")["role"] == "master"
        return is_primary and stage.sentinel.primary_port() == new.port

    stage.wait_until(promoted, 20, "the Sentinel promotes the replica")
    stage.move_primary(new)


def out_of_memory(stage: Stage) -> None:
    with _admin(stage.primary.port) as client:
        stage.cause_begins()
        client.config_set("maxmemory", "1mb")
        stage.let_pass(3)
        client.config_set("maxmemory", "0")
        stage.cause_ends()


def evicted(stage: Stage) -> None:
    with _admin(stage.primary.port) as client:
        stage.cause_begins()
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", "1mb")
        stage.let_pass(3)
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
        stage.cause_ends()


def output_buffer(stage: Stage) -> None:
    """A reader does not read while much is published, until Redis cuts it off."""
    with _admin(stage.primary.port) as client:
        client.config_set("client-output-buffer-limit", "pubsub 200kb 100kb 1")
        stage.cause_begins()
        stage.cables["ordinary"].stall()

        def listed() -> bool:
            stage.sim.burst("AAPL", 200)
            stage.sim.burst("MSFT", 200)
            clients = client.client_list()
            follows = len(stage.config.tickers)
            return not any(
                c["name"] == "lab-ordinary" and int(c["sub"]) >= follows for c in clients
            )

        stage.wait_until(listed, 60, "Redis cuts the reader off", every_s=0.05)
        client.config_set("client-output-buffer-limit", "pubsub 64mb 32mb 10")
        stage.cables["ordinary"].flow()
        stage.cause_ends()


def pubsub_killed(stage: Stage) -> None:
    with _admin(stage.primary.port) as client:
        stage.cause_begins()
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        stage.cause_ends()


def blocked(stage: Stage) -> None:
    with _admin(stage.primary.port, timeout_s=10) as client:
        stage.cause_begins()
        client.eval(BUSY, 0, "2000000")
        stage.cause_ends()


def revoked(stage: Stage) -> None:
    with _admin(stage.primary.port) as client:
        stage.cause_begins()
        client.execute_command("ACL", "SETUSER", REDIS_USER, "-fcall", "-xrange")
        stage.let_pass(4)
        client.execute_command("ACL", "SETUSER", REDIS_USER, "+@all")
        stage.cause_ends()


def revoked_channels(stage: Stage) -> None:
    with _admin(stage.primary.port) as client:
        stage.cause_begins()
        client.execute_command("ACL", "SETUSER", REDIS_USER, "resetchannels")
        stage.let_pass(4)
        client.execute_command("ACL", "SETUSER", REDIS_USER, "allchannels")
        stage.cause_ends()


def full_house(stage: Stage) -> None:
    """Everybody is thrown out, and all places are taken by others."""
    with _admin(stage.primary.port) as client, ExitStack() as guests:
        limit = len(client.client_list()) + 5
        stage.cause_begins()
        client.config_set("maxclients", limit)
        for kind in ("pubsub", "normal"):
            client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        for _ in range(limit):
            guest = redis.Redis(port=stage.primary.port, socket_timeout=1)
            guests.callback(guest.close)
            try:
                guest.ping()
            except redis.RedisError:
                break
        for kind in ("pubsub",):
            client.execute_command("CLIENT", "KILL", "TYPE", kind)
        stage.let_pass(4)
        client.config_set("maxclients", 10_000)
        stage.cause_ends()


def cut_off(*names: str, seconds: float = 5) -> Callable[[Stage], None]:
    def inflict(stage: Stage) -> None:
        stage.cause_begins()
        for name in names:
            stage.cables[name].stall()
        stage.let_pass(seconds)
        for name in names:
            stage.cables[name].flow()
        stage.cause_ends()

    return inflict


def flushed(stage: Stage) -> None:
    with _admin(stage.primary.port) as client:
        stage.cause_begins()
        client.flushall()
        stage.cause_ends()


class _Admin:
    def __init__(self, port: int, timeout_s: float) -> None:
        self._client = redis.Redis(port=port, socket_timeout=timeout_s, decode_responses=True)

    def __enter__(self) -> Any:
        return cast(Any, self._client)

    def __exit__(self, *_: object) -> None:
        self._client.close()


def _admin(port: int, timeout_s: float = 5) -> _Admin:
    return _Admin(port, timeout_s)


FAULTS: Final = (
    Fault(number="R1", title="restarted empty", inflict=restart),
    Fault(
        number="R2",
        title="restarted with its append-only file",
        inflict=restart,
        stage=StageConfig(valkey=("--appendonly", "yes")),
    ),
    frozen(30),
    Fault(
        number="R4",
        title="failover, the old primary comes back as a replica",
        inflict=failover,
        stage=StageConfig(replica=True),
        plain_may_repeat=True,
    ),
    Fault(
        number="R4b",
        title="roles swapped while all stay connected",
        inflict=demoted,
        stage=StageConfig(replica=True),
        plain_may_repeat=True,
    ),
    Fault(
        number="R4c",
        title="primary killed, a Sentinel promotes the replica",
        inflict=sentinel_promotes,
        stage=StageConfig(sentinel=True),
        plain_may_repeat=True,
    ),
    Fault(
        number="R4d",
        title="a Sentinel swaps the roles while all stay connected",
        inflict=sentinel_swaps,
        stage=StageConfig(sentinel=True),
        plain_may_repeat=True,
    ),
    Fault(number="R5", title="out of memory for 3 s", inflict=out_of_memory),
    Fault(number="R5b", title="keys evicted for 3 s", inflict=evicted),
    Fault(
        number="R6",
        title="one subscriber cut for its output buffer",
        inflict=output_buffer,
        stage=StageConfig(slow_delay_s=0.0005),
    ),
    Fault(number="R7", title="every pub/sub connection killed", inflict=pubsub_killed),
    Fault(number="R8", title="blocked for 2 s by a slow command", inflict=blocked),
    Fault(number="R9", title="rights to write and read revoked for 4 s", inflict=revoked),
    Fault(number="R9b", title="rights to channels revoked for 4 s", inflict=revoked_channels),
    Fault(number="R10", title="connection limit reached for 4 s", inflict=full_house),
    Fault(number="R11", title="cut off: the broker only, 5 s", inflict=cut_off("broker")),
    Fault(number="R11b", title="cut off: one subscriber only, 5 s", inflict=cut_off("ordinary")),
    Fault(
        number="R11c",
        title="cut off: a plain reader only, 5 s",
        inflict=cut_off("plain"),
        detect_s=None,
        note="it detects it by itself, from the numbers",
    ),
    Fault(number="R12", title="FLUSHALL", inflict=flushed, detect_s=2.0),
)
