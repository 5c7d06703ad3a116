"""OrderTracker and ownership, by the contract's rules; the core is fed by hand, without a clock."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.utils.orders import OrderTracker, belongs_to, owner_of
from main.utils.redis.messages import OrderMessage


def order_data(order_id: str = "o-1", **changes: Any) -> dict[str, Any]:
    """An order object as Alpaca sends it: numbers are strings."""
    fields: dict[str, Any] = {
        "id": order_id,
        "client_order_id": f"bot:{order_id}",
        "symbol": "AAPL",
        "side": "buy",
        "qty": "10",
        "notional": None,
        "limit_price": "100.00",
        "filled_qty": "0",
        "filled_avg_price": None,
        "status": "new",
        "updated_at": "2026-11-20T15:00:00.000000001Z",
        "replaces": None,
        "replaced_by": None,
        "legs": None,
    }
    return fields | changes


def message(event: str, data: dict[str, Any], **update: Any) -> OrderMessage:
    return OrderMessage(
        symbol=data.get("symbol", "AAPL"),
        timestamp="2026-11-20T15:00:00Z",
        event=event,
        order_data=data,
        update=update,
        account_id="account",
        paper=True,
        source="stream",
    )


def fill(cumulative: int, qty: int, execution_id: str | None, **changes: Any) -> OrderMessage:
    status = "filled" if cumulative == 10 else "partially_filled"
    data = order_data(filled_qty=str(cumulative), filled_avg_price="99.5", status=status)
    update = {"qty": str(qty), "price": "99.5"} | (
        {"execution_id": execution_id} if execution_id else {}
    )
    return message("fill", data | changes, **update)


def tracked(*messages: OrderMessage) -> OrderTracker:
    tracker = OrderTracker()
    for each in messages:
        tracker.apply(each)
    return tracker


@pytest.mark.parametrize(
    ("client_order_id", "owned"),
    [("bot:AAPL:1", True), ("bot:", True), ("bot", False), ("bot2:1", False), (None, False)],
)
def test_an_order_belongs_to_the_client_whose_id_and_a_colon_begin_its_own(
    client_order_id: str | None, owned: bool
) -> None:
    """`bot` must not own what `bot2` sent."""
    assert belongs_to("bot", client_order_id) is owned


def test_a_fill_after_a_cancel_counts_and_the_order_stays_ended() -> None:
    """The venue's fill overtook our cancel, and its message came after."""
    tracker = tracked(message("canceled", order_data(status="canceled")), fill(4, 4, "e-1"))
    order = tracker.order("o-1")
    assert order is not None
    assert (order.status, order.filled_qty, order.open_qty) == ("canceled", 4, 0)


def test_a_complete_fill_after_a_cancel_makes_the_order_filled() -> None:
    """Nothing says more than all of its quantity."""
    tracker = tracked(message("canceled", order_data(status="canceled")), fill(10, 10, "e-1"))
    order = tracker.order("o-1")
    assert order is not None
    assert (order.status, order.filled_qty) == ("filled", 10)


def test_filled_qty_never_falls() -> None:
    """A late `new` must not take a fill back."""
    tracker = tracked(fill(4, 4, "e-1"), message("new", order_data()))
    order = tracker.order("o-1")
    assert order is not None
    assert (order.filled_qty, order.open_qty) == (4, 6)
    assert order.filled_avg_price == Decimal("99.5")


def test_a_rejected_cancel_gives_the_order_back_by_its_later_time() -> None:
    """`pending_cancel` is not the end: the newer snapshot says `new` again."""
    later = "2026-11-20T15:00:00.000000003Z"
    tracker = tracked(
        message("order_cancel_rejected", order_data(updated_at=later)),
        message("pending_cancel", order_data(status="pending_cancel")),
    )
    order = tracker.order("o-1")
    assert order is not None
    assert order.status == "new"


