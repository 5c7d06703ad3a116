"""`demo` and `up`: the whole road on one machine, with whatever is missing embedded."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.live import Live
from rich.markup import escape

from ..demo import Check, Demo, client_id_of, failures
from ..extras import how_to_install
from ..stack import DEFAULT_REDIS_PORT, Stack, StackConfig, Trading, local_alpaca_environment
from ..utils.redis.constants import BusNames
from ..utils.redis.registration import LeaseKeeper, RegistrationClient
from .common import (
    DEMO_TICKERS,
    Interruption,
    Mistake,
    Rate,
    RedisPort,
    SimPort,
    Tickers,
    console,
    ended_by_signals,
    errors,
    open_settings,
    parse_tickers,
    program,
    say,
)
from .dashboard import missing_web_packages, require_web_packages

FRAME_S: Final = 0.125
RATE: Final = 5.0
LEASE_S: Final = 60
PARTING_S: Final = 0.5
HINT: Final = "Ctrl-C ends it and everything it started"
STOPPING: Final = "stopping …"

Trade = Annotated[
    bool,
    typer.Option(
        "--trade", help="Let scale_t trade on the given PAPER account too, not only on the local."
    ),
]
PagePort = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=65535,
        metavar="PORT",
        help="Where the web page listens. Without it: 8787, or the next free one.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print what the parts log.")]


def demo(
    seconds: Annotated[
        float | None, typer.Option(min=1, help="End by itself after so many seconds.")
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="No table: a summary at the end. For scripts.")
    ] = False,
    tickers: Tickers = DEMO_TICKERS,
    redis_port: RedisPort = None,
    sim_port: SimPort = None,
    rate: Rate = RATE,
    trade: Trade = False,
    page: Annotated[
        bool | None,
        typer.Option("--dashboard/--no-dashboard", help="The web page too: with the table, yes."),
    ] = None,
    page_port: PagePort = None,
    verbose: Verbose = False,
) -> None:
    """See the whole road work.

    Redis, Alpaca, broker, a scale_t that trades, and a live table of what comes through Redis.
    A given Redis (REDIS_URL or REDIS_HOST) and given Alpaca keys are used; only what is missing
    is embedded. With --seconds, exit code 0 means that every part of the road worked.
    """
    show_table = console.is_terminal and not plain
    config = _stack_config(tickers, redis_port, sim_port, rate, trade)
    config = _with_page(config, page, page_port, by_itself=show_table)
    running = Demo(config, say, _hear if verbose else None)
    checks: list[Check] = []
    interrupted = True
    with ended_by_signals(running.stop, STOPPING) as interruption:
        running.start()
        interrupted = _show(running, seconds, show_table, interruption)
        checks = running.checks()
    _conclude(checks, interrupted, show_table and seconds is None)


def _show(
    running: Demo, seconds: float | None, show_table: bool, interruption: Interruption
) -> bool:
    """Until the time is over, a part ended by itself, or Ctrl-C (then True)."""
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        if not show_table:
            while not _is_over(running, deadline):
                interruption.look()
                time.sleep(FRAME_S)
            return False
        page = running.stack.page_url
        hint = f"{HINT} · the web page: {page}" if page else HINT
        with Live(console=console, auto_refresh=False) as live:
            while not _is_over(running, deadline):
                interruption.look()
                live.update(running.picture(console.width, hint), refresh=True)
                time.sleep(FRAME_S)
            live.update(running.picture(console.width), refresh=True)
    except KeyboardInterrupt:
        return True
    return False


def _is_over(running: Demo, deadline: float | None) -> bool:
    in_time = deadline is None or time.monotonic() < deadline
    return not (in_time and running.runs())


def _conclude(checks: list[Check], interrupted: bool, quiet: bool) -> None:
    failed = failures(checks)
    if not quiet or (failed and not interrupted):
        _print_summary(checks)
    if interrupted or not failed:
        return
    parts = ", ".join(check.part for check in failed)
    raise Mistake(f"This part of the road did not work: {parts}", exit_code=1)


def _print_summary(checks: list[Check]) -> None:
    words = {True: "[green]ok[/green]     ", False: "[bold red]FAILED[/bold red] ", None: "skipped"}
    for check in checks:
        console.print(f"{words[check.worked]} {check.part:<11} {escape(check.detail)}")


def up(
    tickers: Tickers = DEMO_TICKERS,
    redis_port: RedisPort = None,
    sim_port: SimPort = None,
    rate: Rate = RATE,
    trade: Trade = False,
    page: Annotated[bool, typer.Option("--dashboard", help="The web page too.")] = False,
    page_port: PagePort = None,
    verbose: Verbose = False,
) -> None:
    """The same without the table, to play with.

    Prints where Redis, the local Alpaca and, with --dashboard, the web page listen, and some
    commands to try.
    """
    config = _stack_config(tickers, redis_port, sim_port, rate, trade)
    config = _with_page(config, page or None, page_port)
    stack = Stack(config, say, _hear if verbose else None)
    with ended_by_signals(stack.stop, STOPPING) as interruption:
        stack.start()
        stack.start_consumer()
        console.print(_invitation(stack, config), markup=False)
        with _following(stack, config, interruption):
            while not (deaths := stack.deaths()):
                interruption.look()
                time.sleep(FRAME_S)
        raise Mistake("\n".join(deaths), exit_code=1)


@contextmanager
def _following(stack: Stack, config: StackConfig, interruption: Interruption) -> Iterator[None]:
    """Hold the tickers for as long as this runs, so that plain subscribers hear something."""
    secured = config.settings.registration_secured
    with ExitStack() as opened:
        with interruption.held():
            client = opened.enter_context(
                RegistrationClient(stack.redis, client_id_of("up"), secured=secured)
            )
            keeper = LeaseKeeper(client, config.tickers, lease_s=LEASE_S)
            keeper.start()
            # With an embedded Redis all of it ends anyway.
            opened.callback(keeper.stop, not stack.embeds_redis, PARTING_S)
        yield


def _invitation(stack: Stack, config: StackConfig) -> str:
    redis, me = stack.redis, program()
    redis_url = f"REDIS_URL=redis://{redis.host}:{redis.port}"
    told = any(name.startswith("redis_") for name in config.settings.model_fields_set)
    is_found = not stack.embeds_redis or (redis.port == DEFAULT_REDIS_PORT and not told)
    where = "" if is_found else f"{redis_url} "  # else any command finds it by itself
    host = "" if stack.embeds_redis else f" -h {redis.host}"
    channel = BusNames(redis.bus_prefix).get_ticker_channel(config.tickers[0])
    lines = ["", f"Redis         {redis.address.removesuffix('/0')}"]
    if stack.page_url:
        lines.append(f"web page      {stack.page_url}")
    if config.settings.metrics_port is not None:
        address = f"{config.settings.metrics_host}:{config.settings.metrics_port}"
        lines.append(f"figures       http://{address}/metrics")
    if stack.embeds_alpaca:
        lines.append(f"local Alpaca  127.0.0.1:{stack.sim_port} (keys: local / local-secret)")
        told_alpaca = local_alpaca_environment(stack.sim_port)
        exports = [f"export {name}={value}" for name, value in told_alpaca.items()]
        if not is_found:  # it must not trade here by the prices of another `up`
            exports.insert(0, f"export {redis_url}")
        lines += ["", "For whoever trades there (scale-t, your own program):"]
        lines += [f"  {export}" for export in exports]
    lines += [
        "",
        "Try in a second terminal:",
        f"  {where}{me} watch {' '.join(config.tickers[:2])}",
        f"  {where}{me} status",
        *([] if stack.page_url else [f"  {where}{me} dashboard"]),
        f"  redis-cli{host} -p {redis.port} SUBSCRIBE {channel}",
        "",
        HINT,
    ]
    return "\n".join(lines)


def _with_page(
    config: StackConfig, asked: bool | None, port: int | None, by_itself: bool = False
) -> StackConfig:
    """`asked` None and `by_itself`: with the page, if its packages are there."""
    if asked or (asked is None and port is not None):
        require_web_packages()
    elif asked is False or not by_itself:
        return config
    elif lacking := missing_web_packages():
        say(f"page: none, for want of {', '.join(lacking)}: {how_to_install('dashboard')}")
        return config
    return replace(config, page=True, page_port=port)


def _stack_config(
    tickers: str, redis_port: int | None, sim_port: int | None, rate: float, trade: bool
) -> StackConfig:
    settings = open_settings()
    wanted = parse_tickers(tickers)
    if settings.alpaca_symbol_limit and len(wanted) > settings.alpaca_symbol_limit:
        raise Mistake(
            f"{len(wanted)} tickers, but ALPACA_SYMBOL_LIMIT is {settings.alpaca_symbol_limit}, "
            "the free plan's; 0 means no limit"
        )
    if trade and not settings.alpaca_paper:
        raise Mistake("--trade is for paper accounts, and ALPACA_PAPER=false says that it is none")
    return StackConfig(
        settings=settings,
        tickers=wanted,
        rate=rate,
        redis_port=redis_port,
        sim_port=sim_port,
        trading=trading_of(wanted),
        trade_given_account=trade,
    )


def trading_of(tickers: tuple[str, ...]) -> Trading | None:
    """A busy ladder on the first stock, so that a viewer sees orders fill."""
    stock = next((ticker for ticker in tickers if "/" not in ticker), None)
    if stock is None:
        return None
    client_id = client_id_of("scale-t-demo")
    # Tight rungs, and a ladder that goes along when the price runs up and away from it.
    ladder = ("--max-position", "150", "--increment", "0.03", "--re-anchor", "3")
    pace = ("--requests-per-minute", "120")
    arguments = ("--ticker", stock, *ladder, *pace, "--client-id", client_id)
    return Trading(ticker=stock, client_id=client_id, arguments=arguments)


def _hear(part: str, line: str) -> None:
    errors.print(f"{part} | {line}", markup=False)
    sys.stderr.flush()
