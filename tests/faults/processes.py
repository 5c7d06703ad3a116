"""X1 to X12: what processes and machines can do."""

from __future__ import annotations

import json
import resource
import signal
import time
from contextlib import ExitStack, closing
from typing import Any, Final

import redis

from main.alpaca_sim import LocalAlpaca, SimConfig
from main.alpaca_sim.venue_config import VenueConfig

from .fault import Fault
from .planted import KEYS
from .programs import Program
from .stage import Stage, StageConfig


def killed(stage: Stage) -> None:
    """In the middle of a burst, and started again at once."""
    stage.cause_begins()
    for symbol in stage.config.tickers:
        stage.sim.burst(symbol, 200)
    stage.brokers["broker"].kill()
    stage.start_broker("broker")
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def killed_and_emptied(stage: Stage) -> None:
    """Redis loses everything, and in the same moment the one who could have written it again."""
    stage.cause_begins()
    with closing(redis.Redis(port=stage.primary.port)) as client:
        client.flushall()
    stage.brokers["broker"].kill()
    stage.start_broker("broker")
    stage.let_pass(stage.config.zombie_slot_s)
    stage.cause_ends()


def killed_with_standby(stage: Stage) -> None:
    stage.cause_begins()
    stage.brokers["broker"].kill()
    stage.ended_on_purpose.add("broker")
    stage.cause_ends()


def paused(seconds: float) -> Fault:
    def inflict(stage: Stage) -> None:
        """The slot of the one that sleeps is free once Alpaca has missed its pongs: then the
        standby is let in."""
        stage.cause_begins()
        stage.brokers["broker"].signal(signal.SIGSTOP)
        stage.wait_until(stage.slot_is_free, 60, "Alpaca reaps the sleeping broker's slot")
        stage.cause_ends()
        stage.wait_until(stage.recovered_at, 30, "the standby publishes")
        stage.let_pass(max(0.0, seconds - (time.time_ns() - stage.cause_began) / 1e9))
        stage.brokers["broker"].signal(signal.SIGCONT)
        stage.wait_until(
            lambda: any("broker.superseded" in word for word in stage.words("broker")),
            20,
            "the old owner steps down",
        )

    return Fault(
        number="X2",
        title=f"paused for {seconds:g} s, a standby takes over, the old one wakes",
        inflict=inflict,
        stage=StageConfig(standby=True),
        recover_s=10.0,
        most_connections=2,
        note="leadership after 6 s, and the slot of a connection that does not answer; the "
        "standby's sign-in is refused with 406 until then",
    )


def handler_blocks(stage: Stage) -> None:
    stage.cause_begins()
    stage.readers["ordinary"].say("block 5")
    stage.let_pass(5.5)
    stage.readers["ordinary"].say("raise 20")
    stage.let_pass(1)
    stage.cause_ends()
    worst = stage.worst_delay_s("plain", stage.cause_began)
    assert worst < 1.0, f"one blocked handler delayed another reader by {worst:.1f} s"


def disk_full(stage: Stage) -> None:
    """Redis cannot save: it refuses writes, as it does on a full disk."""
    client = redis.Redis(port=stage.primary.port, decode_responses=True)
    folder = client.config_get("dir")["dir"]
    stage.cause_begins()
    client.config_set("save", "1 1")
    client.config_set("dbfilename", "a-name-" + "x" * 300)  # no file can be called so
    stage.wait_until(
        lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 20, "saving fails"
    )
    stage.let_pass(3)
    client.config_set("dbfilename", "dump.rdb")
    client.config_set("dir", folder)
    client.bgsave()
    stage.wait_until(
        lambda: client.info("persistence")["rdb_last_bgsave_status"] == "ok", 20, "it saves"
    )
    client.config_set("save", "")
    stage.cause_ends()
    client.close()


def rolled(stage: Stage) -> None:
    """A clean stop hands over at once."""
    stage.cause_begins()
    stage.ended_on_purpose.add("broker")
    stage.stop_broker("broker")
    stage.cause_ends()
    assert stage.exit_codes["broker"] == 0, stage.exit_codes


def crowd(stage: Stage) -> None:
    """200 consumers register at once, and leave."""
    tickers = [*stage.config.tickers, "AMZN", "TSLA", "SPY", "GOOG"]
    stage.cause_begins()
    with ExitStack() as crowd_of_clients:
        clients = []
        for _ in range(200):
            client = redis.Redis(port=stage.primary.port, socket_timeout=5)
            crowd_of_clients.callback(client.close)
            client.ping()
            clients.append(client)
        for action in ("subscribe", "unsubscribe"):
            replies = stage.ask_many(clients, action, tickers)
            refused = [reply for reply in replies if reply["status"] != "accepted"]
            assert not refused, refused[:3]
            assert len(replies) == 200, f"{len(replies)} replies to 200 requests"
    stage.cause_ends()


