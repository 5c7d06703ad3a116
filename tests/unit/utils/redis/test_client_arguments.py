"""What a TickerClient is given is checked before anything is connected, and says what to do."""

from __future__ import annotations

import socket
from datetime import datetime
from typing import Any

import pytest

from main.utils.redis.callbacks import check_callbacks, data_of
from main.utils.redis.client import TickerClient
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import (
    BusError,
    InvalidTicker,
    RedisUnavailable,
    RegistrationRejected,
)
from main.utils.redis.follow_options import follow_options
from main.utils.redis.gap_tracker import Place
from main.utils.redis.messages import (
    BarMessage,
    GapMessage,
    OrderMessage,
    PriceMessage,
    RegistrationReply,
)

NOWHERE = RedisConfig(host="127.0.0.1", port=1)


def client(**options: Any) -> TickerClient:
    return TickerClient(NOWHERE, options.pop("client_id", "my-bot"), **options)


@pytest.mark.parametrize("client_id", ["", "my bot", "a:b", "ä", "x" * 65, None, 7])
def test_a_client_id_that_the_wire_forbids_is_refused_by_name(client_id: Any) -> None:
    with pytest.raises(ValueError, match="is not a client_id: 1 to 64 letters") as caught:
        client(client_id=client_id)
    assert isinstance(caught.value, BusError)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"policy": "newest"}, "policy must be 'all' or 'latest', not 'newest'"),
        ({"lease_s": 0}, "lease_s must be from 1 to 86400 seconds, not 0"),
        ({"lease_s": 86_401}, "not 86401"),
    ],
)
def test_a_bad_option_of_the_client_says_what_it_may_be(options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        client(**options)


@pytest.mark.parametrize(
    ("tickers", "options", "says"),
    [
        ([], {}, "no ticker given"),
        (["AAPL"], {"orders": "own"}, "orders must be 'mine' or 'all', not 'own'"),
        (["AAPL"], {"data": ["depth"]}, "data must be some of trades, quotes, bars"),
        (["AAPL"], {"data": "quotes"}, "data must be some of"),
        (["AAPL"], {"from_last": True, "since": "2026-11-21T14:30:05Z"}, "exclude each other"),
        (["AAPL"], {"since": "yesterday"}, "is not a time like 2026-11-21T14:30:05.123Z"),
        (["AAPL"], {"since": datetime(2026, 11, 21)}, "a time with a zone"),  # noqa: DTZ001
        (["AAPL"], {"from_id": "17"}, "expected <epoch>-<seq>"),
        (["AAPL", "MSFT"], {"from_id": "17-1"}, "an id is one ticker's"),
        (["AAPL"], {"from_id": {"MSFT": "17-1"}}, "names MSFT, which is not followed here"),
    ],
)
def test_a_bad_option_of_follow_says_what_is_wrong(tickers: Any, options: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        follow_options(tickers, **options)


def test_a_bad_ticker_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InvalidTicker, match=r"did you mean BRK\.B"):
        follow_options(["AAPL", "brk-b"])


def test_tickers_are_normalised_and_each_followed_once() -> None:
    assert follow_options([" aapl", "AAPL", "brk.b"]).tickers == ("AAPL", "BRK.B")


def test_an_id_of_its_own_may_be_given_for_each_of_several_tickers() -> None:
    options = follow_options(["AAPL", "MSFT"], from_id={"aapl": "17-4"})
    assert options.starts["AAPL"].place == Place(17, 4)
    assert options.starts["MSFT"].kind == "live"


def test_a_callback_has_to_be_a_plain_function() -> None:
    async def later(message: object) -> None: ...

    with pytest.raises(TypeError, match="later would have to be awaited"):
        check_callbacks({"price": later})
    with pytest.raises(TypeError, match="cannot be called"):
        check_callbacks({"price": 7})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no callback given: name one, of price=, order="):
        check_callbacks({"price": None})


def test_a_callback_on_bars_asks_for_bars() -> None:
    assert data_of(check_callbacks({"bar": print})) == ("trades", "bars")
    assert list(check_callbacks({"bar": print})) == [BarMessage]


def test_a_wrong_environment_is_named() -> None:
    with pytest.raises(ValueError, match="REDIS_PORT must be a number"):
        TickerClient.from_env(client_id="my-bot", env={"REDIS_PORT": "x"})


def test_where_nobody_listens_the_error_says_how_to_start_one() -> None:
    lost = TickerClient.from_env(client_id="my-bot", env={"REDIS_PORT": "1"})
    with pytest.raises(RedisUnavailable, match="nobody listens there") as raised:
        lost.open()
    (hint,) = raised.value.__notes__
    assert "tickerbus up" in hint
    assert "REDIS_URL" in hint


@pytest.mark.parametrize(
    ("cause", "nobody"),
    [
        (ConnectionRefusedError(111, "refused"), True),
        (socket.gaierror(-2, "unknown"), True),
        (TimeoutError(), False),
        ("WRONGPASS", False),
    ],
)
def test_only_an_address_without_a_redis_is_one_where_nobody_is(
    cause: BaseException | str, nobody: bool
) -> None:
    assert RedisUnavailable("h:1", cause).nobody_there is nobody


def test_the_connections_bear_the_clients_name_and_secured_mode_comes_from_the_environment() -> (
    None
):
    made = TickerClient.from_env(
        client_id="my-bot", env={"BUS_PREFIX": "P_", "REGISTRATION_SECURED": "true"}
    )
    assert made._config.client_name == "tickerbus-my-bot"
    assert made._config.bus_prefix == "P_"
    assert made._secured


def test_an_order_id_says_whose_it_is_and_is_never_the_same_twice() -> None:
    ids = {client().order_id("AAPL", "entry") for _ in range(100)}
    assert len(ids) == 100
    assert all(order_id.startswith("my-bot:AAPL:entry:") for order_id in ids)
    assert client().order_id().startswith("my-bot:")


@pytest.mark.parametrize("words", [("",), ("a\nb",), ("ä",), (7,), ("x" * 90,)])
def test_an_order_id_that_alpaca_would_not_take_is_refused(words: Any) -> None:
    with pytest.raises(ValueError, match="order id"):
        client().order_id(*words)


def test_a_rejection_names_every_ticker_with_the_brokers_reason() -> None:
    replies = [
        RegistrationReply(
            action="subscribe",
            ticker=ticker,
            client_id="my-bot",
            request_id=None,
            status="rejected",
            reason=reason,
            detail=detail,
            holders=0,
            timestamp="",
        )
        for ticker, reason, detail in (("A", "symbol_limit", "30 of 30"), ("B", "unknown", None))
    ]
    error = RegistrationRejected(replies)
    assert str(error) == "A is not followed, symbol_limit: 30 of 30; B is not followed, unknown"
    assert (error.ticker, error.reason, error.detail) == ("A", "symbol_limit", "30 of 30")


def test_messages_match_by_position_and_know_their_id() -> None:
    numbers = {"symbol": "AAPL", "timestamp": "2026-11-21T14:30:05Z", "epoch": 17}
    trade = PriceMessage(
        **numbers, seq=4, price=1.5, volume=10, feed="iex", last_eligible=True, backfilled=False
    )
    gap = GapMessage(**numbers, from_="a", to="b", cause="overload", backfilled=False, lost=None)
    seen = []
    for message in (trade, gap):
        match message:
            case PriceMessage(symbol, price, volume):
                seen.append((symbol, price, volume))
            case OrderMessage(symbol, _, _):
                pytest.fail("a trade or a gap is no order")
            case GapMessage(symbol, begun, until, cause):
                seen.append((symbol, begun, until, cause))
    assert seen == [("AAPL", 1.5, 10), ("AAPL", "a", "b", "overload")]
    assert (trade.id, gap.id) == ("17-4", None)
