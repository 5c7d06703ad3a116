"""`journal` and `replay` as a user types them."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import now_rfc3339
from main.utils.redis.publisher import RedisPublisher
from tests.integration.examples.processes import REPOSITORY
from tests.integration.recorder.conftest import Programs
from tests.integration.utils.redis.conftest import order, price
from tests.unit.recorder.rows import part

pytestmark = pytest.mark.integration


@pytest.fixture
def payloads(publisher: RedisPublisher, config: RedisConfig) -> list[str]:
    """An order and two trades of AAPL, in the order of the journal."""
    publisher.publish_batch([order(number=1), price(number=2), price(number=3, eligible=False)])
    client = config.client()
    entries = client.xrange(CHANNELS.ticker_log("AAPL"))
    client.close()
    return [fields[b"m"].decode() for _, fields in entries]


def test_the_journal_is_printed_as_words_or_exported_verbatim(
    program: Programs, payloads: list[str], tmp_path: Path
) -> None:
    """The same three messages in every format; the file of Parquet can be replayed."""
    words = program("journal", "aapl")
    verbatim = program("journal", "AAPL", "--export", "json")
    table = program("journal", "AAPL", "--export", "csv", "--since", "2026-01-01T00:00:00Z")
    file = program("journal", "AAPL", "--export", "parquet", "--into", "aapl.parquet")
    assert [process.exit_code(60) for process in (words, verbatim, table, file)] == [0] * 4
    assert [line.split()[1:3] for line in words.lines] == [
        ["AAPL", "order"],
        ["AAPL", "price"],
        ["AAPL", "price"],
    ]
    assert verbatim.lines == payloads
    rows = list(csv.DictReader(io.StringIO("\n".join(table.lines))))
    assert [row["payload"] for row in rows] == payloads
    assert [row["seq"] for row in rows] == ["1", "2", "3"]
    assert [row["price"] for row in rows] == ["", "0.02", "0.03"]
    assert file.lines == ["3 messages in aapl.parquet"]
    stored = pq.read_table(tmp_path / "aapl.parquet")
    assert stored.column("payload").to_pylist() == payloads
    replay = program("replay", "aapl.parquet", "--now", "--speed", "max")
    assert replay.exit_code(60) == 0
    assert replay.lines[-1].startswith("Played 3 messages in ")


def test_since_leaves_out_what_was_before(program: Programs, payloads: list[str]) -> None:
    later = program("journal", "AAPL", "--export", "json", "--since", _timestamp(payloads[2]))
    nothing = program("journal", "AAPL", "--since", now_rfc3339())
    assert later.exit_code(60) == nothing.exit_code(60) == 0
    assert later.lines == payloads[2:]
    assert nothing.lines[0].startswith("the journal has nothing of AAPL since ")


def test_a_ticker_of_which_nothing_is_kept_is_an_error_and_begins_no_file(
    program: Programs, payloads: list[str], tmp_path: Path
) -> None:
    lines = [program("journal", "NOPE", *more) for more in (("--since", "10m"), ())]
    lines.append(program("journal", "NOPE", "--export", "csv", "--into", "nope.csv"))
    assert [process.exit_code(60) for process in lines] == [1, 1, 1]
    assert {process.lines[0] for process in lines} == {lines[0].lines[0]}
    assert lines[0].lines[0].startswith("nothing is kept of NOPE on this Redis")
    assert not (tmp_path / "nope.csv").exists()


def _timestamp(payload: str) -> str:
    return str(json.loads(payload)["timestamp"])


def test_what_is_missing_in_the_middle_is_said(
    program: Programs, publisher: RedisPublisher, payloads: list[str], config: RedisConfig
) -> None:
    """The order is kept for longer than the trades around it."""
    publisher.publish_batch([price(number=n) for n in range(4, 9)])
    client = config.client()
    client.xtrim(CHANNELS.ticker_log("AAPL"), maxlen=2, approximate=False)
    client.close()
    shown = program("journal", "AAPL")
    assert shown.exit_code(60) == 0
    said, *words = sorted(shown.lines)
    assert said == "-- 5 messages that no journal keeps any more"
    assert [line.split()[2] for line in words] == ["order", "price", "price"]


def test_the_pages_program_makes_minutes_of_a_day_that_is_still_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands in docs/recorder.md."""
    page = (REPOSITORY / "docs" / "recorder.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    day = tmp_path / "recordings" / "2026-11-21.parquet"
    day.mkdir(parents=True)
    for number, seqs in enumerate(([1, 2], [3]), start=1):
        part(day, number, *seqs)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "recorder.md", "exec"), {})
    (minute,) = capsys.readouterr().out.splitlines()[-1:]
    assert minute.split()[-5:] == ["AAPL", "0.01", "0.03", "0.01", "0.03"]
