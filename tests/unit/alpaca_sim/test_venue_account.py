"""Account, positions, activities, portfolio history and order lists of the local Alpaca."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.alpaca_sim.wire_numbers import parse_timestamp, timestamp
from tests.unit.alpaca_sim.venue_driver import HOUR, SECOND, VenueDriver


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "99.90", "100.10")
    driver.quote("MSFT", "49.90", "50.10")
    return driver


def test_a_new_account_has_its_cash_twice_as_buying_power(venue: VenueDriver) -> None:
    account = venue.get("/v2/account")
    assert (account["cash"], account["equity"], account["buying_power"]) == (
        "100000",
        "100000",
        "200000",
    )
    assert (account["status"], account["multiplier"]) == ("ACTIVE", "2")


@pytest.mark.parametrize(("multiplier", "power"), [(1, "100000"), (2, "200000"), (4, "400000")])
def test_the_multiplier_is_a_setting(multiplier: int, power: str) -> None:
    account = VenueDriver(multiplier=multiplier).get("/v2/account")
    assert (account["multiplier"], account["buying_power"]) == (str(multiplier), power)


def test_an_open_order_takes_buying_power_and_its_fill_takes_the_same(venue: VenueDriver) -> None:
    venue = VenueDriver(mark="bid_ask")
    venue.quote("AAPL", "100", "100")
    order = venue.submit(qty="100", type="limit", limit_price="100", time_in_force="gtc")
    assert venue.account("buying_power") == 190_000
    venue.settle()
    assert venue.order(order["id"])["status"] == "filled"
    assert venue.account("buying_power") == 190_000
    assert venue.account("long_market_value") == 10_000
    assert venue.account("initial_margin") == 5_000


def test_a_short_sale_reserves_three_percent_over_the_ask(venue: VenueDriver) -> None:
    venue.submit(side="sell", qty="100", type="limit", limit_price="101")
    assert venue.account("buying_power") == 200_000 - 100 * Decimal("103.103")


def test_a_short_position_is_negative_and_bought_back(venue: VenueDriver) -> None:
    venue.submit(side="sell", qty="10")
    venue.settle()
    position = venue.get("/v2/positions/AAPL")
    assert (position["qty"], position["side"], position["avg_entry_price"]) == (
        "-10",
        "short",
        "99.9",
    )
    assert (position["market_value"], position["cost_basis"]) == ("-1000", "-999")
    assert position["unrealized_pl"] == "-1"
    assert venue.account("short_market_value") == -1000
    assert venue.account("cash") == 100_999
    cover = venue.submit(side="buy", qty="10")
    assert cover["position_intent"] == "buy_to_close"
    venue.settle()
    assert venue.get("/v2/positions") == []
    assert venue.account("cash") == 100_999 - 1001


def test_more_than_a_short_position_cannot_be_bought_back_at_once(venue: VenueDriver) -> None:
    venue.submit(side="sell", qty="10")
    venue.settle()
    assert venue.try_submit(side="buy", qty="11").status == 403


def test_unrealized_profit_follows_the_quote(venue: VenueDriver) -> None:
    venue.own(10)
    venue.quote("AAPL", "110", "110.20")
    position = venue.get("/v2/positions/AAPL")
    assert (position["current_price"], position["market_value"]) == ("110.1", "1101")
    assert (position["unrealized_pl"], position["unrealized_plpc"]) == ("100", "0.0999001")
    assert venue.account("equity") == 100_000 + 100


def test_closing_a_part_keeps_the_average_entry(venue: VenueDriver) -> None:
    venue.own(10)
    venue.quote("AAPL", "109.90", "110.10")
    venue.own(10)
    venue.submit(side="sell", qty="15")
    venue.settle()
    position = venue.get("/v2/positions/AAPL")
    assert (position["qty"], position["avg_entry_price"]) == ("5", "105.1")


@pytest.mark.parametrize(
    ("query", "qty"), [({}, "10"), ({"qty": "4"}, "4"), ({"percentage": "33.3"}, "3")]
)
def test_a_position_is_closed_by_a_market_order(
    venue: VenueDriver, query: dict[str, str], qty: str
) -> None:
    venue.own(10)
    reply = venue.call("DELETE", "/v2/positions/AAPL", query)
    assert reply.status == 200
    assert reply.body["qty"] == qty  # type: ignore[index]
    assert reply.body["side"] == "sell"  # type: ignore[index]
    venue.settle()
    assert venue.position_qty() == 10 - Decimal(qty)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"qty": "4", "percentage": "10"}, 422),
        ({"percentage": "101"}, 422),
        ({"qty": "0"}, 422),
        ({"qty": "x"}, 422),
        ({"qty": "11"}, 403),
        ({"percentage": "0.1"}, 422),
    ],
)
def test_bad_closes(venue: VenueDriver, query: dict[str, str], status: int) -> None:
    venue.own(10)
    assert venue.call("DELETE", "/v2/positions/AAPL", query).status == status


def test_a_position_worth_less_than_the_smallest_order_can_be_closed(venue: VenueDriver) -> None:
    venue.own("0.05")
    venue.quote("AAPL", "5", "5.10")
    assert venue.call("DELETE", "/v2/positions/AAPL").status == 200
    venue.settle()
    assert venue.get("/v2/positions") == []


def test_a_close_against_an_open_buy_is_a_wash_trade(venue: VenueDriver) -> None:
    venue.own(10)
    venue.submit(qty="1", type="limit", limit_price="90")
    reply = venue.call("DELETE", "/v2/positions/AAPL")
    assert reply.status == 403
    assert reply.body["reject_reason"] == "opposite side limit order exists"  # type: ignore[index]


def test_money_can_be_taken_out_of_a_position(venue: VenueDriver) -> None:
    venue.own(10)
    order = venue.submit(side="sell", notional="499.50")
    assert venue.get("/v2/positions/AAPL")["qty_available"] == "5"
    venue.settle()
    assert venue.order(order["id"])["filled_qty"] == "5"


def test_closing_everything_answers_for_each_position(venue: VenueDriver) -> None:
    venue.own(10)
    venue.own(10, "MSFT")
    venue.submit(side="sell", qty="3", type="limit", limit_price="200")
    venue.settle()
    reply = venue.call("DELETE", "/v2/positions")
    assert reply.status == 207
    assert [(r["symbol"], r["status"]) for r in reply.body] == [  # type: ignore[attr-defined]
        ("AAPL", 403),
        ("MSFT", 200),
    ]
    reply = venue.call("DELETE", "/v2/positions", {"cancel_orders": "true"})
    venue.settle()
    assert venue.get("/v2/positions") == []
    assert venue.get("/v2/orders") == []


def test_cancel_all_answers_for_each_order(venue: VenueDriver) -> None:
    first = venue.submit(qty="1", type="limit", limit_price="50")
    second = venue.submit(qty="1", type="limit", limit_price="51")
    reply = venue.call("DELETE", "/v2/orders")
    assert (reply.status, reply.body) == (
        207,
        [{"id": first["id"], "status": 200}, {"id": second["id"], "status": 200}],
    )


# ---- lists and pages ----


def fill_some(venue: VenueDriver, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        ids.append(venue.submit(qty="1")["id"])
        venue.settle()
        venue.now_ns += SECOND
    return ids


def test_orders_are_listed_youngest_first_and_filtered(venue: VenueDriver) -> None:
    ids = fill_some(venue, 5)
    msft = venue.submit("MSFT", qty="1", type="limit", limit_price="40")["id"]
    listed = venue.get("/v2/orders", status="all")
    assert [order["id"] for order in listed] == [msft, *reversed(ids)]

    def find(**query: str) -> list[str]:
        return [order["id"] for order in venue.get("/v2/orders", **query)]

    assert find() == [msft]
    assert find(status="closed", direction="asc") == ids
    assert find(status="all", limit="2") == [msft, ids[4]]
    assert find(status="all", symbols="MSFT,TSLA") == [msft]
    assert find(status="all", side="sell") == []
    assert find(status="all", asset_class="crypto") == []
    assert find(status="closed", after_order_id=ids[2], direction="asc") == ids[3:]
    assert find(status="closed", before_order_id=ids[1]) == ids[:1]
    third = venue.order(ids[2])["submitted_at"]
    assert find(status="closed", after=third, direction="asc") == ids[3:]
    assert find(status="closed", until=third, direction="asc") == ids[:2]


@pytest.mark.parametrize(
    "query",
    [
        {"status": "new"},
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "ten"},
        {"direction": "up"},
        {"after": "yesterday"},
        {"nested": "maybe"},
        {"side": "long"},
    ],
)
def test_bad_list_queries(venue: VenueDriver, query: dict[str, str]) -> None:
    assert venue.call("GET", "/v2/orders", query).status == 422


def test_fills_are_paged_by_the_id_of_the_last_one(venue: VenueDriver) -> None:
    fill_some(venue, 7)
    path = "/v2/account/activities/FILL"
    newest = venue.get(path, page_size="3")
    assert len(newest) == 3
    pages: list[Any] = []
    query = {"direction": "asc", "page_size": "3"}
    while page := venue.get(path, **query):
        pages += page
        query["page_token"] = page[-1]["id"]
    assert len(pages) == 7
    assert [page["id"] for page in pages][::-1][:3] == [page["id"] for page in newest]
    assert len({page["id"] for page in pages}) == 7
    assert pages[0]["id"].startswith("20260609110000")
    assert venue.get(path, after=pages[4]["transaction_time"], direction="asc") == pages[5:]
    assert venue.get(path, date="2026-06-08") == []
    assert len(venue.get(path, date="2026-06-09")) == 7
    assert venue.call("GET", path, {"page_token": "nonsense"}).status == 422


def test_activities_can_be_asked_for_by_type_or_category(venue: VenueDriver) -> None:
    fill_some(venue, 1)
    venue.venue.split("AAPL", Decimal(2), venue.now_ns)
    path = "/v2/account/activities"
    assert [a["activity_type"] for a in venue.get(path)] == ["SPLIT", "FILL"]
    assert len(venue.get(path, activity_types="FILL,DIV")) == 1
    assert len(venue.get(path, category="non_trade_activity")) == 1
    both = {"category": "trade_activity", "activity_types": "FILL"}
    assert venue.call("GET", path, both).status == 422


def test_portfolio_history_follows_equity(venue: VenueDriver) -> None:
    venue.own(100)
    for price in range(100, 110):
        venue.now_ns += 60 * SECOND
        venue.quote("AAPL", price, price)
    history = venue.get("/v2/account/portfolio/history", period="1D", timeframe="1Min")
    assert history["timeframe"] == "1Min"
    assert len(history["timestamp"]) == len(history["equity"]) == 11
    assert history["equity"][-1] == 100_000 - 10 + 900
    assert history["profit_loss"][-1] == 890
    assert history["timestamp"] == sorted(history["timestamp"])
    daily = venue.get("/v2/account/portfolio/history", period="1A")
    assert (daily["timeframe"], len(daily["equity"])) == ("1D", 1)


@pytest.mark.parametrize(
    "query",
    [
        {"timeframe": "2Min"},
        {"period": "1Q"},
        {"period": "2M", "timeframe": "1Min"},
        {"start": "2026-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"},
        {"start": "2026-01-01", "end": "2026-02-01", "period": "1D"},
        {"intraday_reporting": "never"},
    ],
)
def test_bad_history_queries(venue: VenueDriver, query: dict[str, str]) -> None:
    assert venue.call("GET", "/v2/account/portfolio/history", query).status == 422


def test_configurations_are_kept_and_checked(venue: VenueDriver) -> None:
    path = "/v2/account/configurations"
    changed = venue.call(
        "PATCH", path, None, trade_confirm_email="none", max_options_trading_level=2
    )
    assert changed.status == 200
    assert venue.get(path) == changed.body
    assert venue.get(path)["trade_confirm_email"] == "none"
    for bad in ({"trade_confirm_email": "some"}, {"no_shorting": "yes"}, {"dtbp_check": 1}):
        assert venue.call("PATCH", path, None, **bad).status == 422


def test_closed_orders_are_kept_up_to_a_bound() -> None:
    venue = VenueDriver(keep_closed_orders=5, keep_activities=5)
    venue.quote("AAPL", "99.90", "100.10")
    ids = fill_some(venue, 12)
    assert [order["id"] for order in venue.get("/v2/orders", status="all")] == ids[:6:-1]
    assert venue.venue.store.forgotten == 7
    assert venue.call("GET", f"/v2/orders/{ids[0]}").status == 404
    assert len(venue.get("/v2/account/activities/FILL")) < 10


# ---- numbers and times ----


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-06-09T15:00:00Z", "2026-06-09T15:00:00Z"),
        ("2026-06-09T11:00:00-04:00", "2026-06-09T15:00:00Z"),
        ("2026-06-09T15:00:00.123456789Z", "2026-06-09T15:00:00.123456789Z"),
        ("2026-06-09T15:00:00.120Z", "2026-06-09T15:00:00.12Z"),
        ("2026-06-09", "2026-06-09T00:00:00Z"),
        ("2026-06-09T17:00:00 02:00", "2026-06-09T15:00:00Z"),
    ],
)
def test_times_keep_their_nanoseconds(text: str, shown: str) -> None:
    assert timestamp(parse_timestamp(text)) == shown


@pytest.mark.parametrize("text", ["", "now", "2026-13-01", "2026-06-09T25:00:00Z", "1781017200"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_timestamp(text)


def test_a_request_may_come_hours_later(venue: VenueDriver) -> None:
    order = venue.submit(qty="1")
    venue.now_ns += 5 * HOUR
    assert venue.order(order["id"])["status"] == "filled"


def test_orders_under_way_survive_a_clock_that_steps_back(venue: VenueDriver) -> None:
    order = venue.submit(qty="1")
    venue.now_ns -= HOUR
    venue.venue.advance(venue.now_ns)
    due = venue.venue.next_due_ns()
    assert due is not None
    assert due - venue.now_ns < SECOND
    venue.settle()
    assert venue.order(order["id"])["status"] == "filled"
    ids = [event["event_id"] for event in venue.events]
    assert ids == sorted(set(ids))
