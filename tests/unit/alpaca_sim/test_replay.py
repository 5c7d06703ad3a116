"""Reading and playing recordings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from main.alpaca_sim.messages import Quote, Trade, rfc3339
from main.alpaca_sim.replay import Replay, first_prices
from main.alpaca_sim.replay_read import BadRecording, read_recording

SECOND = 1_000_000_000
CSV = """symbol,timestamp,type,price,size,conditions,id,bid_price,bid_size,ask_price,ask_size
AAPL,2026-03-02T15:00:00.000000002Z,trade,100.5,10,@ I,7,,,,
AAPL,2026-03-02T15:00:00.000000001Z,quote,,,,,100.0,100,101.0,200
BTC/USD,2026-03-02T15:00:02Z,trade,95000.25,0.001,,8,,,,
"""


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_lines_become_events_in_the_order_of_their_times(tmp_path: Path) -> None:
    quote, trade, coin = read_recording(written(tmp_path, "day.csv", CSV))
    assert isinstance(quote, Quote)
    assert isinstance(trade, Trade)
    assert isinstance(coin, Trade)
    assert (trade.price, trade.size, trade.conditions, trade.trade_id) == (
        100.5,
        10,
        ("@", "I"),
        7,
    )
    assert rfc3339(trade.timestamp.ns) == "2026-03-02T15:00:00.000000002Z"
    assert (coin.size, coin.taker_side) == (0.001, "B")
    assert first_prices([quote, trade, coin]) == {"AAPL": 100.0, "BTC/USD": 95000.25}


def test_json_lines_take_messages_and_whole_frames(tmp_path: Path) -> None:
    message = {"T": "t", "S": "F", "i": 1, "p": 11.5, "s": 5, "t": "2026-03-02T15:00:00Z"}
    text = json.dumps(message) + "\n\n" + json.dumps([message | {"i": 2}, message | {"i": 3}])
    events = read_recording(written(tmp_path, "day.jsonl", text))
    assert [event.trade_id for event in events if isinstance(event, Trade)] == [1, 2, 3]


def test_alpacas_own_rest_answers_are_read_in_both_shapes(tmp_path: Path) -> None:
    row = {"t": "2026-03-02T15:00:00Z", "x": "V", "p": 11.5, "s": 5, "c": ["@"], "i": 1, "z": "A"}
    many = {"trades": {"F": [row], "T": [row | {"i": 2}]}, "next_page_token": None}
    single = {"trades": [row | {"i": 3}], "symbol": "GM", "next_page_token": None}
    events = read_recording(written(tmp_path, "saved.json", json.dumps([many, single])))
    assert {event.symbol for event in events} == {"F", "T", "GM"}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.csv", "symbol,timestamp\nAAPL,2026-03-02T15:00:00Z\n", "line 2"),
        ("a.csv", "symbol,timestamp,price,size\nAAPL,soon,1,1\n", "line 2"),
        ("a.jsonl", "{nope", "line 1: not JSON"),
        ("a.jsonl", '{"T":"b","S":"F"}', "neither a trade nor a quote"),
        ("a.json", '{"bars":{}}', "no trades and no quotes"),
        ("a.json", "3", "pages"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_place(
    tmp_path: Path, name: str, text: str, why: str
) -> None:
    with pytest.raises(BadRecording, match=why):
        read_recording(written(tmp_path, name, text))


@pytest.fixture
def events(tmp_path: Path) -> list[Trade | Quote]:
    return read_recording(written(tmp_path, "day.csv", CSV))


def test_true_speed_keeps_the_recorded_pauses(events: list[Trade | Quote]) -> None:
    replay = Replay(events, speed=1.0, shift=True, start_ns=50 * SECOND)
    assert [event.timestamp.ns for event in replay.due(50 * SECOND + 1)] == [
        50 * SECOND,
        50 * SECOND + 1,
    ]
    assert list(replay.due(51 * SECOND)) == []
    assert len(list(replay.due(52 * SECOND))) == 1
    assert replay.done


def test_ten_times_is_ten_times(events: list[Trade | Quote]) -> None:
    replay = Replay(events, speed=10.0, shift=True, start_ns=0)
    assert len(list(replay.due(SECOND // 10))) == 2
    assert len(list(replay.due(SECOND // 5))) == 1


def test_as_fast_as_possible_needs_no_time(events: list[Trade | Quote]) -> None:
    replay = Replay(events, speed=0.0, shift=False, start_ns=0)
    assert list(replay.due(0)) == events


def test_without_a_shift_times_stay_as_recorded(events: list[Trade | Quote]) -> None:
    start = events[0].timestamp.ns
    replay = Replay(events, speed=1.0, shift=False, start_ns=start)
    assert list(replay.due(start + 10 * SECOND)) == events
