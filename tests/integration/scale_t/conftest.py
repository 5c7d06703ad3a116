"""A local Alpaca, a broker that obeys the test, and scale_t on threads, over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest

from main.alpaca_broker import AlpacaBroker, BrokerConfig
from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.alpaca_sim.venue_config import VenueConfig
from main.scale_t import ScaleT, ScaleTConfig
from main.settings import Settings, load_settings
from main.utils.redis.config import RedisConfig
from tests.integration.examples.processes import Process, environment
from tests.integration.scale_t.stand_in_broker import StandInBroker
from tests.integration.scale_t.unreliable_road import UnreliableRoad

STARTED_S = 40.0  # a program's start on a busy machine

Run = Callable[..., Process]


@pytest.fixture
def alpaca() -> Iterator[LocalAlpaca]:
    """Nothing moves in its market but what the test says."""
    config = SimConfig(
        control_port=None,
        market=MarketRules(default_rate=0, rates={"AAPL": 0}, prices={"AAPL": 100.0}),
        venue=VenueConfig(partial_fill_rate=0),
        streams=StreamRules(zombie_slot_s=0.1),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as sim:
        sim.quote("AAPL", 99.98, 100.02)
        yield sim


@pytest.fixture
def settings(alpaca: LocalAlpaca, redis_config: RedisConfig) -> Settings:
    return load_settings(
        env_file=None,
        redis_url=f"redis://{redis_config.host}:{redis_config.port}/0",
        alpaca_api_key="local",
        alpaca_api_secret="local-secret",
        alpaca_data_stream_url=alpaca.data_stream_url,
        alpaca_trading_stream_url=alpaca.trading_stream_url,
        alpaca_data_url=alpaca.url,
        alpaca_trading_url=alpaca.url,
    )


@pytest.fixture
def road(alpaca: LocalAlpaca) -> Iterator[UnreliableRoad]:
    """scale_t's way to Alpaca, where a test asks for it."""
    with UnreliableRoad(alpaca.url) as road:
        yield road


@pytest.fixture
def broker(
    alpaca: LocalAlpaca, redis_config: RedisConfig, orders: AccountOrders
) -> Iterator[StandInBroker]:
    """Of the same account."""
    broker = StandInBroker(redis_config, alpaca.trading_stream_url)
    broker.account_id = orders.account_id()
    with broker:
        yield broker


@pytest.fixture
def real_broker(settings: Settings) -> Iterator[AlpacaBroker]:
    broker = AlpacaBroker(BrokerConfig.from_settings(settings))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def command(alpaca: LocalAlpaca, redis_config: RedisConfig, tmp_path: Path) -> Iterator[Run]:
    """`command("status", "--ticker", "AAPL")`: `scale-t status …` as a process.

    `keys=False` leaves the account's keys out of its environment; `state` names another state
    directory. What still runs at the end is ended.
    """
    started: list[Process] = []
    alpacas = {
        "ALPACA_API_KEY": "local",
        "ALPACA_API_SECRET": "local-secret",
        "ALPACA_TRADING_URL": alpaca.url,
        "ALPACA_DATA_URL": alpaca.url,
    }

    def start(*words: str, keys: bool = True, state: str = "state") -> Process:
        env = environment(
            REDIS_HOST=redis_config.host,
            REDIS_PORT=str(redis_config.port),
            XDG_STATE_HOME=str(tmp_path / state),
            **(alpacas if keys else {}),
        )
        started.append(Process(["-m", "main", "scale-t", *words], tmp_path, env))
        return started[-1]

    yield start
    for process in started:
        process.end()


@pytest.fixture
def orders(alpaca: LocalAlpaca) -> Iterator[AccountOrders]:
    orders = AccountOrders(alpaca.url)
    yield orders
    orders.close()


class AccountOrders:
    """What Alpaca itself says of the account, asked by alpaca-py."""

    def __init__(self, url: str) -> None:
        self.client = TradingClient("local", "local-secret", raw_data=True, url_override=url)

    def close(self) -> None:
        self.client._session.close()

    def buy(self, name: str, limit_price: float, qty: int = 10) -> None:
        """An order named like one of scale_t's, but not sent by the one under test."""
        self.client.submit_order(
            LimitOrderRequest(
                symbol="AAPL",
                qty=qty,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.DAY,
                limit_price=limit_price,
                client_order_id=f"scale-t:AAPL:{name}",
            )
        )

    def account_id(self) -> str:
        account: dict[str, Any] = self.client.get("/account")
        return str(account["id"])

    def all(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get("/orders", {"status": "all", "limit": 500})
        return sorted(found, key=lambda order: order["submitted_at"])

    def working(self) -> dict[str, tuple[str, str]]:
        """Name without the client's prefix, to quantity that works and limit price."""
        return {
            order["client_order_id"].split(":", 2)[2]: (
                f"{float(order['qty']) - float(order['filled_qty']):g}",
                f"{float(order['limit_price']):.2f}",
            )
            for order in self.client.get("/orders", {"status": "open", "limit": 500})
        }

    def quiet(self) -> bool:
        """Every share held is offered, and at most one entry works."""
        return self.offered() == self.position() and self.entries_working() <= 1

    def offered(self) -> float:
        return sum(float(qty) for name, (qty, _) in self.working().items() if "profit" in name)

    def entries_working(self) -> int:
        return sum("entry" in name for name in self.working())

    def position(self) -> float:
        return sum(float(each["qty"]) for each in self.client.get("/positions"))


class RunningScaleT:
    """`run` on a thread. `stop` gives its return code and fails when it takes too long."""

    def __init__(self, config: ScaleTConfig, settings: Settings) -> None:
        self.scale_t = ScaleT(config, settings)
        self.code: int | None = None
        self._thread = threading.Thread(target=self._run, name="scale-t-under-test")
        self._thread.start()

    def _run(self) -> None:
        self.code = self.scale_t.run()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> int | None:
        self.scale_t.stop()
        self._thread.join(5)
        assert self.ended, "scale_t did not end within 5 s"
        return self.code


@pytest.fixture
def start_scale_t(
    settings: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """`start_scale_t(max_position=Decimal(30), …)`; what still runs at the end is stopped."""
    running: list[RunningScaleT] = []
    if "road" in request.fixturenames:
        url = request.getfixturevalue("road").url
        settings = settings.model_copy(update={"alpaca_trading_url": url})

    def start(**parameters: Any) -> RunningScaleT:
        given = {"ticker": "AAPL", "requests_per_minute": 200, "state_dir": tmp_path} | parameters
        words = {key: str(v) if isinstance(v, Decimal) else v for key, v in given.items()}
        running.append(RunningScaleT(ScaleTConfig.from_text(**words), settings))
        return running[-1]

    yield start
    for each in running:
        each.stop()
