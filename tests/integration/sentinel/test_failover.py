"""The primary dies, or is demoted: broker and subscribers go on with the next, without a loss."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from main.alpaca_broker import AlpacaBroker, BrokerConfig
from main.alpaca_sim import LocalAlpaca
from main.settings import load_settings
from main.utils.redis.messages import GapMessage, OrderMessage, PriceMessage
from main.utils.redis.registration import LeaseKeeper, RegistrationClient
from main.utils.redis.start import Start
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.sentinel.conftest import Trio

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ORDER = {
    "symbol": "AAPL",
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "limit_price": "1.00",
    "time_in_force": "day",
}


class Traffic:
    """Trades and orders without a pause; what they were, to compare with what was heard."""

    def __init__(self, sim: LocalAlpaca) -> None:
        self.orders: list[str] = []
        self.trades = 0
        self._sim, self._ending = sim, threading.Event()
        self._thread = threading.Thread(target=self._flow, name="traffic")

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(5)

    def _flow(self) -> None:
        while not self._ending.wait(0.02):
            self.trades += 1
            self._sim.trade("AAPL", 100 + self.trades / 100)
            if self.trades % 5 == 0:
                self.orders.append(self._sim.order_by_hand(**ORDER))


class Reader:
    """A strategy with the library."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def __call__(self, message: Any) -> None:
        self.heard.append(message)

    @property
    def events(self) -> Counter[tuple[str, str]]:
        """How often each order event was heard."""
        orders = [message for message in list(self.heard) if isinstance(message, OrderMessage)]
        return Counter((message.order_data["id"], message.event) for message in orders)

    @property
    def orders(self) -> set[str]:
        return {order_id for order_id, event in self.events if event == "new"}

    def has_price_above(self, price: float) -> bool:
        return any(isinstance(m, PriceMessage) and m.price > price for m in list(self.heard))

    def check_that_nothing_is_missing_in_silence(self) -> None:
        """Every number of an epoch, once and in order; a hole only where a gap message says so."""
        numbered: list[tuple[int, int]] = []
        told = False
        for message in self.heard:
            if isinstance(message, GapMessage) and not message.seq:
                told = True
                continue
            place = (message.epoch, message.seq)
            if numbered:
                assert place > numbered[-1], "a repeat, or out of order"
                assert told or place == (numbered[-1][0], numbered[-1][1] + 1), "a silent hole"
            numbered.append(place)
            told = False


@pytest.fixture
def broker(trio: Trio, sim: LocalAlpaca) -> Iterator[AlpacaBroker]:
    settings = load_settings(
        env_file=None,
        alpaca_api_key="local",
        alpaca_api_secret="local-secret",
        alpaca_data_stream_url=f"ws://127.0.0.1:{sim.address.port}",
        alpaca_trading_stream_url=sim.trading_stream_url,
        alpaca_data_url=sim.url,
        alpaca_trading_url=sim.url,
        **trio.settings,
    )
    running = AlpacaBroker(BrokerConfig.from_settings(settings))
    running.start()
    yield running
    running.stop()


@pytest.fixture
def reader(trio: Trio, broker: AlpacaBroker) -> Iterator[Reader]:
    reader = Reader()
    with (
        RedisSubscriber(trio.config) as bus,
        RegistrationClient(trio.config, "s1") as client,
    ):
        bus.subscribe("TICKER_UPDATES_AAPL", reader)
        bus.start_listening()
        keeper = LeaseKeeper(client, ["AAPL"], lease_s=30)
        keeper.start()
        wait_for(lambda: "AAPL" in broker.following())
        yield reader
        keeper.stop()


def journalled_orders(port: int) -> set[str]:
    """The orders in the journal, as a strategy reads it that starts now."""
    from main.utils.redis.config import RedisConfig  # noqa: PLC0415

    late = Reader()
    with RedisSubscriber(RedisConfig(host="127.0.0.1", port=port)) as bus:
        bus.subscribe("TICKER_UPDATES_AAPL", late, start=Start.from_id("0-1"))
        bus.start_listening()
        wait_for(lambda: bus.stop() == [])
    return late.orders


def test_the_primary_is_killed(
    trio: Trio, sim: LocalAlpaca, broker: AlpacaBroker, reader: Reader
) -> None:
    with Traffic(sim) as traffic:
        wait_for(lambda: len(reader.orders) >= 3)
        trio.primary.kill()
        trio.wait_for_failover()
        trades = traffic.trades
        wait_for(lambda: reader.has_price_above(100 + trades / 100), 15, "prices flow again")
        trio.primary.start()  # empty, and a primary until the Sentinel comes round to it
        trades = traffic.trades
        wait_for(lambda: reader.has_price_above(100 + trades / 100), 15, "prices flow still")
    wait_for(lambda: set(traffic.orders) <= reader.orders, 15, "every order is heard")
    assert set(reader.events.values()) == {1}
    assert set(traffic.orders) <= journalled_orders(trio.replica.port)
    reader.check_that_nothing_is_missing_in_silence()
    wait_for(lambda: broker.state == "RUNNING")
    with redis.Redis(port=trio.replica.port) as primary:
        assert primary.hexists("BROKER_LEASES", "AAPL|s1")


def test_another_primary_is_chosen_while_the_old_one_still_takes_writes(
    trio: Trio, sim: LocalAlpaca, broker: AlpacaBroker, reader: Reader
) -> None:
    """The Sentinel demotes the old one, and cuts its clients off, only some seconds later."""
    with Traffic(sim) as traffic:
        wait_for(lambda: len(reader.orders) >= 3)
        trio.sentinel.fail_over()
        trio.wait_for_failover()
        trades = traffic.trades
        wait_for(lambda: reader.has_price_above(100 + trades / 100), 15, "prices flow again")
        wait_for(lambda: newest(trio.replica.port) > trades, 15, "through the new one")
    wait_for(lambda: set(traffic.orders) <= reader.orders, 15, "every order is heard")
    assert set(reader.events.values()) == {1}
    assert set(traffic.orders) <= journalled_orders(trio.replica.port)
    reader.check_that_nothing_is_missing_in_silence()
    wait_for(lambda: broker.state == "RUNNING")


def newest(port: int) -> int:
    """The number of the newest message in the journal there."""
    with redis.Redis(port=port) as client:
        ((entry_id, _),) = client.xrevrange("TICKER_LOG_AAPL", count=1)  # type: ignore[misc]
    return int(entry_id.split(b"-")[1])
