"""The command line: `python -m main`, installed also as `tickerbus`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import __version__
from .children import obey_lifeline
from .commands import bus, containers, look, run, services
from .commands.common import console, errors
from .commands.faults import exit_code_of

app = typer.Typer(
    help="One Alpaca connection, a Redis channel for every ticker.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
scale_t = typer.Typer(help="The consumer that trades one ticker on a ladder.", no_args_is_help=True)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """What stands before any command."""
    if version:
        console.print(f"tickerbus {__version__}")
        raise typer.Exit


SEE = "See it work"
RUN = "Run the parts"
ASK = "Talk to the broker"

app.command(rich_help_panel=SEE)(run.demo)
app.command(rich_help_panel=SEE)(run.up)
app.command(rich_help_panel=RUN)(services.broker)
app.command(rich_help_panel=RUN)(services.sim)
app.add_typer(scale_t, name="scale-t", rich_help_panel=RUN)
scale_t.command("run")(services.run_scale_t)
app.command(rich_help_panel=RUN)(containers.compose)
app.command(rich_help_panel=ASK)(bus.register)
app.command(rich_help_panel=ASK)(bus.unregister)
app.command(rich_help_panel=ASK)(bus.registrations)
app.command(rich_help_panel=ASK)(look.watch)
app.command(rich_help_panel=ASK)(look.status)


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
        errors.print(str(error), style="bold red", markup=False)
        sys.exit(exit_code)


if __name__ == "__main__":
    main()
