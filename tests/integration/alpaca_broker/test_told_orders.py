"""What was told of orders is known by whoever broadcasts next, whatever else was lost."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_broker.leadership import EXPIRY_MS
from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus, Message, broker_config
from tests.integration.alpaca_broker.conftest import StartBroker

pytestmark = pytest.mark.integration

Buy = Callable[[int], None]
OTHER = '{"account_id":"%s","owner":"elsewhere/-/1/x"}'


@pytest.fixture
def buy(sim: LocalAlpaca) -> Buy:
    """`buy(3)`: the third order, filled at once."""
    sim.quote("AAPL", 100.0, 100.1)
    headers = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}

    def place(number: int) -> None:
        order: dict[str, Any] = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "market"}
        more = {"time_in_force": "day", "client_order_id": f"desk:{number}"}
        body = json.dumps(order | more).encode()
        request = urllib.request.Request(f"{sim.url}/v2/orders", body, headers)
        urllib.request.urlopen(request, timeout=5).close()

    return place


def fills(bus: Bus) -> list[tuple[str, str]]:
    """(whose fill, who told it), as a plain reader heard them."""
    orders = [m for m in bus.updates("AAPL", "order") if m["event"] == "fill"]
    return [(m["order_data"]["client_order_id"], m["source"]) for m in orders]


def journalled(bus: Bus) -> list[bytes]:
    return [entry_id for entry_id, _ in bus.redis.xrange("ORDER_LOG_AAPL")]


def reconciled(status: Message) -> bool:
    return bool(status["upstream"]["orders"]["ready"])


def test_a_broker_whose_predecessor_died_with_redis_emptied_tells_nothing_twice(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus, buy: Buy, tmp_path: Path
) -> None:
    """Its record on disk says what was told; the order journals are whole again."""
    bus.listen("TICKER_UPDATES_AAPL")
    first = start_broker(broker_state_dir=str(tmp_path))
    buy(1)
    wait_for(lambda: fills(bus) == [("desk:1", "stream")], what="the first fill")
    before = journalled(bus)
    first.stop()
    buy(2)  # while nobody listens
    bus.redis.flushall()
    bus.redis.function_flush()
    start_broker(broker_state_dir=str(tmp_path))
    wait_for(lambda: len(fills(bus)) == 2, what="the fill that nobody told")
    buy(3)
    wait_for(lambda: len(fills(bus)) == 3, what="a new fill")
    assert fills(bus) == [("desk:1", "stream"), ("desk:2", "reconcile"), ("desk:3", "stream")]
    assert journalled(bus)[: len(before)] == before


def test_without_a_record_what_nobody_can_know_is_told_rather_than_missed(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus, buy: Buy
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    first = start_broker()
    buy(1)
    wait_for(lambda: len(fills(bus)) == 1, what="the first fill")
    first.stop()
    buy(2)
    bus.redis.flushall()
    start_broker()
    wait_for(lambda: ("desk:2", "reconcile") in fills(bus), what="the fill that nobody told")


def test_a_moment_before_which_nobody_knows_stays_one_for_the_next_broker(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus, buy: Buy
) -> None:
    """The overlap of two comparisons does not reach behind the beginning of the first."""
    bus.listen("TICKER_UPDATES_AAPL")
    first = start_broker()
    bus.status(reconciled)
    wait_for(lambda: bus.redis.get("BROKER_RECONCILED"), what="the first comparison")
    until, floor = bus.redis.get("BROKER_RECONCILED").decode().split()
    assert floor < until
    first.stop()
    second = start_broker()
    bus.status(lambda status: reconciled(status) and status["epoch"] > 0)
    wait_for(
        lambda: bus.redis.get("BROKER_RECONCILED").decode().split()[0] > until, what="the second"
    )
    assert bus.redis.get("BROKER_RECONCILED").decode().split()[1] == floor
    assert second.state == "RUNNING"


def test_a_broker_that_was_superseded_still_knows_what_it_told_when_it_leads_again(
    broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    """Redis was emptied while nobody led: the memory of a process outlives its runs."""
    bus.listen("TICKER_UPDATES_AAPL")
    buy(1)
    wait_for(lambda: len(fills(bus)) == 1, what="the first fill")
    before = journalled(bus)
    assert broker.account is not None
    bus.redis.set("BROKER_LEADER", OTHER % broker.account.id, px=EXPIRY_MS)
    wait_for(lambda: broker.state == "STANDBY", what="superseded")
    bus.redis.flushall()
    wait_for(lambda: broker.state == "RUNNING", timeout_s=15, what="the leader again")
    bus.status(reconciled)
    buy(2)
    wait_for(lambda: len(fills(bus)) == 2, what="a new fill")
    assert fills(bus) == [("desk:1", "stream"), ("desk:2", "stream")]
    assert journalled(bus)[: len(before)] == before


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_redis_that_is_frozen_at_the_start_is_waited_for(
    comes_back: bool, sim: LocalAlpaca, own_valkey: EmbeddedValkey
) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    settings = dataclasses.replace(broker_config(config, sim.address), start_timeout_s=1.5)
    broker = AlpacaBroker(settings)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    try:
        broker.start()
        assert (broker.state, broker.reason) == ("DEGRADED", "Redis does not answer yet")
        if not comes_back:
            broker.stop()
            assert broker.state == "STOPPED"
            return
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    wait_for(lambda: broker.state == "RUNNING", what="running")
    broker.stop()
