"""Start, stop, refuse, be killed and come back."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
from websockets.sync.client import connect

from main.alpaca_broker import AlpacaBroker, BrokerNotReady, BrokerRefused
from main.alpaca_broker.errors import IllegalTransition
from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RedisUnavailable
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus, broker_config
from tests.integration.alpaca_broker.conftest import StartBroker

pytestmark = pytest.mark.integration

OURS = {"price-producer", "order-producer", "registration", "heartbeat", "lifecycle"}


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


# -- the state table, from outside


def test_starting_twice_raises_and_changes_nothing(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    epoch, running = bus.status()["epoch"], threads()
    with pytest.raises(IllegalTransition):
        broker.start()
    assert (broker.state, threads(), bus.status()["epoch"]) == ("RUNNING", running, epoch)
    assert len(sim.connections()) == 2
    sim.trade("AAPL", 100.5)
    bus.wait_for_trades("AAPL", 1)


def test_before_the_start_nothing_can_be_done_and_nothing_changes(
    sim: LocalAlpaca, new_broker: StartBroker
) -> None:
    broker = new_broker()
    with pytest.raises(IllegalTransition):
        broker.stop()
    with pytest.raises((IllegalTransition, BrokerNotReady)):
        broker.stop_update_publisher()
    with pytest.raises((IllegalTransition, BrokerNotReady)):
        broker.start_update_publisher()
    with pytest.raises((IllegalTransition, BrokerNotReady)):
        broker.subscribe_symbols({"AAPL": frozenset({"trades"})})
    assert (broker.state, broker.following()) == ("STOPPED", {})
    assert sim.connections() == []
    broker.start()
    assert broker.state == "RUNNING"
    broker.stop()


def test_stopping_twice_raises_and_changes_nothing(broker: AlpacaBroker) -> None:
    broker.stop()
    with pytest.raises(IllegalTransition):
        broker.stop()
    assert broker.state == "STOPPED"


def test_the_update_publisher_obeys_its_own_table(broker: AlpacaBroker) -> None:
    with pytest.raises(IllegalTransition):
        broker.start_update_publisher()
    broker.stop_update_publisher()
    assert not {"price-producer", "order-producer"} & threads()
    with pytest.raises(IllegalTransition):
        broker.stop_update_publisher()
    broker.start_update_publisher()
    assert {"price-producer", "order-producer"} <= threads()


def test_what_arrives_while_the_update_publisher_is_stopped_is_published_after_it(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    broker.stop_update_publisher()
    sim.burst("AAPL", 100)
    bus.status()
    assert bus.updates("AAPL") == []
    broker.start_update_publisher()
    assert [m["seq"] for m in bus.wait_for_trades("AAPL", 100)] == list(range(1, 101))


def test_a_stopped_broker_leaves_no_thread_and_no_connection_and_can_start_again(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus, redis_config: RedisConfig
) -> None:
    before = threads()
    broker = start_broker()
    assert threads() >= OURS
    bus.register("AAPL")
    first_epoch = bus.status()["epoch"]
    broker.stop()
    wait_for(lambda: threads() <= before, what=f"the end of {threads() - before}")
    assert sim.connections() == []
    bus.next("BROKER_STATUS", lambda s: s["state"] == "STOPPED")
    names = [client["name"] for client in bus.redis.client_list()]
    assert "tickerbus-broker" not in names
    broker.start()
    assert broker.state == "RUNNING"
    assert set(broker.following()) == {"AAPL"}
    assert bus.status()["epoch"] > first_epoch


def test_a_stop_publishes_all_that_was_received(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.burst("AAPL", 3_000)
    bus.wait_for_trades("AAPL", 1)
    broker.stop()
    last = bus.next("BROKER_STATUS", lambda s: s["state"] == "STOPPED")
    published = last["tickers"]["AAPL"]["seq"]
    heard = [m["trade_id"] for m in bus.wait_for_trades("AAPL", published)]
    assert heard == [t.trade_id for t in sim.oracle.sent_trades("AAPL")][:published]
    assert broker.parts is not None
    assert broker.parts.prices.take(0) == [], "received, and not published"


def test_the_slot_at_alpaca_is_free_at_once_after_a_stop(
    sim: LocalAlpaca, start_broker: StartBroker
) -> None:
    """Each connection is closed properly: a second broker finds no 406."""
    start_broker().stop()
    second = start_broker()
    assert second.state == "RUNNING"
    assert sum(n for name, n in status_counters(second).items() if "slot_taken" in name) == 0


def status_counters(broker: AlpacaBroker) -> dict[str, int]:
    client = broker.config.redis.client()
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("BROKER_STATUS")
    try:
        message = wait_for(lambda: pubsub.get_message(timeout=1))
        counters: dict[str, int] = json.loads(message["data"])["counters"]
        return counters
    finally:
        pubsub.close()
        client.close()


def test_a_stop_in_the_middle_of_a_round_ends_within_its_deadline(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    """X11: the round waits for an answer that does not come."""
    sim.faults.delay_acks(60)
    bus.ask({"action": "subscribe", "ticker": "AAPL", "client_id": "test"})
    wait_for(lambda: any(c.endpoint == "iex" for c in sim.connections()))
    wait_for(lambda: broker.counters["registrations"] == 1)
    began = time.monotonic()
    broker.stop()
    assert time.monotonic() - began < 5
    assert broker.state == "STOPPED"


# -- refused


@pytest.mark.parametrize(
    "wrong",
    [{"alpaca_api_secret": "wrong"}, {"alpaca_api_key": "wrong"}],
)
def test_wrong_keys_are_refused_once_and_never_in_a_loop(
    wrong: dict[str, str], sim: LocalAlpaca, new_broker: StartBroker, bus: Bus
) -> None:
    broker = new_broker(**wrong)
    with pytest.raises(BrokerRefused) as refusal:
        broker.start()
    assert refusal.value.exit_code == 3
    assert broker.state == "REFUSED"
    assert broker.reason
    assert bus.status(lambda s: s["state"] == "REFUSED")["epoch"] == 0, "it took no epoch"
    seen = opened(sim)
    bus.status()
    bus.status()
    assert opened(sim) == seen + 1, "it went on asking"
    broker.stop()


def opened(sim: LocalAlpaca) -> int:
    """How many market-data connections there ever were: they are numbered, this one the last."""
    with connect(sim.stream_url("test")):
        return next(c.number for c in sim.connections() if c.endpoint == "test")


def test_a_feed_that_the_plan_lacks_is_refused(
    sim: LocalAlpaca, new_broker: StartBroker, bus: Bus
) -> None:
    sim.faults.refuse_sign_in("iex", code=409)
    broker = new_broker()
    with pytest.raises(BrokerRefused, match="409"):
        broker.start()
    assert broker.state == "REFUSED"
    assert bus.status(lambda s: s["state"] == "REFUSED")
    assert opened(sim) == 2, "it asked more than once"
    bus.status()
    bus.status()
    assert opened(sim) == 3, "it went on asking"
    broker.stop()
    assert broker.state == "STOPPED"


def test_keys_that_are_revoked_while_it_runs_refuse_it(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    sim.faults.refuse_sign_in("iex", code=402)
    sim.faults.cut("iex", how="close")
    assert broker.wait(10)
    assert broker.state == "REFUSED"
    assert "402" in str(broker.reason)
    assert bus.status(lambda s: s["state"] == "REFUSED")


# -- Redis


def test_without_redis_it_does_not_start(sim: LocalAlpaca) -> None:
    with EmbeddedValkey() as valkey:
        gone = RedisConfig(host="127.0.0.1", port=valkey.port)
    broker = AlpacaBroker(broker_config(gone, sim.address))
    with pytest.raises(RedisUnavailable):
        broker.start()
    assert broker.state == "STOPPED"
    assert sim.connections() == []


def test_it_subscribes_to_the_registration_channel_and_to_nothing_else(
    broker: AlpacaBroker, redis_config: RedisConfig
) -> None:
    client = redis_config.client()
    try:
        ours = [c for c in client.client_list() if c["name"] == "tickerbus-broker"]
        listening = [c for c in ours if int(c["sub"]) + int(c["psub"]) > 0]
        assert [(int(c["sub"]), int(c["psub"])) for c in listening] == [(1, 0)]
        assert client.pubsub_channels() == [b"BROKER_REGISTRATION"]
        assert client.pubsub_numpat() == 0
    finally:
        client.close()


def test_the_registration_subscriber_is_never_away(
    broker: AlpacaBroker, bus: Bus, redis_config: RedisConfig
) -> None:
    """It does not stop with the producers: its connection stays the same through restarts."""

    def listener() -> list[str]:
        return [
            c["id"]
            for c in bus.redis.client_list()
            if c["name"] == "tickerbus-broker" and int(c["sub"]) == 1
        ]

    before = listener()
    for ticker in ("AAPL", "MSFT", "NVDA"):
        bus.register(ticker)
        bus.unregister(ticker)
    assert broker.counters["restarts"] >= 6
    assert listener() == before


def test_the_heartbeat_comes_each_second_and_counts_what_is_published(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.burst("AAPL", 25)
    bus.wait_for_trades("AAPL", 25)
    status = bus.status(lambda s: s["tickers"].get("AAPL", {}).get("seq") == 25)
    assert (status["state"], status["paper"]) == ("RUNNING", True)
    assert status["account_id"]
    assert status["upstream"]["prices"]["symbols"] == 1
    assert status["upstream"]["orders"]["state"] == "LIVE"
    began, count = time.monotonic(), len(bus.heard["BROKER_STATUS"])
    wait_for(lambda: len(bus.heard["BROKER_STATUS"]) >= count + 3, timeout_s=5)
    assert 1.5 < time.monotonic() - began < 4.5


def test_the_heartbeats_number_is_never_ahead_of_what_was_published(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus
) -> None:
    """It goes the ordered path: who reads both can tell a hole from a message under way."""
    order: list[tuple[str, int]] = []
    listener = bus.redis.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("BROKER_STATUS", "TICKER_UPDATES_AAPL")
    broker = start_broker()
    sim.set_rate("AAPL", 500)
    bus.register("AAPL")
    deadline = time.monotonic() + 3.5
    while time.monotonic() < deadline:
        message = listener.get_message(timeout=0.2)
        if message is None:
            continue
        fields = json.loads(message["data"])
        if fields["type"] == "broker_status":
            seq = fields.get("tickers", {}).get("AAPL", {}).get("seq", 0)
            order.append(("status", seq))
        elif "seq" in fields:
            order.append(("message", fields["seq"]))
    listener.close()
    assert broker.state == "RUNNING"
    seen, compared = 0, 0
    for kind, seq in order:
        if kind == "message":
            seen = seq
        elif seq:
            assert seq == seen, "the heartbeat overtook a message, or came late"
            compared += 1
    assert compared >= 2


# -- coming back


def test_a_new_broker_resumes_what_was_held(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus
) -> None:
    first = start_broker()
    bus.register("AAPL", lease_s=3_600)
    bus.register("BTC/USD", lease_s=3_600)
    bus.reply_to(action="subscribe", ticker="MSFT")
    bus.register("NVDA", lease_s=1)
    wait_for(lambda: "NVDA" not in first.following(), timeout_s=5)
    first.stop()
    bus.listen("TICKER_UPDATES_AAPL", "TICKER_UPDATES_MSFT")
    second = start_broker()
    assert set(second.following()) == {"AAPL", "MSFT", "BTC/USD"}
    wait_for(
        lambda: (
            sorted(
                ticker for c in sim.connections() for ticker in c.subscriptions.get("trades", ())
            )
            == ["AAPL", "BTC/USD", "MSFT"]
        )
    )
    sim.trade("AAPL", 100.5)
    sim.trade("MSFT", 100.5)
    bus.wait_for_trades("AAPL", 1)
    bus.wait_for_trades("MSFT", 1)


def test_a_restored_ticker_beyond_the_plan_is_not_followed_in_silence(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus
) -> None:
    """405 poisoning: what Alpaca refuses must not stay among what is followed."""
    first = start_broker()
    for ticker in ("AAPL", "MSFT", "NVDA"):
        bus.register(ticker, lease_s=3_600)
    first.stop()
    sim.faults.set_symbol_limit(2)
    second = start_broker()
    wait_for(lambda: len(second.following()) == 2, what="two tickers instead of three")
    assert list(second.following()) == ["AAPL", "MSFT"]


def standbys(bus: Bus) -> int:
    clients: Any = bus.redis.client_list()
    return sum(client["name"] == "tickerbus-standby" for client in clients)


def test_the_first_broker_keeps_its_place_and_the_second_waits(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus
) -> None:
    """One upstream connection per endpoint, ever."""
    first = start_broker()
    bus.register("AAPL", lease_s=3_600)
    second = start_broker()
    assert second.state == "STANDBY"
    assert len(sim.connections()) == 2
    wait_for(lambda: standbys(bus) == 1, what="Redis's list of clients shows the standby")
    first.stop()
    wait_for(lambda: second.state == "RUNNING", timeout_s=5)
    assert standbys(bus) == 0
    assert set(second.following()) == {"AAPL"}
    assert len(sim.connections()) == 2


def test_the_owner_keeps_its_place_while_alpaca_keeps_it_waiting(
    sim: LocalAlpaca, new_broker: StartBroker
) -> None:
    """To reach Alpaca may take longer than the leadership lasts without being renewed."""
    sim.faults.hold_slot("iex", for_s=7.5)
    first, second = new_broker(), new_broker()
    starting = threading.Thread(target=first.start)
    starting.start()
    wait_for(lambda: first.parts is not None and first.parts.leadership is not None)
    second.start()
    starting.join(15)
    wait_for(lambda: first.state == "RUNNING")  # `start` may have returned before: DEGRADED
    assert second.state == "STANDBY"
    assert len(sim.connections()) == 2


def test_a_standby_outwaits_another_accounts_broker(
    start_broker: StartBroker, bus: Bus, redis_config: RedisConfig
) -> None:
    """Once it stood by, it does not end where nobody sees it."""
    first, second = start_broker(), start_broker()
    assert second.state == "STANDBY"
    foreign = json.dumps({"account_id": "another", "owner": "elsewhere"})
    bus.redis.set("BROKER_LEADER", foreign, px=1_500)
    wait_for(lambda: first.state == "STANDBY", what="superseded")
    time.sleep(1)
    assert (first.state, second.state) == ("STANDBY", "STANDBY")
    wait_for(lambda: "RUNNING" in (first.state, second.state), 15, "one of them leads again")


def test_a_foreign_value_under_a_journals_name_keeps_nobody_from_starting(
    new_broker: StartBroker, bus: Bus
) -> None:
    bus.redis.set("ORDER_LOG_AAPL", "no stream")
    bus.redis.set("TICKER_LOG_MSFT", "no stream")
    lease = {"ticker": "MSFT", "client_id": "a", "until_ms": None, "data": ["trades"]}
    bus.redis.hset("BROKER_LEASES", "MSFT|a", json.dumps(lease))
    broker = new_broker()
    broker.start()
    assert broker.state == "RUNNING"
    assert set(broker.following()) == {"MSFT"}
