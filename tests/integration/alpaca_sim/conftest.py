"""Fixtures: a quiet local Alpaca, in which only what a test says happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules

pytestmark = pytest.mark.integration

MakeSim = Callable[..., LocalAlpaca]


@pytest.fixture
def make_sim() -> Iterator[MakeSim]:
    """Starts local Alpacas; `market` and `streams` take the rules' fields."""
    with ExitStack() as stack:

        def make(
            *,
            market: dict[str, Any] | None = None,
            streams: dict[str, Any] | None = None,
            **config: Any,
        ) -> LocalAlpaca:
            rules = MarketRules(**({"default_rate": 0.0} | (market or {})))
            stream_rules = StreamRules(
                **({"zombie_slot_s": 0.0, "handshake_limit": 0} | (streams or {}))
            )
            limits: dict[str, Any] = {"trading_rest_limit": 0, "data_rest_limit": 0}
            sim = LocalAlpaca(SimConfig(market=rules, streams=stream_rules, **(limits | config)))
            return stack.enter_context(sim)

        yield make


@pytest.fixture
def sim(make_sim: MakeSim) -> LocalAlpaca:
    """A quiet one."""
    return make_sim()
