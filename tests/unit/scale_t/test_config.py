"""Every bad parameter is refused at start, and all of them are named at once."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.scale_t import ScaleTConfig, ScaleTConfigError
from main.scale_t.rungs import build_rungs


def test_words_become_a_config() -> None:
    """As the command line hands them over."""
    config = ScaleTConfig.from_text(
        ticker=" brk.b ", max_position="100", increment="0.10", start_price="412.50"
    )
    terms = config.terms
    assert (config.ticker, terms.max_position, terms.component) == ("BRK.B", 100, 10)
    assert (terms.increment.amount, config.start_price) == (Decimal("0.10"), Decimal("412.50"))
    assert (terms.profit_offset, terms.initial) == (terms.increment, 10)


def test_all_bad_parameters_are_named_in_one_error() -> None:
    """Nobody should have to start it fifteen times."""
    wrong: dict[str, Any] = {
        "ticker": "BRK-B",
        "max_position": "lots",
        "component": "-1",
        "initial": "0",
        "increment": "0",
        "profit_offset": "-2%",
        "start_price": "nan",
        "side": "sideways",
        "profit_from": "luck",
        "working_entries": 0,
        "existing_position": "-5",
        "randomize": "90",
        "lowest": "-3",
        "hours": "9-17",
        "session_limit": "0",
        "max_loss": "Infinity",
        "re_anchor": 0,
        "client_id": "my bot",
        "requests_per_minute": 0,
        "max_price_age_s": 0.0,
        "lease_s": 2,
    }
    with pytest.raises(ScaleTConfigError) as caught:
        ScaleTConfig.from_text(**wrong)
    text = str(caught.value)
    assert "BRK.B" in text
    named = {name.removesuffix("_s") for name in wrong}
    assert [name for name in named - {"lease"} if name not in text] == []
    assert len(caught.value.problems) == len(wrong)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_position": "5"}, "component 10 is more than max_position 5"),
        ({"max_position": "1e40"}, "at most"),
        ({"max_position": "100000", "component": "1"}, "more than 1000 rungs"),
        ({"component": "0.0000000001"}, "nine decimals"),
        ({"increment": "0.005"}, "start_price below $1"),
        ({"increment": "0.005", "start_price": "2"}, "price step 0.01"),
        ({"start_price": "0.12345"}, "price step 0.0001"),
        ({"ticker": "BTC/USD", "side": "short"}, "no crypto short"),
        ({"ticker": "ETH/BTC"}, "only pairs against USD"),
        ({"ticker": "BTC/USD", "coin_fee": "12%"}, "coin_fee must be 0 to 5 percent"),
        ({"ticker": "BTC/USD", "coin_fee": "dear"}, "coin_fee must be"),
        ({"ticker": "BTC/USD", "component": "0.0001", "start_price": "60000"}, "less than the $10"),
        ({"ticker": "BTC/USD", "hours": "09:45-15:45"}, "around the clock"),
        ({"side": "short", "component": "2.5"}, "whole shares short"),
        ({"initial": "200"}, "initial 200 is more than max_position 100"),
        ({"initial": "30", "profit_offset": "0.10"}, "no profit for slice 3"),
        ({"increment": "100%"}, "less than 100%"),
        ({"increment": "0.001%", "start_price": "20"}, "less than Alpaca's price step"),
        ({"lowest": "10", "highest": "9"}, "lowest 10 must be below highest 9"),
        ({"lowest": "10", "start_price": "9"}, "start_price 9 is below lowest 10"),
        ({"highest": "10", "start_price": "11"}, "start_price 11 is above highest 10"),
        ({"existing_position": "200"}, "existing_position 200 is more than max_position"),
        ({"existing_position": "5", "restore": False}, "need profit orders and restore"),
        ({"existing_position": "5", "profit_offset": "none"}, "need profit orders and restore"),
        ({"existing_position": "5", "re_anchor": 3}, "choose one"),
        ({"existing_position": "5", "filled_initial": "4"}, "from existing_position 5 to initial"),
        ({"filled_initial": "11"}, "from existing_position 0 to initial 10"),
        ({"existing_position": "10", "filled_initial": "10"}, "below initial 10"),
        ({"flatten_on_loss": True}, "flatten_on_loss needs max_loss"),
        ({"hours": "15:00-10:00"}, "end before they start"),
        ({"requests_per_minute": 201}, "1 to 200"),
        ({"max_position": "Infinity"}, "max_position"),
    ],
)
def test_a_parameter_out_of_range_is_refused_in_words(changes: dict[str, Any], told: str) -> None:
    """The message says what would be right."""
    with pytest.raises(ScaleTConfigError, match=re.escape(told)):
        ScaleTConfig.from_text(**{"ticker": "AAPL", "max_position": "100"} | changes)


def test_a_fine_increment_is_allowed_below_a_dollar() -> None:
    """There Alpaca's step is a hundredth of a cent."""
    config = ScaleTConfig.from_text(
        ticker="PENNY", max_position="100", increment="0.0005", start_price="0.5"
    )
    assert config.terms.increment.amount == Decimal("0.0005")


WORDS = st.sampled_from(
    [
        "",
        "0",
        "1",
        "-1",
        "10",
        "100",
        "0.05",
        "1e30",
        "1e-30",
        "nan",
        "inf",
        "-inf",
        "x",
        "5%",
        "200%",
    ]
)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "max_position",
                "component",
                "initial",
                "increment",
                "profit_offset",
                "start_price",
                "existing_position",
                "filled_initial",
                "randomize",
                "lowest",
                "highest",
                "session_limit",
                "max_loss",
                "hours",
                "side",
                "ticker",
                "client_id",
            ]
        ),
        WORDS,
    )
)
def test_whatever_is_typed_is_refused_in_words_or_makes_a_ladder(words: dict[str, str]) -> None:
    """Never an error of another kind; and what is accepted has rungs that add up."""
    try:
        config = ScaleTConfig.from_text(**{"ticker": "AAPL", "max_position": "100"} | words)
    except ScaleTConfigError:
        return
    start = config.start_price or Decimal(50)
    rungs = build_rungs(config.terms, start)
    assert sum(rung.size for rung in rungs) <= config.terms.max_position
