"""What a user can mistype, and what the commands say to it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from main.__main__ import app
from main.commands.common import Mistake
from main.commands.faults import exit_code_of, words_of
from main.commands.recorder import need_pyarrow
from main.recorder.errors import NotARecording


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("journal AAPL --since noon", "--since noon: give 90s, 10m, 2h, 1d, or a time in UTC"),
        ("journal BRK-B", "did you mean BRK.B"),
        ("journal AAPL --export parquet", "--export parquet needs --into FILE"),
        ("journal AAPL --into x.csv", "--into needs --export csv, json or parquet"),
        ("journal AAPL --export csv --into no/x.csv", "there is no such folder"),
        ("replay gone.parquet", "gone.parquet is not a recording: there is no such file"),
        ("replay . --speed -1", "--speed -1 is no number of times"),
        ("replay . --speed fast", "give e.g. 1, 10, 0.5 or max"),
        ("replay . --bus-prefix=", "a replay needs a bus of its own"),
        ("replay . --bus-prefix a*b", "cannot be a bus prefix: up to 32 letters"),
        ("replay .", "there is no Parquet file of a recorder in it"),
        ("record AA:PL", "is not a ticker"),
    ],
)
def test_bad_use_says_what_to_do_and_ends_with_2(
    words: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception) as caught:  # noqa: PT011  (which class is not the user's matter)
        app(words.split(), standalone_mode=False)
    assert exit_code_of(caught.value) == 2
    assert says in words_of(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["aapl.csv", "aapl.parquet"])
def test_what_is_no_parquet_is_said_to_be_none_and_how_to_get_some(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("timestamp,symbol\n")
    with pytest.raises(NotARecording) as caught:
        app(["replay", name], standalone_mode=False)
    assert "no Parquet file" in str(caught.value)
    assert "--export parquet" in str(caught.value)
    assert exit_code_of(caught.value) == 2


def test_a_missing_pyarrow_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    need_pyarrow()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Mistake, match=r"pip install -e '.*\[record\]'"):
        need_pyarrow()
