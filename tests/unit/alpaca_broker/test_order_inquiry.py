"""What the stream did not tell is found by REST, however late REST lists it, and told once."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from main.alpaca_broker.bookmark import Bookmark, Reconciled
from main.alpaca_broker.order_desk import OrderDesk
from main.alpaca_broker.order_inquiry import AWAITED_S, MAX_SINGLE_ORDERS, OrderInquiry
from main.alpaca_broker.order_ledger import OrderLedger
from main.alpaca_broker.rest import Account, TradingRest
from main.utils.redis.messages import OrderMessage, parse_rfc3339, rfc3339

SECOND = 1_000_000_000
BEGIN = 1_795_000_000 * SECOND
ACCOUNT = Account(id="a", number="PA1", paper=True)


class Shelf:
    """A bookmark that lives in memory."""

    def __init__(self, reconciled: Reconciled) -> None:
        self.reconciled = reconciled

    def load(self) -> Reconciled:
        return self.reconciled

    def save(self, reconciled: Reconciled) -> None:
        self.reconciled = reconciled


class Venue:
    """Alpaca's side: orders, their executions, and when REST lists each of them."""

    def __init__(self) -> None:
        self.now_ns = BEGIN
        self.by_id: dict[str, dict[str, Any]] = {}
        self.listed: list[tuple[int, dict[str, Any]]] = []  # (listed from, activity)

    # -- what happens

    def place(self, order_id: str, qty: int = 1) -> dict[str, Any]:
        at = rfc3339(self.now_ns)
        order = {"id": order_id, "symbol": "AAPL", "qty": str(qty), "filled_qty": "0"}
        self.by_id[order_id] = {**order, "status": "new", "submitted_at": at, "updated_at": at}
        return self.update("new", order_id)

    def fill(self, order_id: str, qty: int = 1, *, listed_after_s: float = 0) -> dict[str, Any]:
        order, at = self.by_id[order_id], rfc3339(self.now_ns)
        filled = int(order["filled_qty"]) + qty
        ends = filled == int(order["qty"])
        order |= {"filled_qty": str(filled), "updated_at": at}
        order |= {"status": "filled", "filled_at": at} if ends else {"status": "partially_filled"}
        activity = {
            "id": f"{order_id}::{filled}",
            "order_id": order_id,
            "type": "fill" if ends else "partial_fill",
            "cum_qty": str(filled),
            "qty": str(qty),
            "transaction_time": at,
        }
        self.listed.append((self.now_ns + int(listed_after_s * SECOND), activity))
        ids = {"execution_id": f"x-{order_id}-{filled}", "qty": str(qty), "timestamp": at}
        return self.update(str(activity["type"]), order_id, **ids)

    def update(self, event: str, order_id: str, **more: str) -> dict[str, Any]:
        return {"event": event, "order": dict(self.by_id[order_id]), **more}

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)

    # -- what REST answers

    def fills(self, after: str) -> list[dict[str, Any]]:
        return [
            activity
            for since_ns, activity in self.listed
            if since_ns <= self.now_ns and activity["transaction_time"] > after
        ]

    def orders(self, after: str | None, status: str = "all") -> list[dict[str, Any]]:
        known = [order for order in self.by_id.values() if order["submitted_at"] > (after or "")]
        return [dict(o) for o in known if status == "all" or o["status"] != "filled"]

    def order(self, order_id: str) -> dict[str, Any] | None:
        return dict(self.by_id[order_id])


class Broker:
    """The order side of a broker: the stream in, messages out."""

    def __init__(self, venue: Venue, shelf: Shelf) -> None:
        self.ledger, self.told = OrderLedger(), list[OrderMessage]()
        self.inquiry = OrderInquiry(
            cast(TradingRest, venue), self.ledger, cast(Bookmark, shelf), lambda: venue.now_ns
        )
        self.inquiry.begin()
        self._desk = OrderDesk(ACCOUNT, self.ledger, lambda symbol: symbol)

    def hears(self, update: dict[str, Any]) -> None:
        self.told += self._desk.take_in([update])

    def compares(self) -> bool:
        found = self.inquiry.ask(connection=1, live_since_ns=0)
        self.told += self._desk.take_in([found])
        self.inquiry.done(found)
        return found.complete

    def executions(self) -> list[tuple[str, str]]:
        return [
            (m.order_data["id"], str(m.update.get("cum_qty") or m.update["execution_id"]))
            for m in self.told
            if m.event in ("fill", "partial_fill")
        ]


def known_until(moment_ns: int) -> Shelf:
    return Shelf(Reconciled(moment_ns, 0))


def test_an_execution_that_rest_lists_minutes_late_is_told_then() -> None:
    venue, shelf = Venue(), known_until(BEGIN)
    broker = Broker(venue, shelf)
    venue.later(1)
    broker.hears(venue.place("o1"))
    venue.fill("o1", listed_after_s=600)  # and the stream drops it
    venue.later(5)
    for _ in range(18):
        assert broker.compares()
        venue.later(30)
    assert broker.executions() == []
    assert broker.inquiry.counters["executions_never_listed"] == 0
    assert shelf.reconciled.until_ns < BEGIN + SECOND, "a successor looks from there too"
    venue.later(90)
    broker.compares()
    broker.compares()
    assert broker.executions() == [("o1", "1")]
    assert shelf.reconciled.until_ns == venue.now_ns


