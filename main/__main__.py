"""The command line: `python -m main`, installed also as `tickerbus`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from . import __version__
from .children import obey_lifeline
from .commands import (
    benchmark,
    bus,
    containers,
    dashboard,
    doctor,
    events_bridge,
    journal,
    look,
    recorder,
    run,
    scale_t_control,
    scale_t_simulate,
    security,
    services,
    simulator,
)
from .commands import events as trade_events
from .commands import scale_t as scale_t_commands
from .commands.common import console, errors, program
from .commands.faults import exit_code_of, words_of

app = typer.Typer(
    help="One Alpaca connection, a Redis channel for every ticker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,  # a secret may be among them
    rich_markup_mode="markdown",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
scale_t = typer.Typer(
    help="The consumer that trades one ticker on a ladder.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
events = typer.Typer(help="The trade event bus.", no_args_is_help=True, rich_markup_mode="markdown")


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """What stands before any command."""
    if version:
        console.print(f"tickerbus {__version__}")
        raise typer.Exit


def _add(command: Callable[..., None], panel: str, example: str, to: typer.Typer = app) -> None:
    name = command.__name__.replace("run_scale_t", "run").replace("scale_t_status", "status")
    epilog = f"Example: {program()} {example}"
    to.command(name, epilog=epilog, rich_help_panel=panel)(command)


SEE = "See it work"
RUN = "Run the parts"
ASK = "Talk to the broker"
SEE_INSIDE = "Look into the bus"

_add(run.demo, SEE, "demo --tickers AAPL,MSFT")
_add(run.up, SEE, "up --tickers AAPL,MSFT --redis-port 6390")
_add(services.broker, RUN, "broker")
_add(simulator.sim, RUN, "sim --rate 20 --session calendar --clock-start 2026-11-27T14:29:30Z")
app.add_typer(scale_t, name="scale-t", rich_help_panel=RUN)
_add(scale_t_commands.run_scale_t, RUN, "scale-t run --ticker AAPL --max-position 100", to=scale_t)
_add(scale_t_commands.plan, RUN, "scale-t plan --ticker AAPL --max-position 100", to=scale_t)
_add(
    scale_t_simulate.simulate,
    RUN,
    "scale-t simulate --data examples/data/aapl-day.csv --ticker AAPL --max-position 100",
    to=scale_t,
)
_add(scale_t_control.scale_t_status, ASK, "scale-t status", to=scale_t)
_add(scale_t_control.pause, ASK, "scale-t pause --ticker AAPL", to=scale_t)
_add(scale_t_control.resume, ASK, "scale-t resume --ticker AAPL --confirm", to=scale_t)
_add(scale_t_control.stop, ASK, "scale-t stop --ticker AAPL", to=scale_t)
_add(scale_t_control.flatten, ASK, "scale-t flatten --ticker AAPL", to=scale_t)
_add(scale_t_control.update, ASK, "scale-t update --ticker AAPL", to=scale_t)
_add(scale_t_control.price, ASK, "scale-t price --ticker AAPL 189.20", to=scale_t)
app.add_typer(events, name="events", rich_help_panel=RUN)
_add(events_bridge.bridge, RUN, "events bridge", to=events)
_add(trade_events.tail, SEE_INSIDE, "events tail XAUUSD", to=events)
_add(trade_events.orders, SEE_INSIDE, "events orders XAUUSD", to=events)
_add(trade_events.positions, SEE_INSIDE, "events positions", to=events)
_add(trade_events.replay, SEE_INSIDE, "events replay XAUUSD --since 2h", to=events)
_add(trade_events.failed, SEE_INSIDE, "events failed", to=events)
_add(trade_events.config, SEE_INSIDE, "events config log_max_events=500000", to=events)
_add(trade_events.rebuild, SEE_INSIDE, "events rebuild", to=events)
_add(containers.compose, RUN, "compose --write")
_add(security.acl, RUN, "acl strategy --client-id scale-t --tickers AAPL,MSFT --secured")
_add(bus.register, ASK, "register AAPL MSFT --for 2h")
_add(bus.unregister, ASK, "unregister AAPL")
_add(bus.registrations, ASK, "registrations")
_add(look.watch, ASK, "watch AAPL MSFT --json")
_add(look.status, ASK, "status")
_add(doctor.doctor, ASK, "doctor --probe")
_add(journal.journal, ASK, "journal AAPL --since 10m")
_add(recorder.record, RUN, "record --into recordings")
_add(recorder.replay, RUN, "replay recordings/2026-11-21.parquet --speed 10")
_add(dashboard.dashboard, SEE, "dashboard --port 8787")
_add(benchmark.bench, SEE, "bench --seconds 20")


def main() -> None:
    """Run one command. What the user can mend ends with one message and its exit code."""
    obey_lifeline()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        exit_code = exit_code_of(error)
        if exit_code is None:
            raise
        errors.print(words_of(error), style="bold red", markup=False)
        sys.exit(exit_code)


if __name__ == "__main__":
    main()
