"""The order feed, the gaps of the day, the chart and Redis's own facts."""

from __future__ import annotations

import random

import pytest

from main.dashboard import words
from main.dashboard.chart import draw, thin
from main.dashboard.gaps import MAX_OUTAGES, GapBook
from main.dashboard.orders import MAX_LINES, OrderBook
from main.dashboard.redis_facts import RedisFacts, read_clients, read_info
from main.dashboard.registrations import by_client
from main.holders import Holder

from .messages import FRIDAY_S, gap, order, price


@pytest.fixture
def orders() -> OrderBook:
    return OrderBook()


@pytest.fixture
def gaps() -> GapBook:
    return GapBook()


def test_orders_stand_the_newest_first_whatever_order_they_came_in(orders: OrderBook) -> None:
    numbers = list(range(50))
    random.Random(1).shuffle(numbers)
    for number in numbers:
        orders.take(order(at_s=FRIDAY_S + number, seq=number), FRIDAY_S)
    times = [line.at_s for line in orders.lines]
    assert times == sorted(times, reverse=True)
    assert len(times) == 50


def test_an_order_from_the_journal_and_the_same_one_live_are_one_line(orders: OrderBook) -> None:
    for _ in range(2):
        orders.take(order(seq=4), FRIDAY_S)
    orders.take(order(seq=5), FRIDAY_S)
    assert len(orders.lines) == 2


def test_the_order_feed_is_bounded_and_keeps_the_newest(orders: OrderBook) -> None:
    for number in range(MAX_LINES + 30):
        orders.take(order(at_s=FRIDAY_S + number, seq=number), FRIDAY_S)
    orders.take(order(at_s=FRIDAY_S - 999, seq=99_999), FRIDAY_S)
    assert len(orders.lines) == MAX_LINES
    assert orders.lines[-1].at_s == FRIDAY_S + 30


def test_a_fill_shows_what_was_filled_and_at_which_price(orders: OrderBook) -> None:
    orders.take(order("fill", update={"qty": "4", "price": "101.25"}, filled_qty="4"), FRIDAY_S)
    line = orders.lines[0]
    assert (line.qty, line.price, line.filled, line.owner) == ("4", "101.25", "4", "bot")
    assert line.mark == [FRIDAY_S, 101.25, "fill", "buy", "4", "o-1"]


def test_prices_of_orders_stand_in_line(orders: OrderBook) -> None:
    for seq, text in enumerate(("100", "100.5", "100.25", "0.00012300")):
        orders.take(order(seq=seq, limit_price=text, at_s=FRIDAY_S + seq), FRIDAY_S)
    assert [line.price for line in orders.lines] == ["0.000123", "100.25", "100.50", "100.00"]


@pytest.mark.parametrize(
    "number", ["1e999999999", "<b>1</b>", "NaN", "9" * 10_000, None, {}, [], "\x00\x07"]
)
def test_a_hostile_number_comes_out_short_and_breaks_nothing(
    orders: OrderBook, number: object
) -> None:
    hostile = {"qty": number, "limit_price": number, "side": number, "client_order_id": number}
    orders.take(order(**hostile), FRIDAY_S)
    line = orders.lines[0]
    for text in (line.qty, line.price, line.filled, line.side, line.owner, line.order_id):
        assert len(text) <= 64
        assert text.isprintable()


# -- gaps


def test_an_outage_is_one_line_for_all_its_tickers(gaps: GapBook) -> None:
    for number in range(500):
        jitter = number % 3
        told = gap(
            FRIDAY_S + jitter, FRIDAY_S + 30 + jitter, f"T{number:03}", backfilled=number > 9
        )
        gaps.take(told)
    (outage,) = gaps.outages
    assert (len(outage.tickers), outage.refilled, outage.verdict) == (500, 490, "partly")
    assert outage.names.endswith("and 494 more")
    assert (outage.from_s, outage.to_s) == (FRIDAY_S, FRIDAY_S + 32)


def test_two_causes_or_two_times_are_two_outages_the_newest_first(gaps: GapBook) -> None:
    gaps.take(gap(FRIDAY_S, FRIDAY_S + 1))
    gaps.take(gap(FRIDAY_S + 60, FRIDAY_S + 61))
    gaps.take(gap(FRIDAY_S, FRIDAY_S + 1, cause="broker_restart"))
    assert [outage.to_s - FRIDAY_S for outage in gaps.outages] == [61, 1, 1]
    assert gaps.last_of["AAPL"].to_s == FRIDAY_S + 61


def test_a_gap_told_twice_is_counted_once(gaps: GapBook) -> None:
    for _ in range(2):
        gaps.take(gap(FRIDAY_S, FRIDAY_S + 1, backfilled=False, lost=7))
    assert gaps.outages[0].lost == 7
    assert gaps.outages[0].verdict == "missing"


def test_what_was_lost_is_not_known_when_one_ticker_does_not_know(gaps: GapBook) -> None:
    gaps.take(gap(FRIDAY_S, FRIDAY_S + 1, "A", backfilled=False, lost=7))
    gaps.take(gap(FRIDAY_S, FRIDAY_S + 1, "B", backfilled=False, lost=None))
    assert gaps.outages[0].lost is None


def test_a_new_day_forgets_the_gaps_of_the_last(gaps: GapBook) -> None:
    gaps.take(gap(FRIDAY_S, FRIDAY_S + 1))
    gaps.forget_before(FRIDAY_S + 10)
    assert not gaps.outages
    assert not gaps.last_of


