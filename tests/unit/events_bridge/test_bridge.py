"""The bridge's turns, while Redis fails between two of its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from main.events_bridge import BridgeConfig, EventsBridge
from main.events_bridge import bridge as bridge_module
from main.events_bridge.memory import SymbolMemory
from main.trade_events import Receipt, TradeEvent
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import GapMessage, OrderMessage
from tests.unit.order_events.test_maker import fill


class FailingJournals:
    """Answers with what it holds, after it has failed as often as the test says; `between` of its
    messages come before each failure."""

    def __init__(self, missed: list[OrderMessage], failures: int, between: int) -> None:
        self.missed, self.failures, self.between = missed, failures, between

    def new_symbols(self, known: set[str], now: float) -> list[str]:
        return []

    def after(self, symbol: str, place: str | None) -> Iterator[OrderMessage]:
        left = [each for each in self.missed if place is None or (each.id or "") > place]
        if self.failures:
            self.failures -= 1
            yield from left[: self.between]
            raise RedisConnectionError("Connection closed by server.")
        yield from left


class KeepingBus:
    def __init__(self) -> None:
        self.events: list[TradeEvent] = []

    def publish_many(self, events: list[TradeEvent]) -> list[Receipt]:
        self.events += events
        return [Receipt(event_id=each.event_id, status="published") for each in events]

    def flush(self, timeout_s: float) -> bool:
        return True


class TakingOwner:
    def write(self, changes: Mapping[str, object]) -> bool:
        return True


def message(seq: int, symbol: str, order_id: str) -> OrderMessage:
    return msgspec.structs.replace(fill(10, 10, order_id), symbol=symbol, epoch=7, seq=seq)


def gap(symbol: str) -> GapMessage:
    moment = "2026-11-20T15:00:00Z"
    return GapMessage(
        symbol=symbol,
        from_=moment,
        to=moment,
        cause="redis_restart",
        backfilled=False,
        lost=None,
        timestamp=moment,
    )


@pytest.mark.parametrize("between", [0, 1])
def test_redis_that_fails_in_a_gap_costs_neither_the_gap_nor_what_follows_it(
    monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    """Gaps come just when Redis is restarting: the batch is taken up again where it was."""
    monkeypatch.setattr(bridge_module, "_RETRY_S", 0.001)
    bridge, bus = EventsBridge(BridgeConfig(redis=RedisConfig(port=1))), KeepingBus()
    bridge._symbols = {symbol: SymbolMemory(symbol, {}) for symbol in ("AAPL", "MSFT")}
    missed = [message(1, "AAPL", "a-1"), message(2, "AAPL", "a-2")]
    bridge._journals = FailingJournals(missed, 2, between)  # type: ignore[assignment]
    bridge._bus, bridge._owner = bus, TakingOwner()  # type: ignore[assignment]
    for each in (gap("AAPL"), message(5, "MSFT", "m-5")):
        bridge._on_message(each)
    for _ in range(3):
        bridge._try_turn()
    filled = [event.data["order_id"] for event in bus.events if event.event_type == "order.filled"]
    assert filled == ["a-1", "a-2", "m-5"]
    assert bridge.counters["redis_faults"] == 2
