"""U1 to U22: what Alpaca, and the road to it, can do to the broker."""

from __future__ import annotations

import signal
from typing import Final

from main.utils.redis.config import RedisConfig
from main.utils.redis.registration import RegistrationClient

from .fault import Fault
from .orders import call_venue
from .stage import Stage, StageConfig

JUDGED_S: Final = 6.0  # how long the broker has to have watched a ticker before it calls it mute
HALF_DAY: Final = "2026-11-27T17:59:40Z"  # 20 s before an early close


def reset(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.cut("all")
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def half_open(stage: Stage) -> None:
    before = stage.cables["data"].accepted
    stage.cause_begins()
    stage.sim.faults.freeze("all")
    stage.wait_until(lambda: stage.cables["data"].accepted > before, 15, "a new connection")
    stage.sim.faults.heal()
    stage.cause_ends()


def vanish(stage: Stage) -> None:
    """Packets vanish for 5 s, and the same connections go on."""
    stage.cause_begins()
    for name in ("data", "trading"):
        stage.cables[name].stall()
    stage.let_pass(5)
    for name in ("data", "trading"):
        stage.cables[name].flow()
    stage.cause_ends()


def mute(stage: Stage) -> None:
    stage.let_pass(JUDGED_S)
    stage.cause_begins()
    stage.sim.faults.mute("data")
    stage.let_pass(8)
    stage.sim.faults.heal()
    stage.cause_ends()


def mute_symbol(stage: Stage) -> None:
    stage.let_pass(JUDGED_S)
    stage.cause_begins()
    stage.sim.faults.mute("data", symbols=["MSFT"])
    stage.let_pass(8)
    stage.sim.faults.heal()
    stage.cause_ends()


def lag(stage: Stage) -> None:
    """Lag that grows; detection counts from the moment that it passes the broker's bound, 5 s."""
    stage.sim.faults.delay("data", growth=3.0, heap_s=0.5)
    stage.wait_until(lambda: stage.lag_s("ordinary") > 5, 30, "the lag passes 5 s")
    stage.cause_begins()
    stage.let_pass(3)
    stage.sim.faults.heal()
    stage.cause_ends()


def slot_taken(seconds: float) -> Fault:
    def inflict(stage: Stage) -> None:
        stage.cause_begins()
        stage.sim.faults.hold_slot("iex", for_s=seconds)
        stage.sim.faults.cut("iex")
        stage.let_pass(seconds)
        stage.cause_ends()

    return Fault(
        number="U6",
        title=f"406 connection limit exceeded for {seconds:g} s",
        inflict=inflict,
        stage=StageConfig(slow_delay_s=0.005),
    )


def refused(stage: Stage) -> None:
    """Each of these codes ends the broker with exit code 3; then the keys are put right."""
    stage.cause_begins()
    for code in (401, 402, 409):
        stage.sim.faults.refuse_sign_in("data", code=code)
        attempts = stage.cables["data"].accepted
        stage.sim.faults.cut("iex")
        broker = stage.brokers["broker"]
        stage.wait_until(lambda broker=broker: broker.exit_code is not None, 15, "it gives up")
        tries = stage.cables["data"].accepted - attempts
        assert broker.exit_code == 3, f"{code}: exit code {broker.exit_code}, not 3"
        assert tries <= 1, f"{code}: asked {tries} times"
        stage.sim.faults.heal()
        stage.start_broker("broker")
        if code != 409:
            stage.wait_until(stage.runs_again, 20, "it runs with the right keys")
    stage.cause_ends()


def symbol_limit(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.set_symbol_limit(2)
    stage.sim.faults.cut("iex")
    stage.wait_until(
        lambda: len(stage.followed_upstream()) == 2, 10, "those who came first keep their place"
    )
    stage.let_pass(2)
    assert len(stage.followed_upstream()) == 2, "connected with fewer symbols than the plan allows"
    stage.sim.faults.set_symbol_limit(stage.config.symbol_limit)
    stage.cause_ends()


def slow_client(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.slow_client("data")
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def handshakes_refused(stage: Stage) -> None:
    before = stage.cables["data"].accepted
    stage.cause_begins()
    stage.sim.faults.refuse_handshake("all", status=429, for_s=10)
    stage.sim.faults.cut("all")
    stage.let_pass(10)
    stage.sim.faults.refuse_handshake("all", status=503, for_s=10)
    stage.let_pass(10)
    tries = stage.cables["data"].accepted - before
    assert tries <= 30, f"{tries} handshakes in 20 s are a storm of our own"
    stage.cause_ends()


def malformed(stage: Stage) -> None:
    stage.cause_begins()
    for what in ("garbage", "unknown_type", "null", "nan", "huge", "empty", "not_an_array"):
        stage.sim.faults.malformed("data", what=what)
        stage.sim.faults.malformed("trading", what=what)
        stage.let_pass(0.3)
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def repeats(stage: Stage) -> None:
    stage.cause_begins()
    faults, sim = stage.sim.faults, stage.sim
    faults.duplicate("data", count=30)
    stage.let_pass(1.5)
    faults.reorder("data", count=20)
    stage.let_pass(1.5)
    faults.duplicate("trading", count=10)
    stage.let_pass(2)
    serial = sim.oracle.serial("AAPL")
    sim.correct("AAPL", serial - 3, 99.0)
    sim.cancel_trade("AAPL", serial - 4)
    faults.heal()
    stage.cause_ends()


def ack_lacks(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.omit_from_ack(["MSFT"], count=1)
    stage.sim.faults.cut("iex")
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def ack_lacks_unheard(stage: Stage) -> None:
    """The connection is lost twice while Redis takes nothing, and the second time a ticker's place
    with it: what is known to be missing of it waits with what came of it before."""
    stage.cause_begins()
    stage.signal_valkey(signal.SIGSTOP)
    stage.let_pass(0.5)
    stage.sim.faults.cut("iex")
    stage.let_pass(stage.config.zombie_slot_s + 1)
    stage.sim.faults.omit_from_ack(["MSFT"], count=1)
    stage.sim.faults.cut("iex")
    stage.let_pass(stage.config.zombie_slot_s + 1)
    stage.signal_valkey(signal.SIGCONT)
    stage.cause_ends()


def unreachable(stage: Stage) -> None:
    stage.cause_begins()
    for name in ("data", "trading", "rest"):
        stage.cables[name].refuse()
        stage.cables[name].cut()
    stage.let_pass(6)
    for name in ("data", "trading", "rest"):
        stage.cables[name].admit()
    stage.cause_ends()


def clock_steps(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.step_clock(3600)
    stage.let_pass(3)
    stage.sim.faults.step_clock(-3600)
    stage.cause_ends()


def orders_down(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.orders_down(for_s=4)
    stage.let_pass(4)
    stage.cause_ends()


def fill_dropped(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.drop("trading", count=1, event="fill")
    stage.wait_until(lambda: not stage.sim.faults.active(), 10, "a fill was dropped")
    stage.cause_ends()


def halt(stage: Stage) -> None:
    stage.let_pass(JUDGED_S)
    before = stage.cables["data"].accepted
    stage.cause_begins()
    stage.sim.halt("AAPL")
    stage.let_pass(8)
    stage.sim.resume("AAPL")
    stage.cause_ends()
    assert stage.cables["data"].accepted == before, "a halt caused a reconnect"


def half_day(stage: Stage) -> None:
    """An early close, and Monday's open: silence that the calendar explains."""
    stage.wait_until(lambda: stage.sim_phase() != "regular", 40, "the market closes early")
    before = stage.cables["data"].accepted
    stage.cause_begins()
    for symbol in stage.config.tickers:
        stage.sim.set_rate(symbol, 0)
    stage.let_pass(10)
    assert stage.cables["data"].accepted == before, "a closed market caused a reconnect"
    for symbol in stage.config.tickers:
        stage.sim.set_rate(symbol, stage.config.rate)
    stage.sim.faults.step_clock(2.9 * 86_400)
    stage.sim.set_session("regular")
    stage.cause_ends()


def die_in_subscribe(stage: Stage) -> None:
    stage.cause_begins()
    stage.sim.faults.die_in_subscribe("data", count=2)
    stage.sim.faults.cut("iex")
    stage.wait_until(lambda: not stage.sim.faults.active(), 20, "it died twice while subscribing")
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def corporate(stage: Stage) -> None:
    """A split, and a new name overnight: its old followers fall silent, the new one is followed."""
    stage.start_reader("follower", tickers=("TSLA",))
    stage.reader_is_there("follower")
    stage.cause_begins()
    stage.sim.split("MSFT", 4)
    stage.sim.rename("TSLA", "TSLX")
    config = RedisConfig(host="127.0.0.1", port=stage.primary.port)
    with RegistrationClient(config, "renamed") as client:
        (reply,) = client.register(["TSLX"], 10)
        assert reply.status == "accepted", reply
        assert "TSLX" in stage.followed_upstream()
        stage.let_pass(2)
        client.unregister(["TSLX"])
    stage.cause_ends()


def by_hand(stage: Stage) -> None:
    stage.cause_begins()
    for number in range(6):
        side = "buy" if number < 4 else "sell"
        stage.sim.order_by_hand(
            symbol="AAPL", qty="2", side=side, type="market", time_in_force="day"
        )
        stage.let_pass(0.1)
    stage.cause_ends()


def races(stage: Stage) -> None:
    stage.cause_begins()
    port = stage.sim.address.port
    for outcome in ("fill", "partial_fill", "refuse", "late_fill"):
        for verb, body in (("DELETE", None), ("PATCH", {"limit_price": "1.2"})):
            order = call_venue(
                port,
                "POST",
                "/v2/orders",
                {
                    "symbol": "MSFT",
                    "side": "buy",
                    "type": "limit",
                    "qty": "4",
                    "limit_price": "1",
                    "time_in_force": "day",
                },
            )
            assert order is not None
            stage.let_pass(0.1)
            stage.sim.lose_race(outcome, order["id"])
            call_venue(port, verb, f"/v2/orders/{order['id']}", body)
            stage.let_pass(0.1)
    stage.cause_ends()


LIVELY: Final = StageConfig(rate=40.0, slow_delay_s=0.005)

FAULTS: Final = (
    Fault(number="U1", title="TCP reset", inflict=reset),
    Fault(number="U2", title="half-open: no FIN, no answer, for ever", inflict=half_open),
    Fault(number="U2b", title="packets vanish for 5 s, then flow again", inflict=vanish),
    Fault(number="U3", title="mute for 8 s, pings answered", inflict=mute, stage=LIVELY),
    Fault(number="U4", title="one ticker mute for 8 s", inflict=mute_symbol, stage=LIVELY),
    Fault(number="U5", title="lag grows, arrays grow long", inflict=lag),
    slot_taken(90),
    Fault(
        number="U7",
        title="401, 402, 409 at sign-in",
        inflict=refused,
        note="the broker ends with code 3 and is started again with the right keys",
    ),
    Fault(number="U8", title="405 on the reconnect's first subscribe", inflict=symbol_limit),
    Fault(number="U9", title="407 slow client, closed", inflict=slow_client),
    Fault(number="U10", title="429 and 503 at the handshake for 20 s", inflict=handshakes_refused),
    Fault(
        number="U11",
        title="malformed frames of seven kinds, 5 MB among them",
        inflict=malformed,
        detect_s=None,
    ),
    Fault(
        number="U12",
        title="repeats, disorder, a correction, a cancel",
        inflict=repeats,
        detect_s=None,
        upstream_disorder=True,
    ),
    Fault(number="U13", title="the acknowledgement lacks a ticker", inflict=ack_lacks),
    Fault(
        number="U13b",
        title="the same while Redis is frozen",
        inflict=ack_lacks_unheard,
    ),
    Fault(number="U14", title="no connection to any Alpaca host for 6 s", inflict=unreachable),
    Fault(
        number="U15",
        title="the clocks differ by an hour for 3 s",
        inflict=clock_steps,
        detect_s=None,
    ),
    Fault(number="U16", title="the order stream is down while orders fill", inflict=orders_down),
    Fault(
        number="U17",
        title="one fill dropped on a healthy stream",
        inflict=fill_dropped,
        detect_s=None,
        note="found by the next comparison with REST, at most 30 s later",
    ),
    Fault(number="U18", title="a halt of 8 s", inflict=halt, stage=LIVELY, detect_s=None),
    Fault(
        number="U18b",
        title="an early close, then overnight",
        inflict=half_day,
        stage=StageConfig(clock_start=HALF_DAY),
        detect_s=None,
    ),
    Fault(number="U19", title="the connection dies while subscribing", inflict=die_in_subscribe),
    Fault(number="U20", title="a split, a new name", inflict=corporate, detect_s=None),
    Fault(number="U21", title="orders by hand", inflict=by_hand, detect_s=None),
    Fault(number="U22", title="lost races of cancel and replace", inflict=races, detect_s=None),
)
