"""Who holds which ticker, and how times are written."""

from __future__ import annotations

import pytest

from main.holders import Holder, describe_left, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("45m", 2700), ("2h", 7200), (" 1D ", 86_400)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "0", "1.5h", "2 weeks", "1h30m"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"write e\.g\. 90s, 45m, 2h or 1d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "for ever"), (45.2, "45 s"), (3600, "1 h"), (5400, "1 h 30 min"), (600, "10 min")],
)
def test_what_is_left_is_said_in_words(seconds: float | None, words: str) -> None:
    assert describe_left(seconds) == words


def test_a_holder_without_an_end_holds_for_ever() -> None:
    holder = Holder(ticker="AAPL", client_id="", until_ms=None, data=["trades"])
    assert holder.left_s(1e12) is None
    ends = Holder(ticker="AAPL", client_id="bot", until_ms=61_000, data=["trades"])
    assert ends.left_s(1.0) == 60