def test_times_of_any_offset_are_compared_as_moments() -> None:
    """Alpaca sends `Z` and `-04:00`; ten in New York is later than thirteen in London."""
    tracker = tracked(
        message(
            "replaced", order_data(status="accepted", updated_at="2026-06-20T10:00:00.5-04:00")
        ),
        message("new", order_data(status="pending_new", updated_at="2026-06-20T13:00:00Z")),
    )
    order = tracker.order("o-1")
    assert order is not None
    assert order.status == "accepted"


def test_an_execution_that_came_twice_is_one() -> None:
    """By stream, by stream again, and by REST without its id."""
    tracker = tracked(fill(4, 4, "e-1"), fill(4, 4, "e-1"), fill(4, 4, None), fill(10, 6, "e-2"))
    order = tracker.order("o-1")
    assert order is not None
    assert [each.execution_id for each in order.executions] == ["e-1", "e-2"]
    assert sum(each.qty or 0 for each in order.executions) == 10


def test_a_recovered_execution_that_the_stream_never_told_stands() -> None:
    """Its identity is the order and the cumulative quantity."""
    tracker = tracked(fill(4, 4, None), fill(4, 4, None))
    order = tracker.order("o-1")
    assert order is not None
    assert [(each.execution_id, each.cumulative) for each in order.executions] == [(None, 4)]


def recovered(cumulative: int, qty: int, of_now: int, price: str = "99.5") -> OrderMessage:
    """An execution by REST: it tells its own sum, and the order as it is now."""
    status = "filled" if of_now == 10 else "partially_filled"
    data = order_data(filled_qty=str(of_now), filled_avg_price="99.5", status=status)
    return message("fill", data, qty=str(qty), price=price, cum_qty=str(cumulative))


def test_recovered_executions_of_one_order_stay_apart() -> None:
    """Both come with the order as it is now, so only their own sums tell them apart."""
    order = tracked(recovered(4, 4, 10), recovered(10, 6, 10)).order("o-1")
    assert order is not None
    assert [(each.cumulative, each.qty) for each in order.executions] == [(4, 4), (10, 6)]


def test_an_execution_whose_snapshot_ran_ahead_is_still_one() -> None:
    """The stream told four of ten in an order that said ten already; REST tells both again."""
    ran_ahead = fill(10, 4, "e-1")
    order = tracked(recovered(4, 4, 10), recovered(10, 6, 10), ran_ahead).order("o-1")
    assert order is not None
    assert sum(each.qty or 0 for each in order.executions) == 10
    assert sorted(each.execution_id or "" for each in order.executions) == ["", "e-1"]


def test_two_executions_alike_are_two_as_long_as_the_order_says_so() -> None:
    """One share at a price by REST, and one more at the same price by stream."""
    second = message("fill", order_data(filled_qty="2"), qty="1", price="99.5", execution_id="e-2")
    order = tracked(recovered(1, 1, 2), second).order("o-1")
    assert order is not None
    assert len(order.executions) == 2


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.data(),
)
def test_executions_add_up_however_they_came(
    parts: list[int], shuffle: random.Random, data: st.DataObject
) -> None:
    """By stream, by REST or by both, once or twice, with snapshots that run ahead: the sum is the
    order's filled quantity."""
    total, done, messages = sum(parts), 0, list[OrderMessage]()
    for number, qty in enumerate(parts):
        done += qty
        price = f"99.{number}"
        by_rest = recovered(done, qty, total, price)
        snapshot = order_data(filled_qty=str(data.draw(st.sampled_from([done, total]))))
        by_stream = message("fill", snapshot, qty=str(qty), price=price, execution_id=f"e-{number}")
        messages += data.draw(
            st.sampled_from([[by_rest], [by_stream], [by_rest, by_stream], [by_stream] * 2])
        )
    shuffle.shuffle(messages)
    order = tracked(*messages).order("o-1")
    assert order is not None
    assert sum(each.qty or 0 for each in order.executions) == total


