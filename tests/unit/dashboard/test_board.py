"""The board: messages and times in, the conflated picture out."""

from __future__ import annotations

import random

import pytest

from main.dashboard.board import MAX_ROWS, Board
from main.dashboard.redis_facts import Reader, RedisFacts
from main.dashboard.rows import BUCKET_S, POINTS
from main.holders import Holder
from main.utils.redis.messages import MarketStatus, decode_typed, encode

from .messages import FRIDAY_S, at, gap, halt, heartbeat, order, price

LAST, TICK, CHANGE, SPARK, RATE, LAG, STATE, WHY, HELD = range(1, 10)


@pytest.fixture
def board() -> Board:
    return Board(address="127.0.0.1:6379", symbol_limit=30, now_s=FRIDAY_S)


def hold(*pairs: tuple[str, str]) -> list[Holder]:
    until_ms = int((FRIDAY_S + 300) * 1000)
    return [
        Holder(ticker=t, client_id=c, until_ms=until_ms, data=["trades"], lease_s=300)
        for t, c in pairs
    ]


def test_a_thousand_trades_between_two_ticks_are_one_change_with_the_last_price(
    board: Board,
) -> None:
    seen = board.tick(FRIDAY_S)
    for number in range(1_000):
        board.take(price(100 + number / 100, FRIDAY_S), FRIDAY_S)
    board.tick(FRIDAY_S + 0.25)
    changes = board.changes(seen)
    assert [row.cells[LAST] for row in changes.rows] == ["109.99"]
    assert board.changes(changes.version).rows == [], "and it is told once"


def test_a_slow_viewer_gets_the_newest_of_all_that_it_missed(board: Board) -> None:
    board.take(price(1.0), FRIDAY_S)
    seen = board.tick(FRIDAY_S)
    for step in range(1, 9):
        board.take(price(10.0 + step, symbol=f"T{step % 2}"), FRIDAY_S)
        board.tick(FRIDAY_S + step / 4)
    told = {row.symbol: row.cells[LAST] for row in board.changes(seen).rows}
    assert (told["T0"], told["T1"]) == ("18.00", "17.00")


def test_any_viewer_that_asks_when_it_likes_ends_with_the_same_picture() -> None:
    rng = random.Random(3)
    board = Board(address="", symbol_limit=0, now_s=FRIDAY_S)
    often: dict[str, list[object]] = {}
    rarely: dict[str, list[object]] = {}
    seen = {"often": 0, "rarely": 0}
    for step in range(400):
        board.take(price(rng.uniform(1, 9), symbol=rng.choice("ABCDE")), FRIDAY_S + step / 10)
        board.tick(FRIDAY_S + step / 10)
        for name, picture in (("often", often), ("rarely", rarely)):
            if name == "often" or step % 37 == 0 or step == 399:
                changes = board.changes(seen[name])
                seen[name] = changes.version
                picture |= {row.symbol: list(row.cells) for row in changes.rows}
    assert often == rarely
    assert set(often) == set("ABCDE")


def test_only_trades_that_may_set_it_are_the_last_price(board: Board) -> None:
    board.take(price(100.0), FRIDAY_S)
    board.take(price(50.0, FRIDAY_S + 1, last_eligible=False), FRIDAY_S + 1)
    board.tick(FRIDAY_S + 1)
    row = board.rows["AAPL"]
    assert row.cells[LAST] == "100.00"
    assert row.last_at_s == FRIDAY_S + 1, "but it has traded"


def test_the_tick_is_the_direction_of_the_last_change(board: Board) -> None:
    ticks = []
    for value in (100.0, 101.0, 101.0, 100.5):
        board.take(price(value), FRIDAY_S)
        board.tick(FRIDAY_S)
        ticks.append(board.rows["AAPL"].cells[TICK])
    assert ticks == [0, 1, 1, -1]


def test_the_sparkline_has_a_point_for_each_five_seconds_of_five_minutes(board: Board) -> None:
    for step in range(200):
        now_s = FRIDAY_S + step * BUCKET_S
        board.take(price(100 + step, now_s), now_s)
    assert len(board.rows["AAPL"].trend) == POINTS
    board.tick(FRIDAY_S + 1_000)
    assert board.rows["AAPL"].cells[SPARK].count(",") == POINTS


def test_rate_and_lag_are_those_of_the_last_seconds(board: Board) -> None:
    for second in range(20):
        for number in range(40):
            now_s = FRIDAY_S + second + number / 40
            board.take(price(100.0, now_s - 0.012), now_s)
        board.tick(FRIDAY_S + second + 1)
    cells = board.rows["AAPL"].cells
    assert cells[RATE] == "40"
    assert cells[LAG] == "12 ms"
    for second in range(60):
        board.tick(FRIDAY_S + 21 + second)
    assert board.rows["AAPL"].cells[RATE] == "0"