def dies_silently(stage: Stage) -> None:
    """A consumer with a lease of 3 s is killed; its ticker is let go of."""
    stage.start_reader("doomed", "--lease-s", "3", tickers=("TSLA",))
    stage.reader_is_there("doomed")
    assert "TSLA" in stage.followed_upstream()
    stage.cause_begins()
    stage.readers["doomed"].kill()
    stage.forget_reader("doomed")
    stage.wait_until(lambda: "TSLA" not in stage.followed_upstream(), 6, "its lease ends")
    stage.cause_ends()


POISON: Final[tuple[bytes, ...]] = (
    b"",
    b"\xff\xfe\x00",
    b"null",
    b"[]",
    b"42",
    b'"AAPL"',
    b"{" * 5_000,
    b"[" * 100_000,
    b'{"action":"subscribe","ticker":' + b'"A"' * 2 + b"}",
    json.dumps({"action": "subscribe", "ticker": "A" * 1_000_000}).encode(),
    json.dumps({"action": "subscribe", "ticker": ["AAPL"]}).encode(),
    json.dumps({"action": "subscribe", "ticker": "AAPL\r\nPUBLISH x y"}).encode(),
    json.dumps({"action": "subscribe", "ticker": "../BROKER_STATUS"}).encode(),
    json.dumps({"action": "subscribe", "ticker": "*"}).encode(),
    json.dumps({"action": "subscribe", "ticker": "AAPL", "lease_s": "x"}).encode(),
    json.dumps(
        {"action": "subscribe", "ticker": "AAPL", "client_id": "x", "lease_s": 10**30}
    ).encode(),
    json.dumps({"action": "subscribe", "ticker": "AAPL", "client_id": "a|b\x00"}).encode(),
    json.dumps({"action": {"$ne": 1}, "ticker": "AAPL"}).encode(),
    json.dumps({"action": "subscribe", "ticker": "AAPL", "data": ["trades"] * 10_000}).encode(),
    json.dumps({"action": "subscribe", "ticker": "AAPL", "data": "everything"}).encode(),
    json.dumps({"action": "unsubscribe", "ticker": "MSFT"}).encode(),
    b'{"action":"subscribe","ticker":"AAPL","lease_s":NaN}',
)


def poison(stage: Stage) -> None:
    client = redis.Redis(port=stage.primary.port)
    held = set(stage.leases_left())
    stage.cause_begins()
    for _ in range(3):
        for payload in POISON:
            client.publish("BROKER_REGISTRATION", payload)
    stage.let_pass(2)
    stage.cause_ends()
    extra = [one for one in set(stage.leases_left()) - held if "AAPL" not in one]
    assert not extra, f"poison became registrations: {extra}"
    client.publish("BROKER_REGISTRATION", b'{"action":"unsubscribe","ticker":"AAPL"}')
    client.close()


def no_descriptors(stage: Stage) -> None:
    """The broker may open no more files, and then loses every connection that it has."""
    pid = stage.brokers["broker"].pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    stage.cause_begins()
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    stage.cables["broker"].cut()
    stage.sim.faults.cut("all")
    stage.let_pass(4)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    stage.cause_ends()


def asked_to_end(stage: Stage) -> None:
    """In the middle of a burst; then started again."""
    stage.cause_begins()
    for symbol in stage.config.tickers:
        stage.sim.burst(symbol, 200)
    stage.stop_broker("broker")
    assert stage.exit_codes["broker"] == 0, stage.exit_codes
    assert stage.stop_s["broker"] < 5, f"it took {stage.stop_s['broker']:.1f} s"
    stage.start_broker("broker")
    stage.wait_until(stage.let_in_again, 20, "Alpaca lets the new one in")
    stage.cause_ends()


def asked_to_end_early(stage: Stage) -> None:
    """While it starts, at six moments; and while registrations restart the producers."""
    stage.cause_begins()
    client = redis.Redis(port=stage.primary.port)
    for number in range(30):
        request = {"action": "subscribe", "ticker": f"T{number}", "client_id": f"c{number}"}
        client.publish("BROKER_REGISTRATION", json.dumps(request | {"lease_s": 5}))
    stage.stop_broker("broker")
    _check_parting(stage, "broker")
    client.close()
    for delay_s in (0.3, 0.6, 0.8, 1.0, 1.3, 1.8):
        stage.start_broker("broker")
        stage.let_pass(delay_s)
        stage.stop_broker("broker")
        _check_parting(stage, "broker")
    stage.start_broker("broker")
    stage.wait_until(stage.let_in_again, 20, "Alpaca lets the new one in")
    stage.cause_ends()


