"""A small storm: `make events-storm` is the long one."""

from __future__ import annotations

import pytest

from tests.integration.trade_events.storm import Storm

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_publishers_and_readers_lose_and_double_nothing_while_redis_restarts() -> None:
    outcome = Storm(publishers=2, readers=2, listeners=1, seconds=2.5, restarts=2).run()
    assert outcome.faults == []
    assert outcome.events > 50
    assert outcome.duplicates > 0
    assert outcome.anomalies > 0
