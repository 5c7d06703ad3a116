"""What every command shares: where it prints, its common options, and how mistakes end it."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from ..account import AlpacaAccess
from ..children import PACKAGE
from ..logs import configure_logs
from ..settings import Settings, load_settings
from ..utils.redis.constants import normalize_ticker
from ..utils.redis.errors import InvalidTicker

console: Final = Console(highlight=False, soft_wrap=True)
errors: Final = Console(stderr=True, highlight=False, soft_wrap=True)

ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BAD_USE: Final = 2
REFUSED: Final = 3

DEMO_TICKERS: Final = "AAPL,MSFT,NVDA,TSLA,AMZN,SPY,BTC/USD"

RedisPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        metavar="PORT",
        help="Where the embedded Valkey listens. Without it: 6379, or the next free one.",
    ),
]
SimPort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        metavar="PORT",
        help="Where the local Alpaca listens. Without it: 8765, or the next free one.",
    ),
]
Tickers = Annotated[
    str, typer.Option(metavar="A,B,…", help="The tickers to follow, with commas between them.")
]
Rate = Annotated[
    float, typer.Option(min=0, help="Trades a second of each ticker in the local Alpaca.")
]
TickerArguments = Annotated[
    list[str], typer.Argument(metavar="TICKER…", help="One or more, e.g. AAPL BRK.B BTC/USD.")
]


class Mistake(Exception):
    """What the user can mend: one message and an exit code, never a traceback."""

    def __init__(self, message: str, exit_code: int = BAD_USE) -> None:
        self.exit_code = exit_code
        super().__init__(message)


def open_settings() -> Settings:
    """Read the settings and start logging as they say.

    Raises:
        SettingsError: with every wrong setting in one message.
    """
    settings = load_settings()
    configure_logs(settings.log_format, settings.log_level)
    return settings


def parse_tickers(words: str | list[str]) -> tuple[str, ...]:
    """`"aapl,MSFT"` or `["aapl", "MSFT"]`, normalised, each once.

    Raises:
        Mistake: one or more are not tickers; names them all.
    """
    given = words.split(",") if isinstance(words, str) else words
    tickers, problems = [], []
    for word in filter(str.strip, given):
        try:
            tickers.append(normalize_ticker(word))
        except InvalidTicker as error:
            problems.append(str(error))
    if problems or not tickers:
        raise Mistake("\n".join(problems) or "no ticker given: name at least one, e.g. AAPL")
    return tuple(dict.fromkeys(tickers))


class Interruption:
    """The signal that ends a command, as a KeyboardInterrupt in the main thread."""

    def __init__(self) -> None:
        self._came = self._is_held = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """It waits for the end of this block: cut short, the block would leave a lock taken, or a
        thread that nobody knows of."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        self.look()

    def look(self) -> None:
        """For loops: what was raised in the middle of a finalizer, the interpreter drops."""
        if self._came:
            raise KeyboardInterrupt

    def take(self, _number: int, _frame: Any) -> None:
        """The signals' handler."""
        _ignore_signals()
        self._came = True
        if not self._is_held:
            raise KeyboardInterrupt


@contextmanager
def ended_by_signals(stop: Callable[[], object], farewell: str = "") -> Iterator[Interruption]:
    """Ctrl-C, SIGTERM and SIGHUP alike end the block; however it ends, `stop` is called.

    Nothing cuts `stop` short: it has its own deadline, and who waits for it is told `farewell`.
    What the block raises is raised after it, but for the KeyboardInterrupt that the signal became.
    """
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.take) for number in ENDING_SIGNALS}
    try:
        with suppress(KeyboardInterrupt):
            try:
                yield interruption
            finally:
                _ignore_signals()
                if farewell:
                    errors.print(farewell, style="dim")
                stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def print_account(access: AlpacaAccess) -> None:
    """PAPER or LIVE and the account's last four characters, before anything touches it.

    Raises:
        AccountRefused: wrong keys, or keys of the other kind of account.
    """
    say(access.banner(access.account_number()))


def say(words: str) -> None:
    """One line for the person. What is real money stands out."""
    console.print(
        words, style="bold white on red" if words.startswith("LIVE") else "", markup=False
    )


def program() -> str:
    """How the user calls this program from here: `tickerbus`, or `.venv/bin/python -m main`."""
    if Path(sys.argv[0]).name != "__main__.py":
        return Path(sys.argv[0]).name or "tickerbus"
    return f"{_python()} -m {PACKAGE}"


def _python() -> str:
    here = Path(sys.executable)
    for name in ("python", "python3"):
        found = shutil.which(name)
        # Not resolved: a virtual environment's python is a link to one that lacks our packages.
        if found and Path(found).absolute() == here.absolute():
            return name
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
