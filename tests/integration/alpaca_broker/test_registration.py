"""From a registration to prices, over real sockets."""

from __future__ import annotations

import json
import time

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus, RawClient
from tests.integration.alpaca_broker.conftest import StartBroker, quiet_market

pytestmark = pytest.mark.integration


def test_a_registered_ticker_is_accepted_and_its_trades_arrive_numbered(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    reply = bus.register("aapl")
    assert (reply["status"], reply["ticker"], reply["holders"]) == ("accepted", "AAPL", 1)
    for price in (101.25, 101.26, 101.27):
        sim.trade("AAPL", price, 50)
    prices = bus.wait_for_trades("AAPL", 3)
    assert [m["price"] for m in prices] == [101.25, 101.26, 101.27]
    assert [m["seq"] for m in prices] == [1, 2, 3]
    assert {m["epoch"] for m in prices} == {bus.status()["epoch"]}
    assert [m["trade_id"] for m in prices] == [t.trade_id for t in sim.oracle.sent_trades("AAPL")]


def test_a_plain_socket_gets_its_first_price_within_a_second(
    sim: LocalAlpaca, broker: AlpacaBroker, redis_config: RedisConfig
) -> None:
    """No library at all: RESP by hand, on a ticker that trades 20 times a second."""
    sim.set_rate("MSFT", 20)
    with RawClient(redis_config.port) as ear, RawClient(redis_config.port) as mouth:
        ear.say("SUBSCRIBE", "TICKER_UPDATES_MSFT")
        ear.hear_until(b"subscribe", 5)
        began = time.monotonic()
        mouth.say("PUBLISH", "BROKER_REGISTRATION", '{"action":"subscribe","ticker":"MSFT"}')
        heard = ear.hear_until(b'"type":"price"', 1.0)
        assert time.monotonic() - began < 1.0
        assert b'"symbol":"MSFT"' in heard


def test_what_is_published_is_what_the_journal_keeps(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.burst("AAPL", 200)
    bus.wait_for_trades("AAPL", 200)
    entries = bus.redis.xrange("TICKER_LOG_AAPL")
    assert [fields[b"m"] for _, fields in entries] == bus.raw["TICKER_UPDATES_AAPL"]
    expected = [f"{m['epoch']}-{m['seq']}".encode() for m in bus.updates("AAPL")]
    assert [entry_id for entry_id, _ in entries] == expected


def test_one_holders_leaving_does_not_cut_the_other(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    assert bus.register("AAPL", "one")["holders"] == 1
    assert bus.register("AAPL", "two")["holders"] == 2
    assert bus.unregister("AAPL", "one")["holders"] == 1
    sim.trade("AAPL", 100.5)
    bus.wait_for_trades("AAPL", 1)
    assert bus.unregister("AAPL", "two")["holders"] == 0
    assert broker.following() == {}
    wait_for(lambda: not any(c.subscriptions.get("trades") for c in sim.connections()))
    sim.trade("AAPL", 100.6)
    bus.register("MSFT")
    assert len(bus.updates("AAPL")) == 1


def test_anonymous_subscribers_are_one_holder(broker: AlpacaBroker, bus: Bus) -> None:
    for _ in range(3):
        reply = bus.reply_to(action="subscribe", ticker="AAPL")
        assert (reply["holders"], reply["client_id"]) == (1, None)
    assert bus.reply_to(action="unsubscribe", ticker="AAPL")["holders"] == 0
    assert broker.following() == {}


def test_a_lease_that_is_not_renewed_ends_and_one_that_is_goes_on(
    broker: AlpacaBroker, bus: Bus
) -> None:
    bus.register("AAPL", lease_s=1)
    bus.register("MSFT", lease_s=2)
    deadline = time.monotonic() + 5
    while "AAPL" in broker.following():
        assert time.monotonic() < deadline, "the lease of one second did not end"
        bus.register("MSFT", lease_s=2)
    assert set(broker.following()) == {"MSFT"}
    assert bus.redis.hkeys("BROKER_LEASES") == [b"MSFT|test"]
    wait_for(lambda: broker.following() == {}, timeout_s=5, what="the end of the other lease")


def test_every_accepted_registration_is_durable_when_it_is_answered(
    broker: AlpacaBroker, bus: Bus
) -> None:
    bus.register("AAPL", lease_s=60)
    stored = json.loads(bus.redis.hget("BROKER_LEASES", "AAPL|test") or b"{}")
    assert (stored["ticker"], stored["client_id"], stored["data"]) == ("AAPL", "test", ["trades"])
    bus.unregister("AAPL")
    assert bus.redis.hlen("BROKER_LEASES") == 0


def test_an_envelope_registers_its_sender(broker: AlpacaBroker, bus: Bus) -> None:
    request = {"action": "subscribe", "ticker": "AAPL", "request_id": "enveloped"}
    bus.ask({"data": request, "sender": "desk-1", "timestamp": "2026-11-21T14:30:05Z"})
    reply = bus.next("BROKER_REGISTRATION_REPLIES", lambda r: r["request_id"] == "enveloped")
    assert (reply["status"], reply["client_id"]) == ("accepted", "desk-1")


# -- what is refused


SUBSCRIBE = {"action": "subscribe", "ticker": "AAPL", "client_id": "test"}


@pytest.mark.parametrize(
    ("request_body", "reason"),
    [
        (b"", "invalid_json"),
        (b"not json", "invalid_json"),
        (b"\xff\xfe\x00", "invalid_json"),
        (b"[]", "invalid_request"),
        ({}, "invalid_request"),
        (SUBSCRIBE | {"action": "follow"}, "invalid_request"),
        (SUBSCRIBE | {"ticker": 5}, "invalid_request"),
        (SUBSCRIBE | {"lease_s": -1}, "invalid_request"),
        (SUBSCRIBE | {"data": ["news"]}, "invalid_request"),
        (SUBSCRIBE | {"padding": "x" * 1_000_000}, "invalid_request"),
        (SUBSCRIBE | {"data": json.loads("[" * 900 + "]" * 900)}, "invalid_request"),
        (SUBSCRIBE | {"ticker": "not a ticker"}, "invalid_ticker"),
        (SUBSCRIBE | {"ticker": "AAPL\r\nPUBLISH x y"}, "invalid_ticker"),
        (SUBSCRIBE | {"ticker": "BRK-B"}, "invalid_ticker"),
        (SUBSCRIBE | {"ticker": "NOSUCH"}, "unknown_ticker"),
        (SUBSCRIBE | {"ticker": "NO/SUCH"}, "unknown_ticker"),
        ({"action": "unsubscribe", "ticker": "MSFT"}, "not_registered"),
        ({"action": "unsubscribe", "ticker": "AAPL", "client_id": "other"}, "not_registered"),
    ],
)
def test_a_bad_request_gets_its_reason_and_changes_nothing_else(
    request_body: object, reason: str, sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL", "holder")
    following = broker.following()
    leases = bus.redis.hgetall("BROKER_LEASES")
    restarts = broker.counters["restarts"]
    counted = broker.counters["registrations_invalid"] + broker.counters["registrations"]
    upstream = [c.subscriptions for c in sim.connections()]

    bus.ask(request_body)
    reply = bus.next("BROKER_REGISTRATION_REPLIES", lambda r: r["status"] == "rejected")
    assert reply["reason"] == reason
    assert reply["detail"]

    assert broker.counters["registrations_invalid"] + broker.counters["registrations"] > counted
    assert broker.following() == following
    assert bus.redis.hgetall("BROKER_LEASES") == leases
    assert broker.counters["restarts"] == restarts
    assert [c.subscriptions for c in sim.connections()] == upstream
    assert broker.state == "RUNNING"
    sim.trade("AAPL", 100.5)
    bus.wait_for_trades("AAPL", 1)
    assert len(bus.heard["BROKER_REGISTRATION_REPLIES"]) == 2, "one reply to every request"


def test_beyond_the_symbol_limit_the_next_is_refused_until_one_leaves(
    start_broker: StartBroker, bus: Bus
) -> None:
    start_broker(alpaca_symbol_limit=2)
    assert bus.register("AAPL")["status"] == "accepted"
    assert bus.register("MSFT")["status"] == "accepted"
    assert bus.register("NVDA")["reason"] == "symbol_limit"
    assert bus.register("BTC/USD")["status"] == "accepted", "each stream has its own budget"
    bus.unregister("AAPL")
    assert bus.register("NVDA")["status"] == "accepted"


def test_a_limit_that_only_alpaca_knows_is_told_too(
    redis_config: RedisConfig, start_broker: StartBroker, bus: Bus
) -> None:
    with quiet_market(symbol_limit=2) as strict:
        broker = start_broker(strict)
        bus.listen("TICKER_UPDATES_AAPL")
        replies = [bus.register(ticker) for ticker in ("AAPL", "MSFT", "NVDA")]
        assert [r["status"] for r in replies] == ["accepted", "accepted", "rejected"]
        assert (replies[2]["reason"], replies[2]["holders"]) == ("symbol_limit", 0)
        assert set(broker.following()) == {"AAPL", "MSFT"}
        assert bus.redis.hlen("BROKER_LEASES") == 2
        strict.trade("AAPL", 100.5)
        bus.wait_for_trades("AAPL", 1)
        broker.stop()


def test_200_registrations_at_once_all_get_their_reply(
    redis_config: RedisConfig, start_broker: StartBroker, sim: LocalAlpaca, bus: Bus
) -> None:
    """X6: 200 consumers wake up together; gathered into few rounds."""
    tickers = ["AAPL", "MSFT", "NVDA", "TSLA", "AMZN"]
    broker = start_broker()
    before = broker.counters["restarts"]
    for number in range(200):
        bus.ask(SUBSCRIBE | {"ticker": tickers[number % 5], "client_id": f"c{number}"})
    replies = wait_for(
        lambda: (
            found if len(found := list(bus.heard["BROKER_REGISTRATION_REPLIES"])) == 200 else None
        )
    )
    assert {reply["status"] for reply in replies} == {"accepted"}
    assert {reply["client_id"] for reply in replies} == {f"c{n}" for n in range(200)}
    assert set(broker.following()) == set(tickers)
    assert broker.counters["restarts"] - before <= 5, "each new ticker restarts at most once"


def test_a_refused_subscription_to_crypto_leaves_the_stocks_alone(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    """The plan lacks crypto: that is told to who asks for it, and nobody else."""
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.faults.refuse_sign_in("crypto", code=409)
    assert bus.register("BTC/USD")["reason"] == "insufficient_subscription"
    assert bus.register("ETH/USD")["reason"] == "insufficient_subscription"
    assert broker.state == "RUNNING"
    sim.trade("AAPL", 100.5)
    bus.wait_for_trades("AAPL", 1)


def test_without_alpacas_answer_a_request_is_refused_within_its_five_seconds(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    sim.faults.delay_acks(30, for_s=6)
    began = time.monotonic()
    assert bus.register("AAPL")["reason"] == "upstream_unavailable"
    assert time.monotonic() - began < 6
    assert broker.following() == {}
    wait_for(
        lambda: bus.register("MSFT")["status"] == "accepted", timeout_s=20, what="acceptance again"
    )
    assert set(broker.following()) == {"MSFT"}
    wait_for(
        lambda: (
            [c.subscriptions["trades"] for c in sim.connections() if c.subscriptions] == [["MSFT"]]
        ),
        what="Alpaca follows nothing for nobody",
    )


def test_who_comes_back_after_its_lease_ended_is_told_of_the_time_between(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    """It was frozen, or Redis was: it still listens, and had not meant to leave."""
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL", lease_s=60)
    sim.trade("AAPL", 100.0)
    bus.wait_for_trades("AAPL", 1)
    bus.register("AAPL", lease_s=1)
    wait_for(lambda: "AAPL" not in broker.following(), what="the lease has ended")
    sim.trade("AAPL", 101.0)
    bus.register("AAPL", lease_s=60)
    sim.trade("AAPL", 102.0)
    prices = [m["price"] for m in bus.wait_for_trades("AAPL", 3)]
    assert prices == [100.0, 101.0, 102.0]
    (gap,) = bus.updates("AAPL", "gap")
    assert (gap["cause"], gap["backfilled"]) == ("upstream_disconnected", True)
