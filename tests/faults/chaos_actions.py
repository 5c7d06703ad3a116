"""What the chaos run may do: each action begins, lasts for a while, and is undone.

`uses` names what an action needs for itself; two that use the same thing do not overlap, all others
may. Some need more: a muteness has to last until it can be noticed, and one that falls into an
outage of Redis, where nobody reads on, cannot be. The brokers keep a record on disk, so that one
may also be killed when Redis was just emptied.
"""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import redis

from .processes import POISON
from .redis_faults import BUSY
from .stage import Stage

Undo = Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Action:
    """`begin` gets the stage, the seconds that it is to last, and the run's dice."""

    name: str
    begin: Callable[[Stage, float, random.Random], Undo | None]
    lasts_s: tuple[float, float] = (0.0, 0.0)
    uses: frozenset[str] = frozenset()
    weight: int = 2
    needs_habits: bool = False  # the broker has to know what is usual for the tickers
    kills: bool = False  # only in the first quarter, so that memory is measured on one process


def _admin(stage: Stage) -> Any:
    return redis.Redis(port=stage.primary.port, socket_timeout=10, decode_responses=True)


def _cut(*cables: str) -> Callable[[Stage, float, random.Random], Undo | None]:
    def begin(stage: Stage, _: float, __: random.Random) -> None:
        for name in cables:
            stage.cables[name].cut()

    return begin


def _stall(*cables: str) -> Callable[[Stage, float, random.Random], Undo | None]:
    def begin(stage: Stage, _: float, __: random.Random) -> Undo:
        for name in cables:
            stage.cables[name].stall()
        return lambda: [stage.cables[name].flow() for name in cables] and None

    return begin


def _refuse(*cables: str) -> Callable[[Stage, float, random.Random], Undo | None]:
    def begin(stage: Stage, _: float, __: random.Random) -> Undo:
        for name in cables:
            stage.cables[name].refuse()
            stage.cables[name].cut()
        return lambda: [stage.cables[name].admit() for name in cables] and None

    return begin


def _sim_cut(stage: Stage, _: float, dice: random.Random) -> None:
    stage.sim.faults.cut(
        dice.choice(("iex", "trading", "all")), how=dice.choice(("reset", "close"))
    )


def _freeze(stage: Stage, seconds: float, _: random.Random) -> None:
    stage.sim.faults.freeze("all", for_s=seconds)


def _mute(stage: Stage, seconds: float, _: random.Random) -> None:
    stage.sim.faults.mute("data", for_s=seconds)


def _mute_one(stage: Stage, seconds: float, dice: random.Random) -> None:
    symbol = dice.choice(stage.config.tickers)
    stage.sim.faults.mute("data", symbols=[symbol], for_s=seconds)


def _lag(stage: Stage, seconds: float, dice: random.Random) -> None:
    stage.sim.faults.delay("data", seconds=dice.uniform(0.2, 1.0), heap_s=0.3, for_s=seconds)


def _slot(stage: Stage, seconds: float, _: random.Random) -> None:
    stage.sim.faults.hold_slot("iex", for_s=seconds)
    stage.sim.faults.cut("iex")


def _handshakes(stage: Stage, seconds: float, dice: random.Random) -> None:
    stage.sim.faults.refuse_handshake("all", status=dice.choice((429, 503)), for_s=seconds)
    stage.sim.faults.cut("all")


def _subscribe(stage: Stage, _: float, dice: random.Random) -> None:
    faults = stage.sim.faults
    if dice.random() < 0.5:
        faults.die_in_subscribe("data", count=1)
    else:
        faults.omit_from_ack([dice.choice(stage.config.tickers)], count=1)
    faults.cut("iex")


def _slow_client(stage: Stage, _: float, __: random.Random) -> None:
    stage.sim.faults.slow_client("data")


def _malformed(stage: Stage, _: float, dice: random.Random) -> None:
    what = ("garbage", "unknown_type", "null", "nan", "huge", "empty", "not_an_array")
    stage.sim.faults.malformed(dice.choice(("data", "trading")), what=dice.choice(what))


def _repeats(stage: Stage, _: float, dice: random.Random) -> None:
    stage.sim.faults.duplicate(dice.choice(("data", "trading")), count=dice.randint(1, 30))


def _orders_down(stage: Stage, seconds: float, _: random.Random) -> None:
    stage.sim.faults.orders_down(for_s=seconds)


def _fill_dropped(stage: Stage, _: float, __: random.Random) -> None:
    stage.sim.faults.drop("trading", count=1, event="fill")


def _rest_down(stage: Stage, seconds: float, dice: random.Random) -> None:
    stage.sim.faults.rest_error("/v2/", status=dice.choice((429, 500)), for_s=seconds)


def _burst(stage: Stage, _: float, dice: random.Random) -> None:
    for symbol in stage.config.tickers:
        stage.sim.burst(symbol, dice.randint(10, 200))


def _redis_restarts(stage: Stage, _: float, __: random.Random) -> Undo:
    stage.valkey.kill()
    return stage.valkey.start


def _redis_freezes(stage: Stage, _: float, __: random.Random) -> Undo:
    stage.signal_valkey(signal.SIGSTOP)
    return lambda: stage.signal_valkey(signal.SIGCONT)


def _redis_busy(stage: Stage, _: float, dice: random.Random) -> None:
    with _admin(stage) as client:
        client.eval(BUSY, 0, str(dice.randint(200_000, 2_000_000)))


def _flushed(stage: Stage, _: float, __: random.Random) -> None:
    with _admin(stage) as client:
        client.flushall()


def _thrown_out(stage: Stage, _: float, dice: random.Random) -> None:
    with _admin(stage) as client:
        kind = dice.choice(("pubsub", "normal"))
        client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")


