"""The options of a ladder, written once: `run`, `plan` and `simulate` all take them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

LADDER, MONEY, AGAIN = "The ladder", "Limits", "To go on with an earlier position"


def _template(
    max_position: Annotated[
        str,
        typer.Option(metavar="SHARES", help="Never own more than this.", rich_help_panel=LADDER),
    ],
    side: Annotated[
        str,
        typer.Option(metavar="long|short", help="Buy dips, or sell rises.", rich_help_panel=LADDER),
    ] = "long",
    component: Annotated[
        str, typer.Option(metavar="SHARES", help="Shares of each rung.", rich_help_panel=LADDER)
    ] = "10",
    initial: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Shares of the first rung. Without it: as of each.",
            rich_help_panel=LADDER,
        ),
    ] = None,
    increment: Annotated[
        str,
        typer.Option(
            metavar="DOLLARS|N%", help="The distance between rungs.", rich_help_panel=LADDER
        ),
    ] = "0.05",
    profit_offset: Annotated[
        str | None,
        typer.Option(
            metavar="DOLLARS|N%|none",
            help="What each rung is sold above its price. Without it: the increment.",
            rich_help_panel=LADDER,
        ),
    ] = None,
    profit_from: Annotated[
        str,
        typer.Option(
            metavar="limit|fill",
            help="Counted from the rung's price, or from the fill's.",
            rich_help_panel=LADDER,
        ),
    ] = "limit",
    restore: Annotated[
        bool,
        typer.Option(
            "--restore/--no-restore",
            help="After a profit, enter the same rung again.",
            rich_help_panel=LADDER,
        ),
    ] = True,
    start_price: Annotated[
        str | None,
        typer.Option(
            metavar="DOLLARS",
            help="The first rung. Without it: the first price seen.",
            rich_help_panel=LADDER,
        ),
    ] = None,
    re_anchor: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Owning nothing, begin anew where the price is, once it ran N increments away.",
            rich_help_panel=LADDER,
        ),
    ] = None,
    working_entries: Annotated[
        int, typer.Option(metavar="N", help="Entries at a time.", rich_help_panel=LADDER)
    ] = 1,
    randomize: Annotated[
        str,
        typer.Option(
            metavar="PERCENT",
            help="Vary the sizes by up to 55 %, once and for all.",
            rich_help_panel=LADDER,
        ),
    ] = "0",
    lowest: Annotated[
        str | None,
        typer.Option(metavar="DOLLARS", help="No entry below.", rich_help_panel=MONEY),
    ] = None,
    highest: Annotated[
        str | None,
        typer.Option(metavar="DOLLARS", help="No entry above.", rich_help_panel=MONEY),
    ] = None,
    hours: Annotated[
        str | None,
        typer.Option(
            metavar="09:45-15:45",
            help="Entries only then, by New York's clock.",
            rich_help_panel=MONEY,
        ),
    ] = None,
    session_limit: Annotated[
        str | None,
        typer.Option(metavar="SHARES", help="Enter no more in a session.", rich_help_panel=MONEY),
    ] = None,
    max_loss: Annotated[
        str | None,
        typer.Option(
            metavar="DOLLARS",
            help="Realised and open: then it stops, with exit code 4.",
            rich_help_panel=MONEY,
        ),
    ] = None,
    flatten_on_loss: Annotated[
        bool,
        typer.Option("--flatten-on-loss", help="And sells what it owns.", rich_help_panel=MONEY),
    ] = False,
    existing_position: Annotated[
        str,
        typer.Option(
            metavar="SHARES",
            help="Owned already, as the front of the ladder.",
            rich_help_panel=AGAIN,
        ),
    ] = "0",
    filled_initial: Annotated[
        str | None,
        typer.Option(
            metavar="SHARES",
            help="Of the first rung, so many were bought before.",
            rich_help_panel=AGAIN,
        ),
    ] = None,
    coin_fee: Annotated[
        str,
        typer.Option(
            metavar="PERCENT",
            help="Of each execution of a pair, as long as Alpaca has not listed it.",
            rich_help_panel=MONEY,
        ),
    ] = "0.25%",
    client_id: Annotated[
        str, typer.Option(metavar="ID", help="Its orders are named ID:TICKER:….")
    ] = "scale-t",
) -> None: ...


def ladder_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that takes `**ladder` have all the options above, after its own."""

    def run(**words: Any) -> None:
        command(**words)

    own = [
        each
        for each in inspect.signature(command).parameters.values()
        if each.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    shared = list(inspect.signature(_template).parameters.values())
    hints = get_type_hints(_template, include_extras=True) | get_type_hints(
        command, include_extras=True
    )
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            for parameter in (*own, *shared)
        ]
    )
    run.__annotations__ = {name: hint for name, hint in hints.items() if name != "ladder"}
    run.__name__, run.__doc__ = command.__name__, command.__doc__
    return run