def test_a_successor_finds_what_its_predecessor_was_still_waiting_for() -> None:
    venue, shelf = Venue(), known_until(BEGIN)
    first = Broker(venue, shelf)
    venue.later(1)
    first.hears(venue.place("o1"))
    venue.fill("o1", listed_after_s=300)
    for _ in range(5):
        venue.later(30)
        first.compares()
    second = Broker(venue, shelf)
    for _ in range(10):
        venue.later(30)
        second.compares()
    assert second.executions() == [("o1", "1")]


def test_an_execution_that_is_never_listed_is_given_up_after_an_hour() -> None:
    venue, shelf = Venue(), known_until(BEGIN)
    broker = Broker(venue, shelf)
    venue.later(1)
    venue.place("o1")
    venue.fill("o1", listed_after_s=1e9)
    venue.later(10)
    broker.compares()
    assert shelf.reconciled.until_ns == BEGIN
    venue.later(AWAITED_S + 60)
    broker.compares()
    assert broker.inquiry.counters["executions_never_listed"] == 1
    assert shelf.reconciled.until_ns == venue.now_ns


def test_a_fill_that_the_stream_has_told_is_not_waited_for() -> None:
    venue, shelf = Venue(), known_until(BEGIN)
    broker = Broker(venue, shelf)
    venue.later(1)
    broker.hears(venue.place("o1"))
    broker.hears(venue.fill("o1", listed_after_s=600))
    venue.later(10)
    broker.compares()
    assert shelf.reconciled.until_ns == venue.now_ns


def test_an_order_that_was_filled_before_anybody_compared_is_not_waited_for() -> None:
    venue, shelf = Venue(), known_until(BEGIN + 86_400 * SECOND)
    broker = Broker(venue, shelf)
    broker.ledger.note(venue.place("old", qty=2))
    venue.fill("old", listed_after_s=1e9)
    venue.later(86_500)
    assert broker.compares()
    assert shelf.reconciled.until_ns == venue.now_ns


def test_many_open_orders_are_looked_up_in_turns() -> None:
    venue, shelf = Venue(), known_until(BEGIN + 1_000 * SECOND)
    broker = Broker(venue, shelf)
    count = 2 * MAX_SINGLE_ORDERS + 5
    for number in range(count):
        broker.ledger.note(venue.place(f"o{number:03}"))
    venue.later(1_100)
    for number in range(count):
        venue.fill(f"o{number:03}", listed_after_s=-2_000)
    venue.listed = [(0, {**activity, "transaction_time": rfc3339(BEGIN)})
                    for _, activity in venue.listed]  # fmt: skip
    venue.later(10)
    assert [broker.compares() for _ in range(3)] == [False, False, True]


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),  # whose execution
            st.sampled_from(["dropped", "told", "told ahead"]),  # by the stream
            st.sampled_from([0.0, 5.0, 70.0, 200.0, 900.0]),  # how late REST lists it
            st.sampled_from([1.0, 10.0, 40.0]),  # until the next
            st.integers(0, 2),  # comparisons then
            st.booleans(),  # whether another broker goes on from there
        ),
        min_size=1,
        max_size=12,
    )
)
def test_every_execution_is_told_exactly_once(
    life: list[tuple[str, str, float, float, int, bool]],
) -> None:
    venue, shelf = Venue(), known_until(BEGIN)
    venue.later(1)
    broker, told = Broker(venue, shelf), list[OrderMessage]()
    for order_id in "abc":
        venue.place(order_id, qty=100)
    for order_id, streamed, late_s, pause_s, comparisons, succeeded in life:
        update = venue.fill(order_id, listed_after_s=late_s)
        if streamed == "told ahead":  # its order as it is after the next execution
            update["order"]["filled_qty"] = str(int(update["order"]["filled_qty"]) + 1)
        if streamed != "dropped":
            broker.hears(update)
        venue.later(pause_s)
        for _ in range(comparisons):
            broker.compares()
        if succeeded:
            successor = Broker(venue, shelf)
            for message in broker.told:
                update = {"event": message.event, "order": message.order_data, **message.update}
                successor.ledger.note(update, recovered=message.source == "reconcile")
            successor.told = broker.told
            broker = successor
    for _ in range(40):
        venue.later(30)
        broker.compares()
    told = [m for m in broker.told if m.event == "partial_fill"]
    quantities = sorted((m.order_data["id"], _cumulative(m)) for m in told)
    expected = sorted((a["order_id"], int(a["cum_qty"])) for _, a in venue.listed)
    assert quantities == expected
    assert shelf.reconciled.until_ns == venue.now_ns
    assert parse_rfc3339(rfc3339(venue.now_ns)) == venue.now_ns


def _cumulative(message: OrderMessage) -> int:
    return int(message.update.get("cum_qty") or message.update["execution_id"].rsplit("-")[-1])
