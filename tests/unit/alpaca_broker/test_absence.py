"""Whoever comes back after a broker's absence is told of it, once, whatever Redis still knows."""

from __future__ import annotations

import time
from collections.abc import Iterator

import fakeredis
import pytest

from main.alpaca_broker import absence
from main.alpaca_broker.absence import Absence, Age, journal_ages, restart_breaks
from main.alpaca_broker.frame_buffer import Break, FrameBuffer
from main.utils.redis.constants import BusNames
from main.utils.redis.messages import encode, rfc3339

SECOND = 1_000_000_000


class Place:
    """Journals, a buffer, and the absence between them."""

    def __init__(self) -> None:
        self.redis = fakeredis.FakeRedis()
        self.buffer = FrameBuffer()
        self.absence = Absence(self.redis, BusNames(), self.buffer)

    def publish(self, ticker: str, at_ns: int, kind: str = "price", number: int = 1) -> None:
        common = {"type": kind, "symbol": ticker, "timestamp": rfc3339(at_ns)}
        price = {"price": 1.0, "volume": 1, "feed": "iex"}
        eligible = {"last_eligible": True, "backfilled": False}
        order = {"event": "new", "order_data": {}, "update": {}, "account_id": "a"}
        of_order = {"paper": True, "source": "stream"}
        fields = price | eligible if kind == "price" else order | of_order
        self.redis.xadd(f"TICKER_LOG_{ticker}", {"m": encode(common | fields)}, id=f"1-{number}")

    def told(self, cause: str = "broker_restart") -> dict[str, int]:
        """For each ticker, from when on messages may be missing."""
        found = {}
        for item in self.buffer.take(0):
            assert isinstance(item, Break)
            assert item.cause == cause
            found.update(dict.fromkeys(item.symbols, item.from_ns))
        return found


@pytest.fixture
def place() -> Iterator[Place]:
    place = Place()
    yield place
    place.redis.close()


def test_after_a_restart_recent_tickers_are_asked_together_and_old_ones_alone() -> None:
    now_ns = time.time_ns()
    seconds = {"A": 5, "B": 60, "C": 3_600}
    ages = {ticker: Age(now_ns - ago * SECOND) for ticker, ago in seconds.items()}
    together, alone = restart_breaks(ages)
    assert (together.symbols, together.from_ns) == (("A", "B"), ages["B"].since_ns)
    assert (alone.symbols, alone.from_ns) == (("C",), ages["C"].since_ns)
    assert {together.cause, alone.cause} == {"broker_restart"}
    assert restart_breaks({}) == []


def test_what_nobody_knows_to_be_published_or_not_is_told_and_not_refilled() -> None:
    """Redis lost it: a refill would bring again what readers have."""
    now_ns = time.time_ns()
    ages = {"A": Age(now_ns - SECOND), "B": Age(now_ns - 2 * SECOND, is_known=False)}
    breaks = {pause.symbols: (pause.from_ns, pause.refill) for pause in restart_breaks(ages)}
    assert breaks == {("A",): (now_ns - SECOND, True), ("B",): (now_ns - 2 * SECOND, False)}


def test_the_age_of_a_journal_is_its_last_prices_whatever_orders_came_later(place: Place) -> None:
    began_ns = time.time_ns()
    place.publish("AAPL", began_ns)
    place.publish("AAPL", began_ns + 60 * SECOND, "order", 9)
    place.publish("ONLY", began_ns + 60 * SECOND, "order")
    ages = journal_ages(place.redis, BusNames(), ["AAPL", "ONLY", "NONE"])
    only = Age(began_ns + 60 * SECOND, is_known=False)
    assert ages == {"AAPL": Age(began_ns), "ONLY": only}


def test_a_ticker_whose_lease_ended_meanwhile_is_told_of_the_absence_when_it_comes_back(
    place: Place,
) -> None:
    before_ns = time.time_ns() - 30 * SECOND
    place.publish("AAPL", before_ns)
    place.absence.begin()
    tell = place.absence.teller(["AAPL", "NEW"])
    assert place.told() == {}, "only when Alpaca follows it again"
    tell(["AAPL", "NEW"])
    assert place.told() == {"AAPL": before_ns}
    place.absence.teller(["AAPL"])(["AAPL"])
    assert place.told() == {}, "once"


