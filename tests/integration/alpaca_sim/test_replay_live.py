"""Recordings, played over the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from main.alpaca_sim import LocalAlpaca

from .conftest import MakeSim
from .stream_client import StreamClient, eventually

pytestmark = pytest.mark.integration
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}


@pytest.fixture
def recording(tmp_path: Path) -> str:
    """Two tickers in Alpaca's own REST JSON; one of them is known to nobody."""

    def row(number: int, price: float) -> dict[str, object]:
        at = f"2026-03-02T15:00:{number // 10:02d}.{number % 10}00000001Z"
        return {"t": at, "x": "V", "p": price, "s": 100, "c": ["@"], "i": number, "z": "A"}

    trades = {"F": [row(n, 11 + n / 100) for n in range(20)], "OLDCO": [row(5, 3.5)]}
    path = tmp_path / "saved.json"
    path.write_text(json.dumps({"trades": trades, "next_page_token": None}), encoding="utf-8")
    return str(path)


def test_a_recording_waits_for_the_first_subscription_and_keeps_its_times(
    make_sim: MakeSim, recording: str
) -> None:
    sim = make_sim(replay=recording, replay_shift_to_now=False, replay_speed=20.0)
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["F", "OLDCO"])
        got = client.take(21)
    assert [m["i"] for m in got if m["S"] == "F"] == list(range(20))
    assert got[0]["t"] == "2026-03-02T15:00:00.000000001Z"
    clock = requests.get(sim.url + "/v2/clock", headers=HEADERS, timeout=5).json()
    assert clock["timestamp"].startswith("2026-03-02T10:00:")


def test_a_recording_can_be_played_as_fast_as_possible_and_shifted_to_now(
    sim: LocalAlpaca, recording: str
) -> None:
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["F"])
        assert sim.replay(recording, speed=0.0) == 21
        got = client.take(20)
    times = [m["t"] for m in got]
    assert times == sorted(times)
    assert times[0] > "2026-03-03"


def test_history_and_fills_follow_the_recording(sim: LocalAlpaca, recording: str) -> None:
    sim.replay(recording, speed=0.0, shift=False)
    eventually(lambda: sim.oracle.serial("F") == 20, "the replay")
    url = f"{sim.url}/v2/stocks/F/trades?start=2026-03-02T15:00:01Z&end=2026-03-02T15:00:02Z"
    body = requests.get(url, headers=HEADERS, timeout=5).json()
    assert [t["i"] for t in body["trades"]] == list(range(10, 20))
    bars = f"{sim.url}/v2/stocks/F/bars?timeframe=1Min&start=2026-03-02"
    assert requests.get(bars, headers=HEADERS, timeout=5).json()["bars"][0]["n"] == 20


def test_what_is_no_recording_is_refused_and_changes_nothing(
    sim: LocalAlpaca, tmp_path: Path
) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("symbol\nF\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 2"):
        sim.replay(str(path))