def _check_parting(stage: Stage, name: str) -> None:
    # Before Python has read the program, nobody is there to drain anything: -15 is the kernel's.
    code = stage.exit_codes[name]
    assert code in (0, -signal.SIGTERM), f"exit code {code}"
    assert stage.stop_s[name] < 5, f"it took {stage.stop_s[name]:.1f} s"


def other_account(stage: Stage) -> None:
    """A second account: under the same prefix it is refused, under its own it runs beside."""
    other = SimConfig(
        control_port=None,
        credentials=KEYS,
        venue=VenueConfig(account_id="0ther", account_number="PA3OTHER"),
    )
    stage.cause_begins()
    with LocalAlpaca(other) as second:
        addresses = {
            "ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{second.address.port}",
            "ALPACA_TRADING_STREAM_URL": f"ws://127.0.0.1:{second.address.port}/stream",
            "ALPACA_DATA_URL": second.url,
            "ALPACA_TRADING_URL": second.url,
        }
        intruder = stage.start_broker("intruder", **addresses)
        assert intruder.wait(15) == 2, f"exit code {intruder.exit_code}, not 2"
        stage.ended_on_purpose.add("intruder")
        neighbour: Program = stage.start_broker("neighbour", BUS_PREFIX="OTHER_", **addresses)
        client = redis.Redis(port=stage.primary.port, socket_timeout=5)
        channel = client.pubsub(ignore_subscribe_messages=True)
        channel.subscribe("OTHER_BROKER_STATUS")

        def runs() -> bool:
            assert neighbour.exit_code is None, neighbour.exit_code
            message: Any = channel.get_message(timeout=0.2)
            return bool(message) and json.loads(message["data"])["state"] == "RUNNING"

        stage.wait_until(runs, 20, "the other account's broker runs beside")
        stage.stop_broker("neighbour")
        stage.ended_on_purpose.add("neighbour")
        channel.close()
        client.close()
    stage.cause_ends()


WITH_STANDBY: Final = StageConfig(standby=True)

FAULTS: Final = (
    Fault(number="X1", title="SIGKILL in mid-batch, started again", inflict=killed),
    Fault(
        number="X1c",
        title="FLUSHALL and SIGKILL together, started again",
        inflict=killed_and_emptied,
        plain_may_repeat=True,
        note="what was told of orders is on disk (BROKER_STATE_DIR), all but the last "
        "milliseconds: a reader without the library may hear such an event twice",
    ),
    Fault(
        number="X1b",
        title="SIGKILL, a standby takes over",
        inflict=killed_with_standby,
        stage=WITH_STANDBY,
        recover_s=10.0,
        note="a leader that is gone is waited for: expiry 3 s, then absent for 3 s",
    ),
    paused(60),
    Fault(
        number="X3",
        title="a handler blocks 5 s, then raises",
        inflict=handler_blocks,
        detect_s=None,
    ),
    Fault(
        number="X4",
        title="disk full: Redis refuses writes for 3 s",
        inflict=disk_full,
        stage=StageConfig(valkey=("--enable-protected-configs", "yes")),
        detect_s=None,
        note="a background save that cannot be written stops writes, as on a full disk",
    ),
    Fault(
        number="X5",
        title="rolling upgrade: a clean stop hands over",
        inflict=rolled,
        stage=WITH_STANDBY,
        note="two processes of one release: there is no second release yet",
    ),
    Fault(number="X6", title="200 consumers register at once", inflict=crowd, detect_s=None),
    Fault(
        number="X7",
        title="a consumer dies without unregistering",
        inflict=dies_silently,
        detect_s=None,
    ),
    Fault(number="X8", title="poisonous registrations", inflict=poison, detect_s=None),
    Fault(number="X9", title="no file descriptors for 4 s", inflict=no_descriptors),
    Fault(number="X10", title="SIGTERM in mid-batch, started again", inflict=asked_to_end),
    Fault(
        number="X11",
        title="SIGTERM during start-up and a registration restart",
        inflict=asked_to_end_early,
    ),
    Fault(
        number="X12",
        title="a second account on the same Redis",
        inflict=other_account,
        detect_s=None,
    ),
)
