"""`journal`: what is kept of a ticker, printed or exported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from ..holders import parse_duration
from ..recorder.journal_reader import payload_text, read_journal, write_csv
from ..utils.redis.config import RedisConfig
from ..utils.redis.gap_tracker import Entry, Loss
from ..utils.redis.messages import decode_typed
from ..utils.redis.start import sortable_time
from ..wording import describe
from .common import Mistake, console, errors, open_settings, parse_tickers, program
from .recorder import need_pyarrow

Steps = Iterable[Entry | Loss]


class Format(StrEnum):
    """What `--export` writes."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def journal(
    ticker: Annotated[str, typer.Argument(metavar="TICKER")],
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="90s, 10m, 2h or 1d ago, or 2026-11-21T14:30:00Z."),
    ] = None,
    export: Annotated[
        Format | None, typer.Option(help="csv, json (verbatim, one a line) or parquet.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="FILE", help="Without it: to the terminal.")
    ] = None,
) -> None:
    """Print or export what a ticker's journal holds.

    The journals keep the last 10,000 messages of a ticker, and its orders for 7 days. What is
    missing in between is said on the standard error. Exit code 1: nothing at all is kept of it.
    """
    settings = open_settings()
    (symbol,) = parse_tickers([ticker])
    moment = _moment(since)
    _check(export, into)
    steps = _begun(settings.redis_config(), symbol, moment)
    try:
        count = _write(steps, export, into, symbol)
    except BrokenPipeError:  # `journal AAPL | head`
        sys.stdout = None
        return
    if into is not None:
        console.print(f"{count:,} messages in {into}", markup=False)
    elif not count:
        when = f" since {since}" if since else ""
        errors.print(f"the journal has nothing of {symbol}{when}", markup=False)


def _begun(config: RedisConfig, symbol: str, moment: str | None) -> Steps:
    """The steps, once it is known that there is a journal: else no file is begun.

    Raises:
        Mistake: nothing is kept of that ticker, of any time.
    """
    steps = read_journal(config, symbol, moment)
    first = next(steps, None)
    if first is not None:
        return chain([first], steps)
    if moment is None or next(read_journal(config, symbol, None), None) is None:
        raise Mistake(
            f"nothing is kept of {symbol} on this Redis: nobody has followed it yet. "
            f"{program()} register {symbol}, or check the name and BUS_PREFIX",
            exit_code=1,
        )
    return ()


def _check(export: Format | None, into: Path | None) -> None:
    if export is Format.PARQUET:
        need_pyarrow()
        if into is None:
            raise Mistake("--export parquet needs --into FILE")
    if into is not None and export is None:
        raise Mistake("--into needs --export csv, json or parquet")
    if into is not None and not into.resolve().parent.is_dir():
        raise Mistake(f"--into {into}: there is no such folder")


def _write(steps: Steps, export: Format | None, into: Path | None, symbol: str) -> int:
    if export is Format.PARQUET:
        assert into is not None
        from ..recorder.parquet_export import write_parquet

        return write_parquet(into, symbol, _entries(steps))
    with ExitStack() as files:
        target = sys.stdout if into is None else files.enter_context(into.open("w", newline=""))
        if export is Format.CSV:
            return write_csv(target, _entries(steps))
        count = 0
        for entry in _entries(steps):
            target.write((_words(entry) if export is None else payload_text(entry)) + "\n")
            count += 1
        target.flush()
        return count


def _entries(steps: Steps) -> Iterator[Entry]:
    for step in steps:
        if isinstance(step, Entry):
            yield step
        else:
            how_many = "messages" if step.lost is None else f"{step.lost:,} messages"
            errors.print(f"-- {how_many} that no journal keeps any more", style="yellow")


def _words(entry: Entry) -> str:
    message = decode_typed(entry.payload)
    if message is None:
        return payload_text(entry)  # of a type that this version does not know
    return describe(message)  # type: ignore[arg-type]  # a journal holds tickers' messages


def _moment(text: str | None) -> str | None:
    """RFC 3339, of `10m` ago or of a time."""
    if text is None:
        return None
    try:
        ago = timedelta(seconds=parse_duration(text))
        return (datetime.now(UTC) - ago).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except ValueError:
        pass
    try:
        sortable_time(text)
    except ValueError:
        raise Mistake(
            f"--since {text}: give 90s, 10m, 2h, 1d, or a time in UTC like 2026-11-21T14:30:00Z"
        ) from None
    return text
