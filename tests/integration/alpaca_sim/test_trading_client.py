"""Every method of an unmodified alpaca-py TradingClient, over real sockets, gets its own model.

The matrix names every public method: those whose path is answered, and those whose path is not
(options, watchlists, announcements), which get Alpaca's 404 and never an invented success.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading import enums, models, requests
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig
from main.alpaca_sim.venue_config import VenueConfig

from .stream_client import DEADLINE_S, eventually

pytestmark = pytest.mark.integration
KEYS = ("local", "local-secret")
BUY, SELL = enums.OrderSide.BUY, enums.OrderSide.SELL
DAY, GTC = enums.TimeInForce.DAY, enums.TimeInForce.GTC


@pytest.fixture
def sim() -> Iterator[LocalAlpaca]:
    """A market that moves only when told, without partial fills."""
    config = SimConfig(
        market=MarketRules(default_rate=0.0),
        trading_rest_limit=0,
        venue=VenueConfig(partial_fill_rate=0.0),
    )
    with LocalAlpaca(config) as running:
        running.quote("AAPL", 99.95, 100.00)
        running.quote("BTC/USD", 60_000, 60_010)
        yield running


@pytest.fixture
def client(sim: LocalAlpaca) -> TradingClient:
    return TradingClient(*KEYS, url_override=sim.url)


def filled(client: TradingClient, order: models.Order) -> models.Order:
    def look() -> models.Order | None:
        found = client.get_order_by_id(order.id)
        return found if found.status == enums.OrderStatus.FILLED else None

    found = eventually(look, "the fill")
    assert isinstance(found, models.Order)
    return found


def own(client: TradingClient, qty: int = 10) -> models.Order:
    order = client.submit_order(
        requests.MarketOrderRequest(symbol="AAPL", qty=qty, side=BUY, time_in_force=DAY)
    )
    return filled(client, order)


def rest(client: TradingClient, price: float = 50, **fields: Any) -> models.Order:
    order = client.submit_order(
        requests.LimitOrderRequest(
            symbol="AAPL", qty=2, side=BUY, time_in_force=GTC, limit_price=price, **fields
        )
    )
    return eventually(  # type: ignore[no-any-return]
        lambda: (
            found
            if (found := client.get_order_by_id(order.id)).status == enums.OrderStatus.NEW
            else None
        ),
        "the acknowledgement",
    )


# ---- the methods that are answered ----


def do_submit_order(client: TradingClient, _: LocalAlpaca) -> None:
    """Every kind of request that alpaca-py can make for a stock."""
    own(client, 50)
    sell: dict[str, Any] = {"symbol": "AAPL", "qty": 1, "side": SELL, "time_in_force": GTC}
    kinds = [
        requests.LimitOrderRequest(**{**sell, "limit_price": 120.5}),
        requests.StopOrderRequest(**{**sell, "stop_price": 80}),
        requests.StopLimitOrderRequest(**{**sell, "stop_price": 80, "limit_price": 79.5}),
        requests.TrailingStopOrderRequest(**{**sell, "trail_percent": 5}),
        requests.TrailingStopOrderRequest(**{**sell, "trail_price": 5}),
        requests.LimitOrderRequest(
            **{**sell, "limit_price": 130, "extended_hours": True, "time_in_force": DAY}
        ),
        requests.MarketOrderRequest(
            symbol="AAPL",
            qty=2,
            side=BUY,
            time_in_force=GTC,
            order_class=enums.OrderClass.BRACKET,
            take_profit=requests.TakeProfitRequest(limit_price=150),
            stop_loss=requests.StopLossRequest(stop_price=70, limit_price=69),
        ),
        requests.LimitOrderRequest(
            **{
                **sell,
                "order_class": enums.OrderClass.OCO,
                "take_profit": requests.TakeProfitRequest(limit_price=140),
                "stop_loss": requests.StopLossRequest(stop_price=60),
                "limit_price": 140,
            }
        ),
    ]
    orders = [client.submit_order(kind) for kind in kinds]
    assert [type(order) for order in orders] == [models.Order] * len(kinds)
    assert [order.order_class.value for order in orders[-2:]] == ["bracket", "oco"]
    assert orders[-2].legs is not None
    assert [leg.status for leg in orders[-2].legs] == [enums.OrderStatus.HELD] * 2


def do_get_orders(client: TradingClient, _: LocalAlpaca) -> None:
    order = rest(client)
    assert [found.id for found in client.get_orders()] == [order.id]
    chosen = requests.GetOrdersRequest(
        status=enums.QueryOrderStatus.ALL,
        symbols=["AAPL"],
        side=BUY,
        limit=5,
        nested=True,
        after=order.submitted_at - timedelta(seconds=5),
        until=order.submitted_at + timedelta(seconds=5),
    )
    (found,) = client.get_orders(chosen)
    assert isinstance(found, models.Order)


def do_get_order_by_id(client: TradingClient, _: LocalAlpaca) -> None:
    order = rest(client)
    found = client.get_order_by_id(order.id, requests.GetOrderByIdRequest(nested=True))
    assert isinstance(found, models.Order)
    assert found.model_dump() == client.get_order_by_id(order.id).model_dump()


def do_get_order_by_client_id(client: TradingClient, _: LocalAlpaca) -> None:
    order = rest(client, client_order_id="mine:1/2 + 3")
    found = client.get_order_by_client_id("mine:1/2 + 3")
    assert isinstance(found, models.Order)
    assert found.id == order.id


def do_replace_order_by_id(client: TradingClient, _: LocalAlpaca) -> None:
    order = rest(client)
    new = client.replace_order_by_id(
        order.id, requests.ReplaceOrderRequest(qty=3, limit_price=51, client_order_id="second")
    )
    assert isinstance(new, models.Order)
    assert (new.replaces, new.limit_price, new.client_order_id) == (order.id, "51", "second")
    assert eventually(lambda: client.get_order_by_id(order.id).replaced_by, "the replace") == new.id


def do_cancel_order_by_id(client: TradingClient, _: LocalAlpaca) -> None:
    order = rest(client)
    client.cancel_order_by_id(order.id)
    eventually(lambda: client.get_order_by_id(order.id).canceled_at, "the cancel")


def do_cancel_orders(client: TradingClient, _: LocalAlpaca) -> None:
    orders = [rest(client, 50), rest(client, 51)]
    answers = client.cancel_orders()
    assert {type(answer) for answer in answers} == {requests.CancelOrderResponse}
    assert [(answer.id, answer.status) for answer in answers] == [(o.id, 200) for o in orders]
    eventually(lambda: client.get_orders() == [], "the cancels")


def do_get_all_positions(client: TradingClient, _: LocalAlpaca) -> None:
    own(client)
    (position,) = client.get_all_positions()
    assert isinstance(position, models.Position)
    assert (position.symbol, position.qty, position.side) == ("AAPL", "10", enums.PositionSide.LONG)


def do_get_open_position(client: TradingClient, _: LocalAlpaca) -> None:
    order = own(client)
    by_symbol = client.get_open_position("AAPL")
    by_id = client.get_open_position(order.asset_id)
    assert isinstance(by_symbol, models.Position)
    assert by_symbol == by_id


def do_close_position(client: TradingClient, _: LocalAlpaca) -> None:
    own(client)
    order = client.close_position("AAPL", requests.ClosePositionRequest(percentage="40"))
    assert isinstance(order, models.Order)
    filled(client, order)
    order = client.close_position("AAPL", requests.ClosePositionRequest(qty="1"))
    filled(client, order)
    assert client.get_open_position("AAPL").qty == "5"
    filled(client, client.close_position("AAPL"))
    assert client.get_all_positions() == []


def do_close_all_positions(client: TradingClient, _: LocalAlpaca) -> None:
    own(client)
    crypto = requests.MarketOrderRequest(
        symbol="BTC/USD", notional=500, side=BUY, time_in_force=GTC
    )
    filled(client, client.submit_order(crypto))
    client.submit_order(
        requests.LimitOrderRequest(
            symbol="AAPL", qty=4, side=SELL, time_in_force=GTC, limit_price=200
        )
    )
    refused, taken = client.close_all_positions()
    assert isinstance(refused, models.ClosePositionResponse)
    assert isinstance(refused.body, models.FailedClosePositionDetails)
    assert (refused.status, refused.body.code, refused.body.available) == (403, 40310000, 6)
    assert isinstance(taken.body, models.Order)
    answers = client.close_all_positions(cancel_orders=True)
    assert answers[0].status == 200
    eventually(lambda: client.get_all_positions() == [], "the closes")


def do_get_portfolio_history(client: TradingClient, _: LocalAlpaca) -> None:
    own(client)
    history = client.get_portfolio_history(
        requests.GetPortfolioHistoryRequest(period="1D", timeframe="1Min")
    )
    assert isinstance(history, models.PortfolioHistory)
    assert len(history.timestamp) == len(history.equity) > 0
    assert isinstance(client.get_portfolio_history(), models.PortfolioHistory)


def do_get_account(client: TradingClient, _: LocalAlpaca) -> None:
    own(client)
    account = client.get_account()
    assert isinstance(account, models.TradeAccount)
    assert Decimal(account.cash or 0) == 99_000
    value = Decimal(account.cash or 0) + Decimal(account.long_market_value or 0)
    assert Decimal(account.equity or 0) == value


def do_get_account_configurations(client: TradingClient, _: LocalAlpaca) -> None:
    assert isinstance(client.get_account_configurations(), models.AccountConfiguration)


def do_set_account_configurations(client: TradingClient, _: LocalAlpaca) -> None:
    wanted = client.get_account_configurations()
    wanted.suspend_trade = True
    changed = client.set_account_configurations(wanted)
    assert isinstance(changed, models.AccountConfiguration)
    assert changed.suspend_trade is True
    with pytest.raises(APIError, match="rejected by user request"):
        rest(client)


def do_get_clock(client: TradingClient, _: LocalAlpaca) -> None:
    assert isinstance(client.get_clock(), models.Clock)


def do_get_calendar(client: TradingClient, _: LocalAlpaca) -> None:
    days = client.get_calendar(
        requests.GetCalendarRequest(start=date(2026, 3, 2), end=date(2026, 3, 6))
    )
    assert [type(day) for day in days] == [models.Calendar] * 5


def do_get_all_assets(client: TradingClient, _: LocalAlpaca) -> None:
    assets = client.get_all_assets(
        requests.GetAssetsRequest(asset_class=enums.AssetClass.US_EQUITY)
    )
    assert {type(asset) for asset in assets} == {models.Asset}


def do_get_asset(client: TradingClient, _: LocalAlpaca) -> None:
    assert isinstance(client.get_asset("AAPL"), models.Asset)


ANSWERED: dict[str, Callable[[TradingClient, LocalAlpaca], None]] = {
    name.removeprefix("do_"): found
    for name, found in sorted(globals().items())
    if name.startswith("do_")
}
# Watchlists, corporate announcements and options are not implemented.
NOT_FOUND: dict[str, Callable[[TradingClient], object]] = {
    "get_watchlists": lambda c: c.get_watchlists(),
    "get_watchlist_by_id": lambda c: c.get_watchlist_by_id(uuid4()),
    "create_watchlist": lambda c: c.create_watchlist(
        requests.CreateWatchlistRequest(name="mine", symbols=["AAPL"])
    ),
    "update_watchlist_by_id": lambda c: c.update_watchlist_by_id(
        uuid4(), requests.UpdateWatchlistRequest(name="yours")
    ),
    "add_asset_to_watchlist_by_id": lambda c: c.add_asset_to_watchlist_by_id(uuid4(), "AAPL"),
    "delete_watchlist_by_id": lambda c: c.delete_watchlist_by_id(uuid4()),
    "remove_asset_from_watchlist_by_id": lambda c: c.remove_asset_from_watchlist_by_id(
        uuid4(), "AAPL"
    ),
    "get_corporate_announcements": lambda c: c.get_corporate_announcements(
        requests.GetCorporateAnnouncementsRequest(
            ca_types=[enums.CorporateActionType.SPLIT],
            since=date(2026, 1, 1),
            until=date(2026, 2, 1),
        )
    ),
    "get_corporate_announcement_by_id": lambda c: c.get_corporate_announcement_by_id(uuid4()),
    "get_option_contracts": lambda c: c.get_option_contracts(
        requests.GetOptionContractsRequest(underlying_symbols=["AAPL"])
    ),
    "get_option_contract": lambda c: c.get_option_contract("AAPL261218C00200000"),
    "exercise_options_position": lambda c: c.exercise_options_position("AAPL261218C00200000"),
}
PLAIN_HTTP = {"get", "post", "put", "patch", "delete", "response_wrapper"}


@pytest.mark.parametrize("name", ANSWERED)
def test_every_answered_method_gets_its_model(
    name: str, client: TradingClient, sim: LocalAlpaca
) -> None:
    ANSWERED[name](client, sim)


@pytest.mark.parametrize("name", NOT_FOUND)
def test_what_is_not_implemented_says_so(name: str, client: TradingClient) -> None:
    with pytest.raises(APIError) as caught:
        NOT_FOUND[name](client)
    assert caught.value.status_code == 404
    assert caught.value.code == 40410000


def test_no_method_of_the_client_is_left_out() -> None:
    public = {
        name
        for name in dir(TradingClient)
        if not name.startswith("_") and callable(getattr(TradingClient, name))
    }
    assert public - PLAIN_HTTP == set(ANSWERED) | set(NOT_FOUND)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"symbol": "ZZZZ", "qty": 1}, 422, 42210000),
        ({"symbol": "AAPL", "qty": 100_000}, 403, 40310000),
        ({"symbol": "AAPL", "qty": 0.5, "time_in_force": GTC}, 422, 42210000),
    ],
)
def test_refusals_arrive_with_status_and_code(
    client: TradingClient, fields: dict[str, Any], status: int, code: int
) -> None:
    order = requests.MarketOrderRequest(**{"side": BUY, "time_in_force": DAY, **fields})
    with pytest.raises(APIError) as caught:
        client.submit_order(order)
    assert (caught.value.status_code, caught.value.code) == (status, code)


# ---- the stream ----


@contextmanager
def listening(sim: LocalAlpaca) -> Iterator[list[models.TradeUpdate]]:
    """An unmodified TradingStream in a thread of its own; yields what its handler gets."""
    stream = TradingStream(*KEYS, url_override=sim.trading_stream_url)
    updates: list[models.TradeUpdate] = []

    async def handle(update: models.TradeUpdate) -> None:
        updates.append(update)

    stream.subscribe_trade_updates(handle)
    thread = threading.Thread(target=stream.run, name="trading-stream")
    thread.start()
    try:
        readers = sim._live.sim.desk.readers
        eventually(lambda: any(r.session.listens for r in [*readers.values()]), "listening")
        yield updates
    finally:
        asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop).result(DEADLINE_S)
        thread.join(DEADLINE_S + 6)
        assert not thread.is_alive()


def test_the_stream_parses_every_event_that_the_venue_tells(
    client: TradingClient, sim: LocalAlpaca
) -> None:
    with listening(sim) as updates:
        bought = own(client)
        first = rest(client, 50)
        second = client.replace_order_by_id(first.id, requests.ReplaceOrderRequest(limit_price=51))
        eventually(lambda: client.get_order_by_id(first.id).replaced_at, "the replace")
        client.cancel_order_by_id(second.id)
        eventually(lambda: client.get_order_by_id(second.id).canceled_at, "the cancel")
        for event in ("stopped", "done_for_day", "calculated", "expired"):
            if event == "stopped":
                third = rest(client, 52)
            sim.inject_order_event(str(third.id), event)
        rare = rest(client, 53)
        for event in ("suspended", "restated", "rejected"):
            if event == "rejected":
                rare = rest(client, 54)
            sim.inject_order_event(str(rare.id), event)
        sim.lose_race("fill")
        raced = rest(client, 55)
        client.cancel_order_by_id(raced.id)
        eventually(lambda: updates[-1].event == "order_cancel_rejected", "the rejected cancel")
        seen = {str(getattr(update.event, "value", update.event)) for update in updates}
    assert {type(update) for update in updates} == {models.TradeUpdate}
    assert seen >= {
        "pending_new",
        "new",
        "fill",
        "pending_replace",
        "replaced",
        "pending_cancel",
        "canceled",
        "stopped",
        "done_for_day",
        "calculated",
        "expired",
        "suspended",
        "restated",
        "rejected",
        "order_cancel_rejected",
    }
    fill = next(update for update in updates if update.order.id == bought.id and update.price)
    assert (fill.price, fill.qty, fill.position_qty) == (100.0, 10.0, 10.0)
    assert isinstance(fill.execution_id, UUID)


def test_missed_events_can_be_recovered_by_rest(client: TradingClient, sim: LocalAlpaca) -> None:
    """Fills that nobody listened to: they are in the activities, page by page."""
    for _ in range(5):
        own(client, 1)
    pages: list[dict[str, Any]] = []
    query: dict[str, Any] = {"direction": "asc", "page_size": 2}
    while page := client.get("/account/activities/FILL", query):
        assert isinstance(page, list)
        pages += page
        query["page_token"] = page[-1]["id"]
    told = [event for event in sim.oracle.order_events if event["event"] == "fill"]
    assert [entry["id"].split("::")[1] for entry in pages] == [e["execution_id"] for e in told]