def _no_memory(stage: Stage, _: float, __: random.Random) -> Undo:
    with _admin(stage) as client:
        client.config_set("maxmemory", "1mb")

    def undo() -> None:
        with _admin(stage) as client:
            client.config_set("maxmemory", "0")

    return undo


def _killed(stage: Stage, _: float, __: random.Random) -> Undo:
    name = stage.owner()
    stage.brokers[name].kill()
    return lambda: stage.start_broker(name) and None


def _paused(stage: Stage, _: float, __: random.Random) -> Undo:
    program = stage.brokers[stage.owner()]
    program.signal(signal.SIGSTOP)
    return lambda: program.signal(signal.SIGCONT)


def _reader_paused(name: str) -> Callable[[Stage, float, random.Random], Undo | None]:
    def begin(stage: Stage, _: float, __: random.Random) -> Undo:
        stage.readers[name].signal(signal.SIGSTOP)
        return lambda: stage.readers[name].signal(signal.SIGCONT)

    return begin


def _handler(stage: Stage, seconds: float, dice: random.Random) -> None:
    command = dice.choice((f"block {seconds:.1f}", f"raise {dice.randint(1, 50)}"))
    stage.readers["ordinary"].say(command)


def _poison(stage: Stage, _: float, dice: random.Random) -> None:
    with _admin(stage) as client:
        for _number in range(5):
            client.publish("BROKER_REGISTRATION", dice.choice(POISON[:-2]))


def _passers_by(stage: Stage, _: float, dice: random.Random) -> None:
    """Consumers that come for a ticker with a short lease, and say no more."""
    with _admin(stage) as client:
        for number in range(dice.randint(1, 20)):
            request = {
                "action": "subscribe",
                "ticker": dice.choice(("TSLA", "AMZN", "SPY", *stage.config.tickers)),
                "client_id": f"passer-{number}",
                "lease_s": dice.randint(1, 5),
            }
            client.publish("BROKER_REGISTRATION", json.dumps(request))


DATA: Final = frozenset({"data"})
REDIS: Final = frozenset({"redis"})
READER: Final = frozenset({"ordinary"})
ALONE: Final = frozenset({"data", "redis", "broker", "rest"})

ACTIONS: Final = (
    Action(name="connections reset or closed", begin=_sim_cut, uses=DATA, weight=4),
    Action(name="data and trading cables cut", begin=_cut("data", "trading"), uses=DATA),
    Action(name="packets vanish", begin=_stall("data", "trading"), lasts_s=(0.5, 6), uses=DATA),
    Action(
        name="Alpaca unreachable", begin=_refuse("data", "trading"), lasts_s=(0.5, 6), uses=DATA
    ),
    Action(name="half-open", begin=_freeze, lasts_s=(1, 12), uses=DATA),
    Action(name="mute", begin=_mute, lasts_s=(5, 9), uses=ALONE, needs_habits=True),
    Action(name="one ticker mute", begin=_mute_one, lasts_s=(7, 10), uses=ALONE, needs_habits=True),
    Action(name="lag in heaps", begin=_lag, lasts_s=(1, 4), uses=DATA),
    Action(name="406", begin=_slot, lasts_s=(1, 8), uses=DATA),
    Action(name="429 or 503", begin=_handshakes, lasts_s=(1, 6), uses=DATA),
    Action(name="dies or forgets at subscribe", begin=_subscribe, uses=DATA),
    Action(name="407", begin=_slow_client, uses=DATA),
    Action(name="malformed", begin=_malformed),
    Action(name="repeats", begin=_repeats),
    Action(name="orders down", begin=_orders_down, lasts_s=(1, 6), uses=DATA),
    Action(name="a fill dropped", begin=_fill_dropped, weight=1),
    Action(name="REST fails", begin=_rest_down, lasts_s=(1, 5), uses=frozenset({"rest"})),
    Action(name="burst", begin=_burst),
    Action(
        name="Redis restarts empty",
        begin=_redis_restarts,
        lasts_s=(0.1, 2),
        uses=REDIS,
    ),
    Action(name="Redis freezes", begin=_redis_freezes, lasts_s=(0.5, 8), uses=REDIS),
    Action(name="Redis busy", begin=_redis_busy, uses=REDIS),
    Action(name="FLUSHALL", begin=_flushed, uses=REDIS),
    Action(name="clients thrown out", begin=_thrown_out, uses=REDIS),
    Action(name="out of memory", begin=_no_memory, lasts_s=(0.5, 3), uses=REDIS),
    Action(name="broker cut off from Redis", begin=_stall("broker"), lasts_s=(0.5, 8), uses=REDIS),
    Action(name="broker's Redis cable cut", begin=_cut("broker"), uses=REDIS),
    Action(name="reader cut off", begin=_stall("ordinary"), lasts_s=(0.5, 8), uses=READER),
    Action(name="readers' cables cut", begin=_cut("ordinary", "slow", "plain")),
    Action(name="reader paused", begin=_reader_paused("ordinary"), lasts_s=(0.5, 5), uses=READER),
    Action(name="handler blocks or raises", begin=_handler, lasts_s=(0.5, 4), uses=READER),
    Action(name="broker paused", begin=_paused, lasts_s=(0.3, 2), uses=frozenset({"broker"})),
    Action(name="poison", begin=_poison, uses=REDIS),
    Action(name="passers-by", begin=_passers_by, uses=REDIS, weight=3),
    Action(
        name="broker killed",
        begin=_killed,
        lasts_s=(0.1, 2),
        uses=frozenset({"broker", "redis", "data", "rest"}),
        weight=5,
        kills=True,
    ),
)
