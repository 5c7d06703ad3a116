"""The same core over recorded prices: the same result every time."""

from __future__ import annotations

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from main.scale_t import ScaleTConfig
from main.scale_t.draw import PlotMissing, draw
from main.scale_t.plan import lines_of
from main.scale_t.recording import BadRecording, Tick, read_recording
from main.scale_t.simulation import SimulationResult, simulate
from tools.record_day import DAY, record

SECOND = 1_000_000_000
SHIPPED = (35, Decimal("2.00"))  # trades and profit of the shipped day
MORNING = 1_795_185_000 * SECOND  # 2026-11-20, 9:30 in New York


def config(**words: Any) -> ScaleTConfig:
    given = {"ticker": "AAPL", "max_position": "30", "start_price": "100"} | words
    return ScaleTConfig.from_text(**given)


def trades(*prices: str, step_s: int = 1) -> list[Tick]:
    return [
        Tick(at_ns=MORNING + number * step_s * SECOND, price=Decimal(price))
        for number, price in enumerate(prices)
    ]


def told(result: SimulationResult) -> list[tuple[str, str, str]]:
    return [(fill.side, str(fill.qty), str(fill.price)) for fill in result.fills]


def test_a_small_path_is_traded_to_the_cent() -> None:
    """Down two rungs and up again."""
    result = simulate(config(), trades("100.00", "99.95", "99.92", "100.00", "100.06"))
    assert told(result) == [
        ("buy", "10", "100.00"),
        ("buy", "10", "99.95"),
        ("sell", "10", "100.00"),
        ("sell", "10", "100.06"),
    ]
    profit = result.ladder.profit()
    assert (profit.realised, profit.open, result.ladder.position) == (Decimal("1.10"), 0, 0)
    assert (result.max_position, result.max_drawdown) == (20, Decimal("1.10"))
    assert result.max_capital == Decimal("1999.50")


def test_quotes_are_what_it_fills_against_where_there_are_any() -> None:
    """A buyer at the ask, a seller at the bid; a trade inside fills nothing."""
    ticks = [
        Tick(at_ns=MORNING, bid=Decimal("100.01"), ask=Decimal("100.03")),
        Tick(at_ns=MORNING + SECOND, price=Decimal("99.90")),
        Tick(at_ns=MORNING + 2 * SECOND, bid=Decimal("99.96"), ask=Decimal("99.98")),
        Tick(at_ns=MORNING + 3 * SECOND, bid=Decimal("100.07"), ask=Decimal("100.09")),
    ]
    assert told(simulate(config(), ticks)) == [("buy", "10", "99.98"), ("sell", "10", "100.07")]


def test_day_orders_end_with_their_session_and_are_armed_again() -> None:
    """The entry of the first day fills on the second."""
    ticks = [*trades("100.50"), Tick(at_ns=MORNING + 86_400 * SECOND, price=Decimal("99.99"))]
    result = simulate(config(), ticks)
    assert told(result) == [("buy", "10", "99.99")]
    assert [order.ended_ns is not None for order in result.orders] == [True, True, False, False]


def test_a_loss_limit_ends_it_early() -> None:
    """And says so."""
    result = simulate(
        config(max_loss="5", flatten_on_loss=True), trades("100", "99.40", "99.30", "99.20")
    )
    assert "reached the maximum, 5" in result.ended
    assert result.ladder.position == 0
    assert result.fills[-1].side == "sell"


def test_the_shipped_day_gives_the_same_trades_every_time() -> None:
    """To the share and to the cent, in a fraction of a second."""
    ticks = read_recording(DAY, "AAPL")
    results = [simulate(config(start_price=None, re_anchor=3), ticks) for _ in range(2)]
    first, second = results
    assert first.fills == second.fills
    assert first.curve == second.curve
    assert (len(first.fills), first.ladder.profit().total) == SHIPPED


def test_the_shipped_day_is_what_its_recorder_writes(tmp_path: Path) -> None:
    """So that it can be made again."""
    rows = record(tmp_path / "day.csv")
    assert (tmp_path / "day.csv").read_text() == DAY.read_text()
    assert rows == len(DAY.read_text().splitlines()) - 1


def test_messages_of_the_bus_and_of_alpaca_are_recordings_too(tmp_path: Path) -> None:
    """One a line, or an array of them; packed or not. Odd lots set no price."""
    lines = [
        '{"type":"price","symbol":"AAPL","timestamp":"2026-11-20T14:30:01Z","price":100.5,'
        '"volume":100,"last_eligible":true}',
        '{"type":"price","symbol":"AAPL","timestamp":"2026-11-20T14:30:02Z","price":1.0,'
        '"volume":1,"last_eligible":false}',
        '{"type":"order","symbol":"AAPL","timestamp":"2026-11-20T14:30:02Z"}',
        '[{"T":"q","S":"AAPL","t":"2026-11-20T14:30:00Z","bp":100,"ap":100.1},'
        '{"T":"t","S":"MSFT","t":"2026-11-20T14:30:00Z","p":400}]',
    ]
    plain, packed = tmp_path / "day.jsonl", tmp_path / "day.jsonl.gz"
    plain.write_text("\n".join(lines))
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    ticks = read_recording(plain, "AAPL")
    assert [(tick.price, tick.bid) for tick in ticks] == [(None, 100), (Decimal("100.5"), None)]
    assert read_recording(packed, "AAPL") == ticks


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "timestamp,price\n2026-11-20T14:30:00Z,-3\n", "line 2: '-3' is no price above 0"),
        ("a.csv", "timestamp,price\n2026-11-20T14:30:00Z,nan\n", "'nan' is no price above 0"),
        ("a.csv", "timestamp,price\nyesterday,3\n", "no timestamp like"),
        ("a.csv", "price\n3\n", "no timestamp like"),
        ("a.csv", "", "has no trades and no quotes of AAPL"),
        ("a.csv", "S,t,p\nMSFT,2026-11-20T14:30:00Z,3\n", "of AAPL; it has MSFT"),
        ("a.jsonl", "{nonsense", "line 1 is no JSON"),
        ("a.jsonl", "3", "line 1 is no message"),
        ("a.csv.gz", "not packed", "cannot be read"),
    ],
)
def test_what_is_no_recording_is_refused_in_words(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    """With the line that is wrong."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadRecording) as caught:
        read_recording(path, "AAPL")
    assert said in str(caught.value)


def test_a_picture_without_matplotlib_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(PlotMissing, match=r"pip install .*\[plot\]'"):
        draw(simulate(config(), trades("100", "99")), tmp_path / "a.png", "a title")


def test_a_plan_shows_each_rung_with_its_exits() -> None:
    """Nothing is sent, nothing is asked."""
    terms = config(initial="20", profit_offset="0.20").terms
    first, second = lines_of(terms, Decimal(100))
    assert (first.size, first.entry, first.exits) == (
        "20",
        "100.00",
        (("10", "100.20"), ("10", "100.15")),
    )
    assert (second.cost, second.profit) == ("2,999.50", "2.00")