def test_the_gaps_are_bounded_and_a_timeless_one_is_left_out(gaps: GapBook) -> None:
    for number in range(MAX_OUTAGES + 9):
        gaps.take(gap(FRIDAY_S + 60 * number, FRIDAY_S + 60 * number + 1))
    gaps.take(gap(FRIDAY_S - 600, FRIDAY_S - 590))
    assert len(gaps.outages) == MAX_OUTAGES
    assert gaps.outages[-1].from_s == FRIDAY_S + 9 * 60


# -- the chart


def test_a_long_chart_is_thinned_without_losing_a_spike() -> None:
    line = [(float(t), 100.0 + (t % 7) / 100) for t in range(20_000)]
    line[7_777] = (7_777.0, 180.0)
    line[7_779] = (7_779.0, 20.0)
    kept = thin(line, 1_000)
    assert len(kept) <= 1_002
    assert {(7_777.0, 180.0), (7_779.0, 20.0)} <= set(kept)
    assert kept == sorted(kept)


def test_the_chart_has_prices_in_time_order_and_the_orders_and_gaps_on_them() -> None:
    messages = [
        price(2.0, FRIDAY_S + 2),
        price(1.0, FRIDAY_S + 1, backfilled=True),
        price(9.0, FRIDAY_S + 3, last_eligible=False),
        price(3.0, FRIDAY_S + 90_000),
        gap(FRIDAY_S, FRIDAY_S + 1),
    ]
    drawn = draw(messages, [order("new"), order("pending_new")], FRIDAY_S + 4)
    assert drawn["p"] == [1.0, 2.0], "what may not set the price, or has a wrong time, is left out"
    assert [mark[2] for mark in drawn["marks"]] == ["new"]
    assert drawn["gaps"] == [[FRIDAY_S, FRIDAY_S + 1, True]]


# -- Redis


def test_slow_readers_come_first() -> None:
    clients = [
        {"name": "bot-1", "addr": "a:1", "sub": "3", "psub": "0", "omem": "0", "age": "9"},
        {"name": "bot-2", "addr": "a:2", "sub": "1", "psub": "1", "omem": "9000000", "age": "9"},
        {"name": "", "addr": "a:3", "sub": "1", "psub": "0", "omem": "x", "age": "9"},
        {"name": "tickerbus-standby", "addr": "a:4", "sub": "0", "psub": "0"},
        {"name": "tickerbus-broker", "addr": "a:5", "sub": "0"},
    ]
    found = RedisFacts(address="", **read_clients(clients))
    assert [reader.name for reader in found.readers] == ["bot-2", "(no name)", "bot-1"]
    assert [reader.name for reader in found.slow] == ["bot-2"]
    assert (found.standbys, found.broker_connections) == (1, 1)


def test_info_of_redis_and_of_valkey_is_understood() -> None:
    redis7 = {"redis_version": "7.2.4", "used_memory": 80, "maxmemory": 100, "role": "master"}
    found = RedisFacts(address="", **read_info(redis7))
    assert (found.version, found.full) == ("Redis 7.2.4", 0.8)
    valkey = {"server_name": "valkey", "valkey_version": "9.1.0", "redis_version": "7.2.4"}
    found = RedisFacts(address="", **read_info(valkey | {"aof_enabled": 1}))
    assert (found.version, found.full, found.persistence) == (
        "Valkey 9.1.0",
        None,
        "append-only file",
    )


def test_registrations_stand_by_client_the_anonymous_last() -> None:
    held = [
        Holder(ticker="AAPL", client_id="", until_ms=None, data=["trades"]),
        Holder(ticker="MSFT", client_id="bot", until_ms=2_000, data=["trades"], lease_s=1),
        Holder(ticker="AAPL", client_id="bot", until_ms=5_000, data=["trades"], lease_s=3),
    ]
    bot, nameless = by_client(held)
    assert [lease.ticker for lease in bot.leases] == ["AAPL", "MSFT"]
    assert (bot.first_ends_s, bot.renewed_s) == (2.0, 2.0)
    assert (nameless.name, nameless.first_ends_s) == ("anonymous", None)


# -- words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "—"), (189.2, "189.20"), (12345.678, "12,345.68"), (0.1234567, "0.1235"),
     (0.00001234, "0.00001234"), (1e300, "1e+300"), (float("inf"), "—")],
)  # fmt: skip
def test_prices_are_written_for_people(value: float | None, text: str) -> None:
    assert words.price(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12, "12 s"), (180, "3 min"), (7_500, "2 h 5 min"),
     (7_200, "2 h"), (300_000, "3 d"), (-5, "0.0 s")],
)  # fmt: skip
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2026-11-20T16:00:00Z", FRIDAY_S), ("2026-11-20T16:00:00.250000000Z", FRIDAY_S + 0.25),
     ("2026-11-20T17:00:00+01:00", FRIDAY_S), ("2026-11-20T16:00:00.<b>Z", None), ("", None),
     ("soon", None), (None, None), ("9999-99-99T99:99:99Z", None)],
)  # fmt: skip
def test_times_are_read_whatever_they_hold(text: str | None, seconds: float | None) -> None:
    words.unix_s("2026-11-20T16:00:00.5Z")  # the second is remembered: it must not be misused
    assert words.unix_s(text) == seconds


def test_bytes_and_words_are_bounded() -> None:
    assert [words.megabytes(n) for n in (None, 512, 4_000, 27_300_000, 1.2e9)] == [
        "—", "512 B", "4 kB", "27.3 MB", "1.2 GB",
    ]  # fmt: skip
    assert words.word("a\nb\x1b[31m", 64) == "a b [31m"
    assert len(words.word("x" * 500)) == words.MAX_WORD
