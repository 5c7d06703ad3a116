"""Every bad parameter is refused at start, and all of them are named at once."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from main.scale_t import ScaleTConfig, ScaleTConfigError


def test_words_become_a_config() -> None:
    """As the command line hands them over."""
    config = ScaleTConfig.from_text(
        ticker=" brk.b ", max_position="100", increment="0.10", start_price="412.50"
    )
    assert (config.ticker, config.max_position, config.component) == ("BRK.B", 100, 10)
    assert (config.increment, config.start_price) == (Decimal("0.10"), Decimal("412.50"))


def test_all_bad_parameters_are_named_in_one_error() -> None:
    """Nobody should have to start it five times."""
    with pytest.raises(ScaleTConfigError) as caught:
        ScaleTConfig.from_text(
            ticker="BRK-B",
            max_position="lots",
            component="-1",
            increment="0",
            start_price="nan",
            client_id="my bot",
            requests_per_minute=0,
        )
    text = str(caught.value)
    assert len(caught.value.problems) == 7
    assert all(
        word in text for word in ("BRK.B", "max_position", "component", "increment", "start_price")
    )
    assert "client_id" in text
    assert "requests_per_minute" in text


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
        ({"ticker": "BTC/USD"}, "crypto"),
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
    assert config.increment == Decimal("0.0005")


def test_a_lease_too_short_to_renew_is_refused() -> None:
    """The broker takes 1 to 86,400 seconds; below 3 a third is shorter than a round trip."""
    with pytest.raises(ScaleTConfigError, match="lease_s"):
        ScaleTConfig(ticker="AAPL", max_position=Decimal(100), lease_s=2)