def test_a_wrong_clock_upstream_moves_nothing_into_the_future(board: Board) -> None:
    board.take(price(100.0, FRIDAY_S + 86_400), FRIDAY_S)
    assert board.rows["AAPL"].last_at_s == FRIDAY_S


def test_a_silent_broker_turns_every_ticker_down_at_once(board: Board) -> None:
    board.take_holders(hold(("AAPL", "bot"), ("MSFT", "bot")))
    board.take_broker(heartbeat(tickers={"AAPL": "LIVE", "MSFT": "LIVE"}), FRIDAY_S)
    for symbol in ("AAPL", "MSFT"):
        board.take(price(symbol=symbol), FRIDAY_S)
    seen = board.tick(FRIDAY_S + 0.25)
    assert board.states() == {"LIVE": 2}
    now_s = FRIDAY_S + 0.25
    while not board.states().get("DOWN"):
        now_s += 0.25
        board.tick(now_s)
        assert now_s < FRIDAY_S + 3.0, "a stopped broker shows within three seconds"
    assert {row.symbol for row in board.changes(seen).rows} == {"AAPL", "MSFT"}
    assert [alert.level for alert in board.alerts(now_s)] == ["bad"]
    board.take_broker(heartbeat(tickers={"AAPL": "LIVE", "MSFT": "LIVE"}), now_s)
    board.tick(now_s + 0.25)
    assert board.states() == {"LIVE": 2}


def test_a_ticker_is_shown_as_soon_as_it_is_held_or_followed_or_heard(board: Board) -> None:
    board.take_holders(hold(("AAPL", "bot")))
    board.take_broker(heartbeat(tickers={"MSFT": "QUIET"}), FRIDAY_S)
    board.take(price(symbol="TSLA"), FRIDAY_S)
    board.tick(FRIDAY_S)
    assert {row.symbol: row.cells[HELD] for row in board.rows.values()} == {
        "AAPL": 1,
        "MSFT": 0,
        "TSLA": 0,
    }


def test_who_lets_go_is_not_counted_any_more(board: Board) -> None:
    board.take_holders(hold(("AAPL", "a"), ("AAPL", "b")))
    board.tick(FRIDAY_S)
    assert board.rows["AAPL"].cells[HELD] == 2
    board.take_holders([])
    board.take_broker(heartbeat(tickers={}), FRIDAY_S)
    board.tick(FRIDAY_S + 1)
    assert board.rows["AAPL"].cells[HELD] == 0
    assert board.rows["AAPL"].cells[STATE] == "OFF"


def test_a_ticker_that_nobody_wants_leaves_the_table_after_a_while(board: Board) -> None:
    board.take(price(), FRIDAY_S)
    seen = board.tick(FRIDAY_S)
    board.tick(FRIDAY_S + 900)
    assert board.changes(seen).gone == ["AAPL"]
    board.take(price(), FRIDAY_S + 901)
    board.tick(FRIDAY_S + 902)
    assert [row.symbol for row in board.changes(seen).rows] == ["AAPL"]
    assert board.changes(seen).gone == [], "it is back"


def test_the_number_of_tickers_is_bounded_and_what_is_left_out_is_counted(board: Board) -> None:
    for number in range(MAX_ROWS + 5):
        board.take(price(symbol=f"T{number}"), FRIDAY_S)
    assert len(board.rows) == MAX_ROWS
    assert board.not_shown == 5


def test_a_hostile_symbol_is_shown_bounded_under_one_name(board: Board) -> None:
    name = "<script>" + "A" * 500
    for _ in range(3):
        board.take(price(symbol=name), FRIDAY_S)
    board.tick(FRIDAY_S)
    assert len(board.rows) == 1
    (row,) = board.rows.values()
    assert len(row.symbol) == 32
    assert row.messages == 3


def test_a_halt_shows_until_the_ticker_is_resumed(board: Board) -> None:
    board.take_holders(hold(("AAPL", "bot")))
    board.take_broker(heartbeat(tickers={"AAPL": "QUIET"}), FRIDAY_S)
    board.take(halt("H"), FRIDAY_S)
    board.tick(FRIDAY_S)
    assert board.rows["AAPL"].cells[WHY] == "trading is halted: Volatility Trading Pause"
    board.take(halt("5"), FRIDAY_S)
    assert board.rows["AAPL"].halt is not None, "a price indication is no resume"
    board.take(halt("T"), FRIDAY_S)
    board.tick(FRIDAY_S + 0.25)
    assert "halted" not in board.rows["AAPL"].cells[WHY]


