"""`sim`: the local Alpaca alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from ..ports import choose_port, is_free_on_loopback
from ..stack import DEFAULT_SIM_PORT, LOCAL_KEY, LOCAL_SECRET, local_alpaca_environment
from .common import Mistake, Rate, SimPort, console, open_settings, parse_tickers

if TYPE_CHECKING:
    from ..alpaca_sim import SimAddress

MARKET: Final = "The market"
PLAYED: Final = "What is played"
RULES: Final = "Alpaca's rules"


def sim(
    port: SimPort = None,
    control_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, metavar="PORT", help="Where faults are ordered. Else: any free one."
        ),
    ] = None,
    tickers: Annotated[
        str,
        typer.Option(
            metavar="A,B,…",
            help="Tickers that it shall know besides its own 660.",
            rich_help_panel=MARKET,
        ),
    ] = "",
    any_ticker: Annotated[
        bool,
        typer.Option(
            "--any-ticker",
            help="Every well-formed ticker is a tradable asset.",
            rich_help_panel=MARKET,
        ),
    ] = False,
    rate: Rate = 1.0,
    seed: Annotated[
        int,
        typer.Option(help="The same seed makes the same prices.", rich_help_panel=MARKET),
    ] = 1,
    session: Annotated[
        Literal["always", "calendar"],
        typer.Option(
            help="Always open, or the New York Stock Exchange's hours, half days and holidays.",
            rich_help_panel=MARKET,
        ),
    ] = "always",
    clock_start: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Where its clock starts, e.g. 2026-11-27T14:29:30Z. Else: now.",
            rich_help_panel=MARKET,
        ),
    ] = None,
    scenario: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Faults with their times, as YAML.",
            rich_help_panel=PLAYED,
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="A recording instead of the market: CSV, JSON lines, or Alpaca's REST answers. It "
            "begins with the first subscription.",
            rich_help_panel=PLAYED,
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            min=0, help="Of the recording: times true speed; 0: at once.", rich_help_panel=PLAYED
        ),
    ] = 1.0,
    original_times: Annotated[
        bool,
        typer.Option(
            "--original-times",
            help="The recording keeps its times, and they are the clock's.",
            rich_help_panel=PLAYED,
        ),
    ] = False,
    symbol_limit: Annotated[
        int,
        typer.Option(
            min=0,
            help="Symbols on the stream, as the plan allows; 0: no limit.",
            rich_help_panel=RULES,
        ),
    ] = 30,
    key: Annotated[
        str, typer.Option(help="The key id that it accepts.", rich_help_panel=RULES)
    ] = LOCAL_KEY,
    secret: Annotated[
        str, typer.Option(help="And its secret.", rich_help_panel=RULES)
    ] = LOCAL_SECRET,
) -> None:
    """The local Alpaca alone.

    Streams, REST and order matching on one port of 127.0.0.1. No money, no network.
    """
    from ..alpaca_sim import Credentials, MarketRules, SimConfig, StreamRules, run_forever
    from ..alpaca_sim.scenario import ScenarioError

    open_settings()
    _check_clock(clock_start)
    _check_recording(replay)
    config = SimConfig(
        port=choose_port(port, DEFAULT_SIM_PORT, "--port"),
        control_port=_control_port(control_port),
        tickers=parse_tickers(tickers) if tickers else (),
        any_ticker=any_ticker,
        credentials=Credentials(key, secret),
        market=MarketRules(seed=seed, default_rate=rate, session=session, clock_start=clock_start),
        streams=StreamRules(symbol_limit=symbol_limit),
        scenario=None if scenario is None else str(scenario),
        replay=None if replay is None else str(replay),
        replay_speed=speed,
        replay_shift_to_now=not original_times,
    )
    try:
        run_forever(config, lambda address: _announce(address, key, secret))
    except ScenarioError as error:
        raise Mistake(f"--scenario {scenario}: {error}") from None


def _announce(address: SimAddress, key: str, secret: str) -> None:
    console.print(f"The local Alpaca listens on 127.0.0.1:{address.port}. To use it:")
    for name, value in local_alpaca_environment(address.port, key, secret).items():
        console.print(f"  export {name}={value}", markup=False)
    console.print(f"Market hours: {address.session}", markup=False)
    if address.control_url:
        console.print(f"Faults and oracle: {address.control_url}", markup=False)


def _control_port(asked: int | None) -> int:
    return 0 if asked is None else choose_port(asked, asked, "--control-port", is_free_on_loopback)


def _check_clock(text: str | None) -> None:
    from ..alpaca_sim.clock import parse_time

    if text is None:
        return
    try:
        parse_time(text)
    except ValueError:
        raise Mistake(
            f"--clock-start: {text!r} is no moment: write e.g. 2026-11-27T14:29:30Z"
        ) from None


def _check_recording(file: Path | None) -> None:
    """It is read now too: it would only be found bad at the first subscription."""
    from ..alpaca_sim.replay_read import BadRecording, read_recording

    if file is None:
        return
    try:
        read_recording(file)
    except (BadRecording, UnicodeDecodeError) as error:
        raise Mistake(f"--replay {file}: {error}") from None
