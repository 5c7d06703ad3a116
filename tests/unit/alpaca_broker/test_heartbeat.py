"""What the broker says of itself, and the thread that says it."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from main.alpaca_broker.connection_config import StreamState
from main.alpaca_broker.heartbeat import Facts, Heartbeat, build_status
from main.utils.redis.constants import BROKER_STATES, BROKER_STATUS_SCHEMA
from main.utils.redis.messages import encode
from tests.conftest import wait_for

MAX_BYTES = 16 * 1024
LIVE = StreamState(state="LIVE", since_ns=1_795_276_805_123_456_789)
FACTS = Facts(
    epoch=1_795_276_800_000,
    state="RUNNING",
    account_id="11111111-2222-3333-4444-555555555555",
    paper=True,
    started_ns=1_795_276_800_000_000_000,
    version="0.1.0",
    prices=LIVE,
    orders=LIVE,
    orders_ready=True,
    last_order_ns=1_795_276_801_000_000_000,
    lag_ms=12.5,
    seqs={"AAPL": 7, "GONE": 9},
    following=frozenset({"AAPL", "MSFT"}),
    ticker_states={"AAPL": "LIVE"},
    market_open=True,
    market_changes_ns=1_795_298_400_000_000_000,
    symbol_limit=30,
    counters={"messages": 7},
    journal={"max_per_ticker": 10_000},
)


def on_the_wire(facts: Facts) -> dict[str, Any]:
    body = encode(build_status(facts))
    assert len(body) <= MAX_BYTES
    fields: dict[str, Any] = json.loads(body)
    Draft202012Validator(BROKER_STATUS_SCHEMA).validate(fields)
    return fields


def test_it_tells_every_followed_ticker_with_its_number_and_state() -> None:
    fields = on_the_wire(FACTS)
    assert fields["tickers"] == {
        "AAPL": {"seq": 7, "state": "LIVE"},
        "MSFT": {"seq": 0, "state": "QUIET"},
    }
    assert fields["upstream"]["prices"] == {
        "state": "LIVE",
        "since": "2026-11-21T16:00:05.123456789Z",
        "reason": None,
        "lag_ms": 12.5,
        "symbols": 2,
    }
    assert fields["upstream"]["orders"]["ready"] is True
    assert fields["upstream"]["orders"]["last_event_at"] == "2026-11-21T16:00:01.000000000Z"


def test_it_tells_no_more_of_the_accounts_number_than_its_end() -> None:
    fields = on_the_wire(replace(FACTS, account_number="PA3XYZ1A2B", local=False))
    assert (fields["account_short"], fields["local"]) == ("1A2B", False)
    assert "PA3XYZ" not in json.dumps(fields)
    assert not {"account_short", "local"} & on_the_wire(FACTS).keys(), "not known yet: left out"


@pytest.mark.parametrize("state", BROKER_STATES)
def test_every_state_of_the_broker_keeps_to_the_schema(state: str) -> None:
    assert on_the_wire(replace(FACTS, state=state))["state"] == state


@pytest.mark.parametrize("state", ["CONNECTING", "LIVE", "DOWN", "MUTE", "REFUSED"])
def test_every_state_of_a_stream_keeps_to_the_schema(state: str) -> None:
    stream = StreamState(state=state, since_ns=1, reason="406 connection limit exceeded")
    fields = on_the_wire(replace(FACTS, prices=stream, orders=stream))
    assert fields["upstream"]["prices"]["state"] == state
    assert fields["upstream"]["orders"]["reason"] == "406 connection limit exceeded"


def test_before_anything_is_known_it_keeps_to_the_schema() -> None:
    down = StreamState(state="DOWN", since_ns=0)
    nothing = replace(
        FACTS, epoch=0, state="STARTING", account_id=None, prices=down, orders=down,
        orders_ready=False, last_order_ns=0, lag_ms=None, seqs={}, following=frozenset(),
    )  # fmt: skip
    fields = on_the_wire(nothing)
    assert fields["account_id"] is None
    assert fields["upstream"]["orders"]["last_event_at"] is None


def crowd(count: int) -> Facts:
    """As many tickers as wide as they come."""
    tickers = frozenset(f"TICKERX{number:03d}.ABCDEFGHI" for number in range(count))
    return replace(
        FACTS,
        following=tickers,
        seqs=dict.fromkeys(tickers, 10**9),
        ticker_states=dict.fromkeys(tickers, "CONNECTING"),
        counters={f"a_counter_with_quite_a_long_name_{n}": 10**9 for n in range(40)},
        prices=StreamState(state="DOWN", since_ns=1, reason="x" * 100_000),
        account_number="PA3XYZ1A2B",
        local=False,
    )


def test_200_tickers_fit_into_16_kib() -> None:
    assert len(on_the_wire(crowd(200))["tickers"]) == 200


def test_it_tells_the_session_and_the_symbol_limit() -> None:
    fields = on_the_wire(FACTS)
    assert fields["market"] == {"is_open": True, "changes_at": "2026-11-21T22:00:00.000000000Z"}
    assert fields["limits"] == {"symbols": 30}
    unknown = on_the_wire(replace(FACTS, market_changes_ns=None))
    assert unknown["market"]["changes_at"] is None


def test_beyond_200_tickers_the_states_are_counted_and_50_unwell_ones_are_named() -> None:
    many = crowd(1_000)
    ill = dict.fromkeys(sorted(many.following)[:60], "MUTE")
    states = dict.fromkeys(many.following, "LIVE") | ill
    fields = on_the_wire(replace(many, ticker_states=states))
    assert fields["states"] == {"LIVE": 940, "MUTE": 60}
    assert len(fields["unwell"]) == 50
    assert set(fields["unwell"].values()) == {"MUTE"}


def test_beyond_200_tickers_the_map_is_left_out_and_their_number_is_told() -> None:
    fields = on_the_wire(crowd(201))
    assert "tickers" not in fields
    assert fields["upstream"]["prices"]["symbols"] == 201


# -- the thread


class Beats:
    def __init__(self) -> None:
        self.at: list[float] = []
        self.failing = False

    def __call__(self) -> None:
        self.at.append(time.monotonic())
        if self.failing:
            raise RuntimeError("a bad beat")


def test_it_beats_every_period_and_at_once_when_nudged() -> None:
    beats = Beats()
    heartbeat = Heartbeat(beats, period_s=0.05)
    heartbeat.start()
    wait_for(lambda: len(beats.at) >= 4)
    heartbeat.begin_stop()
    assert heartbeat.join(5)
    assert beats.at[3] - beats.at[0] > 2 * 0.05 - 0.005, "no more than one in each period"

    beats = Beats()
    slow = Heartbeat(beats, period_s=60)
    slow.start()
    wait_for(lambda: len(beats.at) == 1)
    slow.nudge()
    wait_for(lambda: len(beats.at) == 2, timeout_s=5)
    slow.begin_stop()
    assert slow.join(5), "a stop does not wait for the next beat"


def test_one_bad_beat_is_not_the_last() -> None:
    beats = Beats()
    beats.failing = True
    heartbeat = Heartbeat(beats, period_s=0.01)
    heartbeat.start()
    wait_for(lambda: len(beats.at) >= 3)
    heartbeat.begin_stop()
    assert heartbeat.join(5)


def test_one_that_was_never_started_is_joined_at_once() -> None:
    assert Heartbeat(Beats(), 1.0).join(0)
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_it_looks_more_often_than_it_beats_and_beats_when_it_found_a_change() -> None:
    beats, looks = Beats(), [False, False, True]
    heartbeat = Heartbeat(beats, period_s=60, look=lambda: looks.pop(0) if looks else False)
    heartbeat.start()
    wait_for(lambda: len(beats.at) == 2, timeout_s=5)
    heartbeat.begin_stop()
    assert heartbeat.join(5)
    assert not looks