def test_where_the_journals_were_lost_the_absence_began_when_the_last_broker_ended(
    place: Place,
) -> None:
    lost_ns = time.time_ns() - 30 * SECOND
    place.absence.begin(lost_ns)
    place.publish("MSFT", lost_ns + SECOND)
    place.absence.teller(["AAPL", "MSFT"])(["AAPL", "MSFT"])
    assert place.told() == {"AAPL": lost_ns, "MSFT": lost_ns + SECOND}


def test_who_is_refused_and_comes_again_is_told_then(place: Place) -> None:
    place.publish("AAPL", time.time_ns())
    place.absence.begin()
    place.absence.teller(["AAPL"])([])
    place.absence.teller(["AAPL"])(["AAPL"])
    assert set(place.told()) == {"AAPL"}


def test_who_comes_later_is_new_and_lacks_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.publish("AAPL", time.time_ns())
    place.absence.begin(time.time_ns())
    monkeypatch.setattr(absence, "COME_BACK_S", -1.0)
    place.absence.teller(["AAPL"])(["AAPL"])
    assert place.told() == {}


def test_a_restored_ticker_is_told_however_late_alpaca_follows_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(absence, "COME_BACK_S", -1.0)
    place.publish("AAPL", time.time_ns())
    place.absence.begin(restored=["AAPL"])
    place.absence.teller(["AAPL"])([])
    place.absence.teller(["AAPL"])(["AAPL"])
    assert set(place.told()) == {"AAPL"}
    place.absence.teller(["AAPL"])(["AAPL"])
    assert place.told() == {}, "once"


def test_who_comes_back_after_its_lease_ended_unheard_is_told_of_the_time_between(
    place: Place,
) -> None:
    """Redis was frozen, or the consumer's machine: it had not meant to leave."""
    place.absence.begin()
    place.absence.teller(["AAPL", "MSFT"])(["AAPL", "MSFT"])
    before_ns = time.time_ns()
    place.absence.lapsed({"AAPL"}, before_ns - 5)
    place.absence.teller(["AAPL"])([])
    assert place.told() == {}, "Alpaca does not follow it yet"
    place.absence.teller(["AAPL", "MSFT"])(["AAPL", "MSFT"])
    told = place.told("upstream_disconnected")
    assert told == {"AAPL": before_ns - 5}
    place.absence.teller(["AAPL"])(["AAPL"])
    assert place.told() == {}, "once"


def test_an_acknowledgement_that_comes_after_the_ticker_was_left_uses_nothing_up(
    place: Place,
) -> None:
    """Its lease lapsed before Alpaca answered: who comes back lacks what it lacked before."""
    published_ns, lapsed_ns = time.time_ns() - 20 * SECOND, time.time_ns() - 10 * SECOND
    place.publish("AAPL", published_ns)
    place.absence.begin(restored=["AAPL"])
    late = place.absence.teller(["AAPL"])
    place.absence.lapsed(["AAPL"], lapsed_ns)
    place.absence.left(["AAPL"])
    late(["AAPL"])
    assert place.told() == {}
    place.absence.teller(["AAPL"])(["AAPL"])
    causes = {(item.cause, item.from_ns) for item in place.buffer.take(0)}  # type: ignore[union-attr]
    assert causes == {("broker_restart", published_ns), ("upstream_disconnected", lapsed_ns)}


def test_the_age_is_that_of_before_the_run_however_often_alpaca_is_asked(place: Place) -> None:
    """A live trade that came between two questions is not what was published before."""
    published_ns = time.time_ns() - 20 * SECOND
    place.publish("AAPL", published_ns)
    place.absence.begin(restored=["AAPL"])
    place.absence.teller(["AAPL"])
    place.publish("AAPL", time.time_ns(), number=2)
    place.absence.teller(["AAPL"])(["AAPL"])
    assert place.told() == {"AAPL": published_ns}
