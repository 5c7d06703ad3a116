"""The verbs of scenarios and the control API."""

from __future__ import annotations

from typing import Any

import pytest

from main.alpaca_sim.config import MarketRules, SimConfig
from main.alpaca_sim.control import UnknownVerb, Verbs
from main.alpaca_sim.server import SimServer


@pytest.fixture
def server() -> SimServer:
    """Not started: no port, no thread."""
    return SimServer(SimConfig(market=MarketRules(default_rate=0.0)))


@pytest.fixture
def verbs(server: SimServer) -> Verbs:
    return server.verbs


def test_every_verb_is_described(verbs: Verbs) -> None:
    described = verbs.describe()
    assert set(described) == set(verbs.names)
    assert all(text.startswith("(") and len(text) > 20 for text in described.values())
    assert {"cut", "trade", "halt", "order_by_hand", "replay", "heal"} <= set(verbs.names)


def test_private_and_reading_methods_are_no_verbs(verbs: Verbs) -> None:
    assert not any(name.startswith("_") for name in verbs.names)
    assert "active" not in verbs.names


@pytest.mark.parametrize(
    ("verb", "parameters", "error"),
    [
        ("dance", {}, UnknownVerb),
        ("__init__", {}, UnknownVerb),
        ("mute", {"volume": 0}, TypeError),
        ("trade", {"symbol": "AAPL"}, TypeError),
        ("cut", {"how": "gently"}, ValueError),
        ("refuse_sign_in", {"code": 999}, ValueError),
        ("trade", {"symbol": "NOPE", "price": 1.0}, LookupError),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_happens(
    server: SimServer, verb: str, parameters: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        server.verbs.do(verb, parameters)
    assert server.faults.active() == []
    assert server.sim.oracle.symbols() == []


def test_a_verb_does_what_its_method_does(server: SimServer) -> None:
    assert server.verbs.do("trade", {"symbol": "AAPL", "price": 101.0}) == 1
    server.verbs.do("mute", {"endpoint": "iex", "symbols": ["AAPL"], "for_s": 5})
    [fault] = server.faults.active()
    assert (fault["fault"], fault["endpoint"], fault["symbols"]) == ("mute", "iex", ["AAPL"])
    server.verbs.do("heal", {})
    assert server.faults.active() == []
