"""`record` and `replay`: what the bus carried, kept and played again."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..demo import client_id_of
from ..extras import how_to_install
from ..settings import Settings
from .common import (
    Mistake,
    console,
    ended_by_signals,
    open_settings,
    parse_tickers,
)

if TYPE_CHECKING:
    from ..recorder.player import Player
    from ..recorder.recorder import Recorder
    from ..recorder.recording import Recording

DEFAULT_FOLDER: Final = Path("recordings")
REPLAY_PREFIX: Final = "REPLAY_"
LEASE_S: Final = 60
PARTING_S: Final = 2.0
LOOK_S: Final = 1.0


def record(
    tickers: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TICKER…]", help="Register these, too, while it runs."),
    ] = None,
    into: Annotated[
        Path, typer.Option("--into", metavar="FOLDER", help="Where the days' files go.")
    ] = DEFAULT_FOLDER,
) -> None:
    """Write every ticker channel to daily Parquet files.

    All that anybody has registered is recorded; so are orders of tickers that nobody has. Killed at
    any moment, it loses at most the last seconds, and fetches those from the journals when it runs
    again.
    """
    need_pyarrow()
    settings = open_settings()
    wanted = parse_tickers(tickers) if tickers else ()
    from ..recorder.recorder import Recorder

    recorder = Recorder(settings.redis_config(client_name="tickerbus-record"), into)
    console.print(f"Recording into {recorder.folder}. Ctrl-C ends it.", markup=False)
    with ExitStack() as keeping:
        if wanted:
            _keep(settings, wanted, keeping)
        _run(recorder.run, recorder.stop)
    _tell_recorded(recorder)


def _keep(settings: Settings, tickers: tuple[str, ...], keeping: ExitStack) -> None:
    from ..utils.redis.registration import LeaseKeeper, RegistrationClient

    client = keeping.enter_context(
        RegistrationClient(
            settings.redis_config(client_name="tickerbus-record"),
            client_id_of("record"),
            secured=settings.registration_secured,
        )
    )
    keeper = LeaseKeeper(client, tickers, LEASE_S)
    keeping.callback(keeper.stop, timeout_s=PARTING_S)
    keeper.start()


def _run(work: Callable[[], None], stop: Callable[[], None]) -> None:
    """Until it ends, or a signal asks for its end. It has a thread of its own, so that nothing cuts
    it off in the middle of a write; what it raises is raised here."""
    failures: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="recorder")

    def end() -> None:
        stop()
        if thread.ident is not None:  # else nobody will ever say that it is done
            done.wait()

    with ended_by_signals(end) as interruption:
        with interruption.held():
            thread.start()
        # And no `join`: a signal there makes Python 3.11 take the thread for ended.
        while not done.wait(LOOK_S):
            interruption.look()
    thread.join()
    if failures:
        raise failures[0]


def _tell_recorded(recorder: Recorder) -> None:
    count, gaps = recorder.counters["messages"], recorder.counters["gaps"]
    missing = f", {gaps} gaps" if gaps else ""
    console.print(
        f"Recorded {count:,} messages of {recorder.tickers} tickers{missing} in {recorder.folder}",
        markup=False,
    )


def replay(
    recording: Annotated[
        Path, typer.Argument(metavar="FILE", help="A day's file, or a folder of days.")
    ],
    speed: Annotated[
        str, typer.Option(metavar="TIMES", help="10: ten times as fast. max: as fast as it goes.")
    ] = "1",
    bus_prefix: Annotated[
        str, typer.Option("--bus-prefix", metavar="NAME", help="The bus that it is played on.")
    ] = REPLAY_PREFIX,
    now: Annotated[
        bool, typer.Option("--now", help="Begin at once, and not with the first consumer.")
    ] = False,
) -> None:
    """Play a recording on a bus of its own, to consumers that need no change.

    Give the consumer the same BUS_PREFIX. Channels, journals, numbers and times are the original
    ones, and registrations are answered. Exit code 1: Redis went away, or refuses.
    """
    need_pyarrow()
    settings = open_settings()
    times = _speed(speed)
    _check_prefix(bus_prefix, settings)
    from ..recorder.player import Player, ReplayConfig
    from ..recorder.recording import Recording

    found = Recording(recording)
    config = ReplayConfig(prefix=bus_prefix, speed=times, wait=not now)
    player = Player(settings.redis_config(), found, config)
    console.print(_plan(found, times), markup=False)
    if not now:
        hint = f"Waiting for a consumer: BUS_PREFIX={bus_prefix} python my_strategy.py"
        console.print(f"{hint} (--now begins at once)", markup=False)
    _run(player.run, player.stop)
    _tell_played(player)


def _check_prefix(prefix: str, settings: Settings) -> None:
    if not prefix or prefix == settings.bus_prefix:
        raise Mistake("a replay needs a bus of its own: give --bus-prefix another name")
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,32}", prefix):
        raise Mistake(f"{prefix!r} cannot be a bus prefix: up to 32 letters, digits and _ . : -")


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        times = float(text)
    except ValueError:
        times = 0.0
    if not 0 < times < float("inf"):
        raise Mistake(f"--speed {text} is no number of times: give e.g. 1, 10, 0.5 or max")
    return times


def _plan(recording: Recording, times: float | None) -> str:
    first, last = recording.span()
    took_s = (last - first) / 1e9
    pace = "as fast as it goes" if times is None else f"{times:g} times as fast"
    how_long = "" if times is None else f": {timedelta(seconds=round(took_s / times))}"
    begin, end = (datetime.fromtimestamp(ns / 1e9, UTC) for ns in (first, last))
    return (
        f"{recording.row_count:,} messages of {begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC, "
        f"{pace}{how_long}"
    )


def _tell_played(player: Player) -> None:
    counters = player.counters
    console.print(
        f"Played {counters['messages']:,} messages in {player.took_s:.1f} s", markup=False
    )
    if missing := counters["gaps_of_the_recorder"]:
        console.print(f"The recorder missed something {missing} times: consumers see it as gaps")


def need_pyarrow() -> None:
    if find_spec("pyarrow") is None:
        raise Mistake(f"this needs pyarrow, which is not installed: {how_to_install('record')}")