def test_whoever_trades_is_not_halted(board: Board) -> None:
    """The resume may have been lost."""
    board.take(halt("2"), FRIDAY_S)
    board.take(price(at_s=FRIDAY_S - 1), FRIDAY_S)
    assert board.rows["AAPL"].halt is not None, "a trade from before the halt"
    board.take(price(at_s=FRIDAY_S + 1), FRIDAY_S + 1)
    assert board.rows["AAPL"].halt is None


def test_a_halt_from_before_the_page_is_known_from_the_journal(board: Board) -> None:
    row = board.row("AAPL")
    assert row is not None
    row.seed_halt([halt("H", FRIDAY_S - 9), halt("T", FRIDAY_S - 8), halt("H", FRIDAY_S - 7)])
    assert row.halt is not None
    other = board.row("MSFT")
    assert other is not None
    other.seed_halt([halt("H", FRIDAY_S - 9), price(at_s=FRIDAY_S - 3)])
    assert other.halt is None


def test_the_journal_fills_in_what_was_before_the_page(board: Board) -> None:
    board.take(price(105.0, FRIDAY_S), FRIDAY_S)
    row = board.rows["AAPL"]
    row.seed([(FRIDAY_S - 20, 101.0, True), (FRIDAY_S - 10, 102.0, True)])
    assert [value for _, value in row.trend] == [101.0, 102.0, 105.0]
    assert row.last == 105.0
    fresh = Board(address="", symbol_limit=0, now_s=FRIDAY_S)
    quiet = fresh.row("MSFT")
    assert quiet is not None
    quiet.seed([(FRIDAY_S - 9, 50.0, True), (FRIDAY_S - 8, 51.0, False)])
    assert (quiet.last, quiet.last_at_s) == (50.0, FRIDAY_S - 8)


def test_the_brokers_own_word_on_market_and_budget_wins(board: Board) -> None:
    assert board.budget().limit == 30
    assert not board.market(FRIDAY_S).by_broker
    told = MarketStatus(is_open=False, changes_at=at(FRIDAY_S + 60))
    board.take_broker(heartbeat(market=told, limits={"symbols": 100}), FRIDAY_S)
    assert (board.budget().limit, board.market(FRIDAY_S).is_open) == (100, False)
    assert board.market(FRIDAY_S).changes_s == FRIDAY_S + 60


def test_crypto_does_not_take_of_the_plans_symbols(board: Board) -> None:
    board.take_holders(hold(("AAPL", "a"), ("AAPL", "b"), ("BTC/USD", "a")))
    assert board.budget().used == 1
    assert board.budget().words == "1 of 30"
    assert board.budget().crypto == 1


def test_every_message_of_the_bus_can_be_taken(board: Board) -> None:
    for message in (price(), order(), gap(FRIDAY_S - 5, FRIDAY_S), halt()):
        again = decode_typed(encode(message))
        assert again is not None
        board.take(again, FRIDAY_S)  # type: ignore[arg-type]
    assert board.messages == 4
    assert len(board.orders.lines) == len(board.gaps.outages) == 1


# -- what needs attention


def alerts(board: Board, now_s: float = FRIDAY_S) -> str:
    board.tick(now_s)
    return " ".join(alert.words for alert in board.alerts(now_s))


def test_all_is_well_and_nothing_is_said(board: Board) -> None:
    board.take_broker(heartbeat(tickers={}), FRIDAY_S)
    assert alerts(board) == ""


def test_each_trouble_is_said(board: Board) -> None:
    board.take_broker(heartbeat(tickers={"AAPL": "MUTE"}, ready=False), FRIDAY_S)
    board.take_holders(hold(("AAPL", "bot")))
    board.take(gap(FRIDAY_S - 60, FRIDAY_S - 50, backfilled=False), FRIDAY_S)
    slow = Reader(name="bot-7", address="10.0.0.1:5", channels=1, waiting=9_000_000, age_s=5)
    board.take_redis(
        RedisFacts(address="r", used=90, bound=100, evicted=3, readers=(slow,), policy="")
    )
    board.dropped = 12
    said = alerts(board)
    for words in (
        "1 ticker should trade and does not",
        "An order event may be missing",
        "Prices of AAPL are missing",
        "90% of its memory bound",
        "evicted 3 keys",
        "Too slow a reader: bot-7",
        "left out 12 messages",
    ):
        assert words in said


def test_a_full_plan_is_said() -> None:
    board = Board(address="", symbol_limit=1, now_s=FRIDAY_S)
    board.take_broker(heartbeat(), FRIDAY_S)
    board.take_holders(hold(("AAPL", "bot")))
    assert "All 1 symbols of the plan are taken" in alerts(board)


def test_without_redis_nothing_else_is_claimed(board: Board) -> None:
    board.take_broker(heartbeat(ready=False), FRIDAY_S)
    board.take_redis(RedisFacts(address="r:1", trouble="refused"))
    assert alerts(board) == "Redis at r:1: refused"