def test_a_replacement_that_lost_its_race_leaves_the_old_order_at_work() -> None:
    """Alpaca's yes to a replace is no promise: the new order is rejected, the old one goes on."""
    lost = order_data("o-2", client_order_id="bot:2", status="rejected", replaces="o-1")
    chain = tracked(message("new", order_data()), message("rejected", lost)).chain("o-2")
    assert chain is not None
    assert (chain.current.order_id, chain.ended) == ("o-1", False)


def test_a_replacement_continues_the_chain_with_its_fills() -> None:
    """`replaced` ends the id, not the chain."""
    old = order_data(status="replaced", filled_qty="3", replaced_by="o-2")
    new = order_data("o-2", client_order_id="by-hand", qty="7", filled_qty="2", replaces="o-1")
    tracker = tracked(message("new", new), message("replaced", old))
    chain = tracker.chain("o-2")
    assert chain is not None
    assert [order.order_id for order in chain.orders] == ["o-1", "o-2"]
    assert (chain.filled_qty, chain.ended, chain.current.open_qty) == (5, False, 5)
    assert tracker.is_of("bot", "o-2"), "the replacement inherits the owner"
    assert tracker.owner("o-2") == "bot"


def test_a_chain_whose_replacement_was_not_seen_yet_has_not_ended() -> None:
    """Something works at the venue, only we have not heard of it."""
    old = order_data(status="replaced", replaced_by="o-2")
    chain = tracked(message("replaced", old)).chain("o-1")
    assert chain is not None
    assert not chain.ended


def test_legs_inherit_the_owner_of_their_parent() -> None:
    """A bracket's legs carry ids that Alpaca made."""
    leg = order_data("leg-1", client_order_id="8d1c")
    tracker = tracked(message("new", order_data(legs=[leg])))
    assert tracker.is_of("bot", "leg-1")
    assert not tracker.is_of("other", "leg-1")
    assert tracker.owner("leg-1") == "bot"


@pytest.mark.parametrize(
    ("client_order_id", "owner"),
    [
        ("bot:AAPL:1", "bot"),
        ("a@b.c-1:", "a@b.c-1"),
        ("8d1c-77", None),
        (":1", None),
        ("no good:1", None),
        ("x" * 65 + ":1", None),
        ("", None),
        (None, None),
    ],
)
def test_an_id_names_an_owner_only_as_the_contract_spells_one(
    client_order_id: str | None, owner: str | None
) -> None:
    """Every other order is foreign: by hand, or by another program."""
    assert owner_of(client_order_id) == owner


def test_a_notional_order_has_no_quantity_to_work() -> None:
    """`qty` is null: nothing may be computed from it."""
    tracker = tracked(message("new", order_data(qty=None, notional="500", status="new")))
    order = tracker.order("o-1")
    assert order is not None
    assert (order.qty, order.notional, order.open_qty) == (None, 500, None)


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"id": None},
        {"id": 7},
        order_data(filled_qty="NaN", qty="ten", updated_at="yesterday", legs=5, status=None),
    ],
)
def test_orders_that_cannot_be_read_raise_nothing(junk: dict[str, Any]) -> None:
    """They come from outside."""
    order = tracked(message("fill", junk)).order("o-1")
    assert order is None or (order.filled_qty, order.qty) == (0, None)


def test_circles_of_replacements_end() -> None:
    """Links from outside may say anything."""
    tracker = tracked(
        message("new", order_data("a", client_order_id="x", replaces="b")),
        message("new", order_data("b", client_order_id="y", replaces="a")),
    )
    assert not tracker.is_of("bot", "a")
    assert tracker.chain("a") is not None


STATUSES = [
    "new",
    "accepted",
    "partially_filled",
    "pending_cancel",
    "canceled",
    "filled",
    "replaced",
    "rejected",
    "a_status_of_tomorrow",
]


