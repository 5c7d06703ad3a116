"""A local Alpaca whose market does what the test says, and alpaca-py's client to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alpaca.trading.client import TradingClient

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.alpaca_sim.venue_config import VenueConfig
from tests.integration.trader.road import Road


@pytest.fixture
def alpaca() -> Iterator[LocalAlpaca]:
    """Nothing moves in its market but what the test says."""
    config = SimConfig(
        control_port=None,
        market=MarketRules(
            default_rate=0, rates={"AAPL": 0, "MSFT": 0}, prices={"AAPL": 100.0, "MSFT": 50.0}
        ),
        venue=VenueConfig(partial_fill_rate=0),
        streams=StreamRules(zombie_slot_s=0.1),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as sim:
        sim.quote("AAPL", 99.98, 100.02)
        sim.quote("MSFT", 49.99, 50.01)
        yield sim


@pytest.fixture
def road(alpaca: LocalAlpaca) -> Iterator[Road]:
    with Road(alpaca.url) as road:
        yield road


def trading_client(url: str) -> TradingClient:
    """As a user makes one; it parses answers into models, and repeats by itself."""
    return TradingClient("local", "local-secret", paper=True, url_override=url)


@pytest.fixture
def client(road: Road) -> Iterator[TradingClient]:
    client = trading_client(road.url)
    yield client
    client._session.close()
