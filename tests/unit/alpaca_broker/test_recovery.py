"""After an interruption: what REST brings, without what was published before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import fakeredis
import msgspec
import pytest

from main.alpaca_broker.frame_buffer import Break, FrameBuffer, Refill
from main.alpaca_broker.recovery import MAX_SPAN_S, Recovery
from main.alpaca_broker.rest import RestUnavailable, TradesPage
from main.alpaca_broker.sale_conditions import LastPriceRule
from main.utils.redis.constants import BusNames
from main.utils.redis.messages import encode, rfc3339
from tests.unit.alpaca_broker.test_translate import translate
from tests.unit.alpaca_broker.wire import ext64, trade

SECOND = 1_000_000_000
START_NS = 1_795_276_800 * SECOND


def raw(number: int, at_ns: int) -> dict[str, Any]:
    """A trade as REST tells it."""
    return {"i": number, "p": 100.5, "s": 1, "t": rfc3339(at_ns), "x": "V", "c": ["@"], "z": "C"}


class FakeRest:
    def __init__(self) -> None:
        self.trades_of: dict[str, list[dict[str, Any]]] = {}
        self.error: Exception | None = None
        self.calls: list[tuple[list[str], bool]] = []

    def trades(
        self, symbols: list[str], crypto: bool, feed: str, since: str, token: Any, timeout_s: float
    ) -> TradesPage:
        self.calls.append((symbols, crypto))
        if self.error is not None:
            raise self.error
        found = {s: [t for t in self.trades_of.get(s, ()) if t["t"] >= since] for s in symbols}
        return msgspec.convert({"trades": found}, TradesPage)


class Desk:
    def __init__(self) -> None:
        self.rest, self.redis, self.buffer = FakeRest(), fakeredis.FakeRedis(), FrameBuffer()
        self.recovery = Recovery(self.rest, self.redis, BusNames(), self.buffer, "iex")  # type: ignore[arg-type]
        self._seq = 0

    def publish(self, number: int, at_ns: int, symbol: str = "AAPL") -> None:
        """As the journal would have it."""
        self._seq += 1
        (message,) = translate(trade(S=symbol, i=number, t=ext64(at_ns), x="V", z="C"))
        entry = {"m": encode(message)}
        self.redis.xadd(f"TICKER_LOG_{symbol}", entry, id=f"1-{self._seq}")  # type: ignore[arg-type]

    def refill(self, *symbols: str, from_ns: int) -> Refill:
        to_ns = from_ns + 5 * SECOND
        assert self.recovery.ask(Break(symbols=symbols, from_ns=from_ns, to_ns=to_ns))
        (item,) = self.buffer.take(10)
        assert isinstance(item, Refill)
        return item


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    made.recovery.start()
    yield made
    made.recovery.begin_stop()
    assert made.recovery.join(5)
    made.redis.close()


def ids(refill: Refill, symbol: str = "AAPL") -> list[Any]:
    return [message.trade_id for message in refill.trades[symbol]]


def test_it_brings_what_was_missed_and_nothing_that_was_published(desk: Desk) -> None:
    for number in range(5):
        desk.publish(number, START_NS + number)
    desk.rest.trades_of["AAPL"] = [raw(n, START_NS + n) for n in range(8)]
    refill = desk.refill("AAPL", from_ns=START_NS + 5)
    assert ids(refill) == [5, 6, 7]
    assert all(message.backfilled for message in refill.trades["AAPL"])


def test_a_busy_ticker_asked_with_a_quiet_one_gets_nothing_twice(desk: Desk) -> None:
    """One question for both goes back to the quiet one's last trade: further than the busy one's
    newest journal entries, and all between them was published."""
    for number in range(3_000):
        desk.publish(number, START_NS + 60 * SECOND + number)
    desk.rest.trades_of["AAPL"] = [raw(n, START_NS + 60 * SECOND + n) for n in range(3_010)]
    refill = desk.refill("AAPL", "MSFT", from_ns=START_NS)
    assert ids(refill) == list(range(3_000, 3_010))
    assert ids(refill, "MSFT") == []


def test_what_a_trimmed_journal_forgot_is_not_brought_again(desk: Desk) -> None:
    for number in range(300):
        desk.publish(number, START_NS + number)
    desk.redis.xtrim("TICKER_LOG_AAPL", maxlen=100)
    desk.rest.trades_of["AAPL"] = [raw(n, START_NS + n) for n in range(302)]
    assert ids(desk.refill("AAPL", from_ns=START_NS)) == [300, 301]


def test_an_empty_journal_takes_all(desk: Desk) -> None:
    desk.rest.trades_of["AAPL"] = [raw(n, START_NS + n) for n in range(3)]
    assert ids(desk.refill("AAPL", from_ns=START_NS)) == [0, 1, 2]


@pytest.mark.parametrize("mark", ["canceled", "incorrect"])
def test_a_cancelled_trade_is_not_brought_back(desk: Desk, mark: str) -> None:
    desk.rest.trades_of["AAPL"] = [raw(1, START_NS), raw(2, START_NS) | {"u": mark}]
    assert ids(desk.refill("AAPL", from_ns=START_NS)) == [1]


@pytest.mark.parametrize("error", [RestUnavailable("away"), RuntimeError("a fault of ours")])
def test_it_always_answers_because_live_trades_wait_for_it(desk: Desk, error: Exception) -> None:
    desk.rest.error = error
    began = time.monotonic()
    refill = desk.refill("AAPL", from_ns=START_NS)
    assert (refill.symbols, refill.trades) == (("AAPL",), {})
    assert time.monotonic() - began < 3
    desk.rest.error = None
    assert "AAPL" in desk.refill("AAPL", from_ns=START_NS).trades, "one failure is not the last"


def test_pairs_and_stocks_are_asked_at_their_own_endpoints(desk: Desk) -> None:
    desk.refill("AAPL", "BTC/USD", from_ns=START_NS)
    assert desk.rest.calls == [(["AAPL"], False), (["BTC/USD"], True)]


def test_a_long_interruption_is_told_and_not_refilled(desk: Desk) -> None:
    span_ns = MAX_SPAN_S * SECOND
    assert not desk.recovery.ask(
        Break(symbols=("AAPL",), from_ns=START_NS, to_ns=START_NS + span_ns + 1)
    )


def test_a_half_days_hours_hold_for_the_refilled_too() -> None:
    """An extended-hours print of the afternoon may set the last price when the session is over."""
    over = LastPriceRule(lambda _unix_s: False)
    desk = Desk()
    desk.recovery = Recovery(desk.rest, desk.redis, BusNames(), desk.buffer, "iex", over)  # type: ignore[arg-type]
    desk.recovery.start()
    at_ns = START_NS + (6 * 86_400 + 9_000) * SECOND  # a Friday, 13:30 in New York
    desk.rest.trades_of["AAPL"] = [{**raw(1, at_ns), "c": ["@", "T"]}]
    refill = desk.refill("AAPL", from_ns=at_ns)
    desk.recovery.begin_stop()
    assert [trade.last_eligible for trade in refill.trades["AAPL"]] == [True]
    assert desk.recovery.join(5)
    desk.redis.close()