@st.composite
def order_lives(draw: st.DrawFn) -> list[OrderMessage]:
    """Messages of a few orders that replace each other, with fills, ends and junk in between."""
    ids = ["a", "b", "c"]
    messages = []
    for _ in range(draw(st.integers(1, 12))):
        data = order_data(
            draw(st.sampled_from(ids)),
            status=draw(st.sampled_from(STATUSES)),
            filled_qty=str(draw(st.integers(0, 10))),
            filled_avg_price=draw(st.sampled_from([None, "99.5", "100"])),
            updated_at=f"2026-11-20T15:00:0{draw(st.integers(0, 3))}Z",
            replaces=draw(st.sampled_from([None, None, *ids])),
            replaced_by=draw(st.sampled_from([None, None, *ids])),
            legs=draw(st.sampled_from([None, [order_data("leg", client_order_id="l")]])),
        )
        event = draw(st.sampled_from(["new", "fill", "partial_fill", "canceled"]))
        execution_id = draw(st.sampled_from([None, "e-1", "e-2", "e-3"]))
        update = {"qty": str(draw(st.integers(1, 3))), "price": "99.5"}
        if execution_id:
            update["execution_id"] = execution_id
        messages.append(message(event, data, **update))
    return messages


def everything(tracker: OrderTracker) -> object:
    ids = sorted(order.order_id for order in tracker.orders())
    return [(tracker.order(each), tracker.chain(each), tracker.is_of("bot", each)) for each in ids]


@settings(deadline=None)
@given(order_lives(), st.randoms(use_true_random=False))
def test_any_interleaving_with_duplicates_ends_in_the_same_state(
    messages: list[OrderMessage], shuffle: random.Random
) -> None:
    """Order, fills, executions, chains and owners: nothing depends on arrival."""
    again = messages + shuffle.choices(messages, k=len(messages))
    shuffle.shuffle(again)
    assert everything(tracked(*again)) == everything(tracked(*messages))


@settings(deadline=None)
@given(order_lives())
def test_filled_qty_of_every_order_only_grows(messages: list[OrderMessage]) -> None:
    """Also while the messages come in, not only at the end."""
    tracker, before = OrderTracker(), dict[str, Decimal]()
    for each in messages:
        tracker.apply(each)
        now = {order.order_id: order.filled_qty for order in tracker.orders()}
        assert all(now[order_id] >= filled for order_id, filled in before.items())
        before = now


def test_ended_orders_are_forgotten_but_not_what_a_living_one_stems_from() -> None:
    """A parent that filled long ago says whose its leg is, and a chain's fills are one sum."""
    tracker = OrderTracker()

    def see(order_id: str, status: str, name: str = "", **more: Any) -> None:
        order = {"id": order_id, "client_order_id": name, "status": status, **more}
        tracker.absorb({"symbol": "AAPL", "qty": "5", "filled_qty": "0", **order})

    see("parent", "filled", "bot:1", filled_qty="5", legs=[{"id": "leg", "status": "new"}])
    see("old", "replaced", "bot:2", filled_qty="2", replaced_by="next")
    see("next", "new", "bot:3", replaces="old")
    see("gone", "replaced", "bot:4", replaced_by="gone-too")
    see("gone-too", "canceled", "bot:5", replaces="gone")
    for number in range(20):
        see(f"o{number}", "canceled", f"other:{number}")
    assert tracker.forget_ended(keep=50) == 0
    assert tracker.forget_ended(keep=5) == 17
    assert {order.order_id for order in tracker.orders()} == {
        *("parent", "leg", "old", "next"),
        *(f"o{number}" for number in range(15, 20)),
    }
    assert tracker.is_of("bot", "leg")
    chain = tracker.chain("next")
    assert chain is not None
    assert chain.filled_qty == 2
    assert tracker.by_client_order_id("bot:4") is None
    see("o3", "canceled", "other:3")
    assert tracker.order("o3") is not None, "told again, it is known again"
