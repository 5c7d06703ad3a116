"""What faults do to messages."""

from __future__ import annotations

from typing import Any

from main.alpaca_sim.config import Credentials, StreamRules
from main.alpaca_sim.data_session import DataSession
from main.alpaca_sim.encoding import JSON
from main.alpaca_sim.fault_board import FaultBoard, Lag, Rule, covers
from main.alpaca_sim.feeds import FEED_BY_NAME
from main.alpaca_sim.hub import Reader
from main.alpaca_sim.messages import Timestamp, Trade
from main.alpaca_sim.outbox import Published

SECOND = 1_000_000_000


class Bench:
    def __init__(self) -> None:
        self.late: list[int] = []
        self.board = FaultBoard(lambda _, item: self.late.append(item.serial), lambda *_: None)
        session = DataSession(FEED_BY_NAME["iex"], JSON, Credentials(), StreamRules(), lambda: None)
        self.reader = Reader(1, session, StreamRules())
        self.board.tick(0)

    def put(self, kind: Any, endpoint: str = "iex", **fields: Any) -> Rule:
        symbols = fields.pop("symbols", None)
        rule = Rule(kind, endpoint, frozenset(symbols) if symbols else None, **fields)
        return self.board.add(rule)

    def send(self, *serials: int, symbol: str = "AAPL") -> list[int]:
        out: list[int] = []
        for serial in serials:
            message = Trade(
                symbol=symbol, trade_id=serial, price=1.0, size=1, timestamp=Timestamp(0)
            )
            item = Published(message, "trades", serial)
            out += [passed.serial for passed in self.board.filter_data(self.reader, item)]
        return out


def test_without_faults_nothing_is_looked_at() -> None:
    bench = Bench()
    assert not bench.board.busy()
    assert bench.send(1, 2) == [1, 2]


def test_drop_and_duplicate_end_after_their_count() -> None:
    bench = Bench()
    bench.put("drop", remaining=2)
    assert bench.send(1, 2, 3) == [3]
    bench.put("duplicate", remaining=1)
    assert bench.send(4, 5) == [4, 4, 5]


def test_mute_can_mean_one_ticker_or_another_endpoint() -> None:
    bench = Bench()
    bench.put("mute", symbols=["AAPL"])
    bench.put("mute", "crypto")
    assert bench.send(1) == []
    assert bench.send(2, symbol="MSFT") == [2]


def test_reorder_swaps_neighbours_and_loses_nothing() -> None:
    bench = Bench()
    bench.put("reorder", remaining=2)
    assert bench.send(1, 2, 3, 4, 5) == [2, 1, 4, 3, 5]


def test_a_message_held_for_reordering_comes_out_when_healed() -> None:
    bench = Bench()
    bench.put("reorder", remaining=1)
    assert bench.send(1) == []
    bench.board.heal()
    assert bench.late == [1]


def test_delay_keeps_the_order_even_when_it_ends() -> None:
    bench = Bench()
    rule = bench.put("delay", value=Lag(seconds=2.0), until_ns=SECOND)
    assert bench.send(1, 2) == []
    bench.board.tick(SECOND)
    assert rule not in bench.board.rules
    assert bench.send(3) == []
    bench.board.tick(2 * SECOND)
    assert bench.late == [1, 2, 3]
    assert bench.send(4) == [4]
    assert not bench.board.busy()


def test_lag_grows_gathers_and_drips() -> None:
    growing = Lag(seconds=1.0, growth=0.5)
    assert growing.due_ns(4 * SECOND, 0) == 4 * SECOND + SECOND + 2 * SECOND
    heaps = Lag(heap_s=10.0)
    assert {heaps.due_ns(n * SECOND, 0) for n in range(1, 10)} == {10 * SECOND}
    drip = Lag(per_s=2.0)
    assert drip.due_ns(0, 5 * SECOND) == 5 * SECOND + SECOND // 2


def test_heal_ends_everything_and_lets_go() -> None:
    bench = Bench()
    bench.put("delay", value=Lag(seconds=100.0))
    bench.send(1, 2)
    bench.board.heal()
    assert bench.late == [1, 2]
    assert not bench.board.busy()


def test_found_faults_are_spent() -> None:
    bench = Bench()
    bench.put("refuse_sign_in", "data", remaining=1, value=402)
    assert bench.board.find("refuse_sign_in", "trading") is None
    found = bench.board.find("refuse_sign_in", "iex")
    assert found is not None
    assert found.value == 402
    assert bench.board.find("refuse_sign_in", "iex") is None


def test_endpoints_can_be_named_in_groups() -> None:
    assert covers("all", "trading")
    assert covers("data", "crypto")
    assert not covers("data", "trading")
    assert not covers("iex", "sip")


def test_a_trade_that_is_held_back_never_takes_the_place_of_an_order_event() -> None:
    """Data and trading connections count from one alike."""
    bench = Bench()
    bench.put("reorder", "data", remaining=1)
    assert bench.send(1) == []
    event = {"event": "fill", "order": {"symbol": "AAPL"}}
    reader: Any = bench.reader
    assert bench.board.filter_event(reader, event) == [event]
    assert bench.send(2) == [2, 1]
