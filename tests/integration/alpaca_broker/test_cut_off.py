"""An owner that does not reach Redis: alone, or like everybody else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from main.alpaca_broker import AlpacaBroker, leader_watch, leadership
from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.faults.cable import Cable
from tests.integration.alpaca_broker.bench import Bus, broker_config
from tests.integration.alpaca_broker.conftest import StartBroker

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_watch, "LET_GO_S", 2.0)
    monkeypatch.setattr(leadership, "EXPIRY_MS", 1_000)


@pytest.fixture
def cable(redis_config: RedisConfig) -> Iterator[Cable]:
    with Cable("owner", redis_config.port) as cable:
        yield cable
        cable.flow()


def test_an_owner_that_only_itself_is_cut_off_leaves_the_slot_to_the_one_who_leads(
    sim: LocalAlpaca, start_broker: StartBroker, cable: Cable, bus: Bus
) -> None:
    """Alpaca gives one: kept, it would keep the standby from the market for ever."""
    bus.listen("TICKER_UPDATES_AAPL")
    owner = start_broker(redis_url=f"redis://127.0.0.1:{cable.port}")
    bus.register("AAPL")
    sim.trade("AAPL", 100.0)
    bus.wait_for_trades("AAPL", 1)
    standby = start_broker()
    assert standby.state == "STANDBY"
    cable.stall()
    wait_for(lambda: standby.state == "RUNNING", timeout_s=20, what="the standby leads")
    sim.trade("AAPL", 101.0)
    bus.wait_for_trades("AAPL", 2)
    cable.flow()
    wait_for(lambda: owner.state == "STANDBY", what="the one who was cut off finds out")
    assert standby.state == "RUNNING"
    signed_in = [c for c in sim.connections() if c.endpoint == "iex"]
    assert len(signed_in) == 1


def test_when_redis_itself_was_away_for_long_the_slot_is_taken_again_and_the_time_refilled(
    sim: LocalAlpaca, own_valkey: EmbeddedValkey
) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    owner = AlpacaBroker(broker_config(config, sim.address))
    owner.start()
    with Bus(config) as bus:
        bus.listen("TICKER_UPDATES_AAPL")
        bus.register("AAPL")
        sim.trade("AAPL", 100.0)
        bus.wait_for_trades("AAPL", 1)
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            wait_for(
                lambda: not [c for c in sim.connections() if c.endpoint == "iex"],
                timeout_s=20,
                what="the slot let go of",
            )
            assert [c for c in sim.connections() if c.endpoint == "trading"]
            sim.trade("AAPL", 101.0)
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        wait_for(lambda: owner.state == "RUNNING", what="running again")
        sim.trade("AAPL", 102.0)
        wait_for(lambda: prices(bus)[-1:] == [102.0], timeout_s=20, what="the newest trade")
        assert prices(bus) == [100.0, 101.0, 102.0]
        (gap,) = bus.updates("AAPL", "gap")
        assert (gap["cause"], gap["backfilled"]) == ("upstream_disconnected", True)
    owner.stop()


def prices(bus: Bus) -> list[float]:
    return [m["price"] for m in bus.updates("AAPL", "price")]
