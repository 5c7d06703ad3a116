"""What a person types in a second terminal while `up` runs in the first."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
import redis

from main.alpaca_sim import LocalAlpaca, SimConfig, StreamRules
from main.embedded_valkey import EmbeddedValkey
from main.stack import local_alpaca_environment

from .conftest import ENDS_WITHIN_S, PATIENCE_S, Person, Up, ended, free_port, interrupt, read_until

pytestmark = pytest.mark.integration


@pytest.fixture
def second(person: Person, running: Up) -> Person:
    """A second terminal, that knows where Redis is."""
    person.environment["REDIS_URL"] = f"redis://127.0.0.1:{running.redis_port}"
    return person


@pytest.fixture
def bus(running: Up) -> redis.Redis:
    return redis.Redis(port=running.redis_port, socket_timeout=5)


def _wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _clients(bus: redis.Redis) -> set[str]:
    return {field.decode() for field in bus.hkeys("BROKER_LEASES")}  # type: ignore[union-attr]


def test_up_says_where_everything_is_and_what_to_try(running: Up) -> None:
    printed = running.printed
    assert "PAPER account …" in printed
    assert f"Redis         127.0.0.1:{running.redis_port}" in printed
    assert f"local Alpaca  127.0.0.1:{running.sim_port}" in printed
    trades, _, tried = printed.partition("Try in a second terminal:")
    assert _exports(trades)["REDIS_URL"] == f"redis://127.0.0.1:{running.redis_port}"
    for command in ("watch AAPL MSFT", "status", "SUBSCRIBE TICKER_UPDATES_AAPL"):
        assert command in tried
    assert str(running.redis_port) in tried


def test_status_shows_the_heartbeat(second: Person) -> None:
    status = second.types("status")
    assert status.code == 0, status.err
    assert status.out.startswith("PAPER account …SIM1 at the local Alpaca\n")
    assert re.search(r"broker +│ RUNNING", status.out)
    assert re.search(r"orders +│ LIVE, entries may be sent", status.out)


def test_status_all_names_every_counter_too(second: Person) -> None:
    told = second.types("status --all")
    assert told.code == 0, told.err
    assert re.search(r"restarts +[\d,]+ Stops and starts", told.out)


def test_the_doctor_finds_nothing_to_mend_in_what_up_has_brought_up(second: Person) -> None:
    """A loaded machine may be slow, which is its own finding: only what is ours is asked for."""
    told = json.loads(second.types("doctor --json").out)["findings"]
    severity = {finding["name"]: finding["severity"] for finding in told}
    assert severity["redis.persistence"] == severity["alpaca.no_keys"] == "note"
    assert severity["broker.state"] == "fine"


def test_a_ticker_is_registered_listed_and_let_go(second: Person, bus: redis.Redis) -> None:
    register = second.types("register tsla NVDA --for 2h")
    assert register.code == 0, register.err
    assert re.search(r"^TSLA +accepted for 2 h, 1 holder$", register.out, re.M), register.out
    listed = second.types("registrations")
    assert re.search(r"NVDA +│ cli@\S+ +│ trades +│ 2 h", listed.out), listed.out
    assert re.search(r"AAPL +│ scale-t-demo@", listed.out)
    let_go = second.types("unregister TSLA NVDA")
    assert let_go.code == 0, let_go.err
    assert not [field for field in _clients(bus) if "cli@" in field]


def test_a_registration_for_ever_is_anonymous_and_let_go_as_such(
    second: Person, bus: redis.Redis
) -> None:
    assert second.types("register GOOG --forever").code == 0
    listed = second.types("registrations").out
    assert re.search(r"GOOG +│ anonymous +│ trades +│ for ever", listed), listed
    assert second.types("unregister GOOG").code == 1, "cli@… does not hold it"
    assert second.types("unregister --all-anonymous").code == 0
    assert "GOOG|" not in _clients(bus)


def test_somebody_elses_registration_is_let_go_by_name(second: Person, bus: redis.Redis) -> None:
    request = {"action": "subscribe", "ticker": "AMZN", "client_id": "bot-1"}
    bus.publish("BROKER_REGISTRATION", json.dumps(request))
    _wait_for(lambda: "AMZN|bot-1" in _clients(bus), "the registration")
    let_go = second.types("unregister --client bot-1")
    assert let_go.code == 0, let_go.err
    assert let_go.out.startswith("AMZN")
    assert "AMZN|bot-1" not in _clients(bus)


def test_a_rejection_is_told_with_its_reason_and_exit_code_1(second: Person) -> None:
    register = second.types("register AAPL QQQQQQQ")
    assert register.code == 1
    assert re.search(r"^AAPL +accepted", register.out, re.M)
    assert re.search(r"^QQQQQQQ +rejected: unknown_ticker", register.out, re.M)
    second.types("unregister AAPL")


def test_watch_prints_a_line_a_message_and_lets_go_on_ctrl_c(
    second: Person, bus: redis.Redis
) -> None:
    watch = second.starts("watch META")
    read_until(watch, "price")
    line = read_until(watch, "price").splitlines()[-1]
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}  META +price +[\d.]+ x \d+.*", line)
    assert any(field.startswith("META|watch@") for field in _clients(bus))
    asked_at = time.monotonic()
    end = interrupt(watch)
    assert time.monotonic() - asked_at < ENDS_WITHIN_S
    assert end.code == 0, end.err
    assert "Traceback" not in end.err
    assert not any(field.startswith("META|") for field in _clients(bus))


def test_watch_json_prints_what_is_on_the_wire(second: Person, bus: redis.Redis) -> None:
    watch = second.starts("watch MSFT --json")
    printed = read_until(watch, '"type":"price"')
    printed += read_until(watch, '"type":"price"')
    assert interrupt(watch).code == 0
    for line in printed.splitlines():
        message = json.loads(line)
        entry = f"{message['epoch']}-{message['seq']}"
        stored = bus.xrange("TICKER_LOG_MSFT", entry, entry)
        assert stored[0][1][b"m"].decode() == line  # type: ignore[index]


def test_watch_ends_when_nobody_reads_it_any_more(second: Person) -> None:
    watch = second.starts("watch MSFT")
    read_until(watch, "price")
    assert watch.stdout is not None
    watch.stdout.close()
    watch.stdout = None
    assert watch.wait(PATIENCE_S) == 0
    assert watch.stderr is not None
    assert watch.stderr.read() == ""


def test_plain_redis_is_enough_to_register_and_read(bus: redis.Redis) -> None:
    with bus.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
        channel.subscribe("TICKER_UPDATES_NFLX")
        bus.publish("BROKER_REGISTRATION", '{"action":"subscribe","ticker":"NFLX"}')
        message = channel.get_message(timeout=5)
        while message is None:
            message = channel.get_message(timeout=5)
    assert json.loads(message["data"])["symbol"] == "NFLX"
    bus.publish("BROKER_REGISTRATION", '{"action":"unsubscribe","ticker":"NFLX"}')


# -- without `up`


def test_no_broker_is_said_plainly(person: Person, own_valkey: EmbeddedValkey) -> None:
    person.environment["REDIS_URL"] = f"redis://127.0.0.1:{own_valkey.port}"
    status = person.types("status")
    assert status.code == 1
    assert "no broker: no heartbeat" in status.err
    asking = [person.starts(f"{verb} AAPL") for verb in ("register", "unregister", "watch")]
    for answer in map(ended, asking):
        assert answer.code == 1
        assert "no broker is listening" in answer.err
    assert "nobody holds a ticker" in person.types("registrations").out


def test_the_broker_alone_runs_until_it_is_asked_to_end(
    person: Person, own_valkey: EmbeddedValkey
) -> None:
    person.environment["REDIS_URL"] = f"redis://127.0.0.1:{own_valkey.port}"
    sim = person.starts(f"sim --port {free_port()}")
    keys = _exports(read_until(sim, "ALPACA_TRADING_URL"))
    broker = person.starts("broker", LOG_FORMAT="json", **keys)
    assert "PAPER account …" in read_until(broker, "PAPER")
    _wait_for(lambda: person.types("status").code == 0, "a heartbeat")
    asked_at = time.monotonic()
    broker.terminate()
    out, err = broker.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - asked_at < ENDS_WITHIN_S
    assert broker.returncode == 0, out + err
    assert [line for line in err.splitlines() if "event" not in json.loads(line)] == []
    assert interrupt(sim).code == 0


@pytest.mark.parametrize(
    "command",
    ["broker", "scale-t run --ticker AAPL --max-position 10", "demo --plain --tickers AAPL"],
)
def test_wrong_keys_are_one_message_and_exit_code_3(
    person: Person, own_valkey: EmbeddedValkey, command: str
) -> None:
    person.environment["REDIS_URL"] = f"redis://127.0.0.1:{own_valkey.port}"
    with LocalAlpaca(SimConfig()) as alpaca:
        keys = local_alpaca_environment(alpaca.address.port, secret="wrong-one")
        refused = person.types(command, **keys)
    assert refused.code == 3
    assert re.search(r"Alpaca (refuses|does not accept) these keys", refused.err)
    assert "check" in refused.err.lower()
    assert "Traceback" not in refused.err
    assert "wrong-one" not in refused.out + refused.err


def test_a_feed_that_the_plan_lacks_is_one_message_exit_code_3_and_the_state_refused(
    person: Person, own_valkey: EmbeddedValkey
) -> None:
    person.environment["REDIS_URL"] = f"redis://127.0.0.1:{own_valkey.port}"
    bus = redis.Redis(port=own_valkey.port, socket_timeout=5)
    with (
        LocalAlpaca(SimConfig(streams=StreamRules(refused_feeds=("iex",)))) as alpaca,
        bus.pubsub(ignore_subscribe_messages=True) as channel,  # type: ignore[no-untyped-call]
    ):
        channel.subscribe("BROKER_STATUS")
        channel.get_message(timeout=5)  # the confirmation
        refused = person.types("broker", **local_alpaca_environment(alpaca.address.port))
        states = set()
        while (message := channel.get_message(timeout=1)) is not None:
            states.add(json.loads(message["data"])["state"])
    assert refused.code == 3
    assert refused.out.startswith("PAPER account …")
    assert "its plan has ALPACA_DATA_FEED=iex" in refused.err
    assert "REFUSED" in states


def _exports(printed: str) -> dict[str, str]:
    lines = [line.split()[1] for line in printed.splitlines() if line.strip().startswith("export")]
    return dict(line.split("=", 1) for line in lines)


def test_a_second_stack_on_the_same_redis_gives_way(second: Person, running: Up) -> None:
    keys = local_alpaca_environment(running.sim_port)
    demo = second.types("demo --plain --tickers AAPL", **keys)
    assert demo.code == 1
    assert "another broker is RUNNING on this Redis" in demo.err
    assert second.types("status").code == 0
