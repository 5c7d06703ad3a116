"""`events`: the trade event bus from a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ..holders import parse_duration
from .common import Mistake, console, ended_by_signals, errors, open_settings

if TYPE_CHECKING:
    import redis

    from ..trade_events import RedisEventBus, TradeEvent

SymbolArgument = Annotated[
    str | None, typer.Argument(metavar="[SYMBOL]", help="E.g. XAUUSD. Without it: all.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]

UPDATED: Final = "updated_at"
# In a narrow terminal these are broken into lines, so that the rest can be read.
WIDE: Final = frozenset({"order_id", "position_id", "meaning"})
ORDER_COLUMNS: Final = ("symbol", "order_id", "status", "order_type", "price", "volume")
POSITION_COLUMNS: Final = ("symbol", "position_id", "status", "direction", "entry_price", "volume")
NUMBERS: Final = frozenset({"price", "volume", "filled_volume", "entry_price", "pnl"})


def tail(symbol: SymbolArgument = None, as_json: AsJson = False) -> None:
    """Print trade events as they happen, one a line. Ctrl-C ends it; --json has all of each."""
    from ..events_bridge.names import BridgeNames
    from .events_tail import BridgeWatch

    with _open_bus() as bus:
        printer = _Printer(as_json, bus.stop)
        bus.subscribe_all(symbol, printer.take)
        owner = BridgeNames(bus.names.prefix).owner
        with ended_by_signals(bus.stop), _redis_client() as client:
            whose = symbol or "every symbol"
            errors.print(f"Trade events of {whose}, as they happen; Ctrl-C ends it.", style="dim")
            with BridgeWatch(client, owner, lambda words: errors.print(words, style="yellow")):
                bus.listen()


def orders(
    symbol: SymbolArgument = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that ended, while their state is kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the open orders."""
    with _open_bus() as bus:
        if everything:
            found = bus.get_orders(symbol)
        else:
            found = [o for name in _symbols(bus, symbol) for o in bus.get_open_orders(name)]
    columns = (*ORDER_COLUMNS, "filled_volume", UPDATED)
    _print_states(found, columns, as_json, "no orders" if everything else "no open orders")


def positions(
    symbol: SymbolArgument = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were closed, while their state is kept.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the active positions."""
    with _open_bus() as bus:
        if everything:
            found = bus.get_positions(symbol)
        else:
            found = [p for name in _symbols(bus, symbol) for p in bus.get_active_positions(name)]
    lack = "no positions" if everything else "no active positions"
    _print_states(found, (*POSITION_COLUMNS, "pnl", UPDATED), as_json, lack)


def replay(
    symbol: SymbolArgument = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How long ago (90s, 45m, 2h, 1d), or an ISO 8601 time."),
    ] = None,
    from_id: Annotated[
        str | None, typer.Option(metavar="LOG-ID", help="After this event, e.g. 1795271405000-0.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the events of the log, in the order of their publication."""
    with _open_bus() as bus:
        found = bus.replay(symbol, since=_moment(since), from_id=from_id)
        printer = _Printer(as_json)
        event = None
        for event in found:
            if printer.reader_left:
                break
            printer.take(event)
        if event is None and not as_json:
            errors.print(f"no such event of {symbol or 'any symbol'} in the log", style="dim")


def failed(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print the events that a handler or a durable consumer failed at."""
    from ..trade_events.describe import describe_event, event_fields, printable

    with _open_bus() as bus:
        failures = bus.failed(limit)
    if not failures and not as_json:
        console.print("nothing failed")
    for failure in failures:
        if as_json:
            _print_json(
                {
                    "id": failure.id,
                    "where": failure.where,
                    "who": failure.who,
                    "deliveries": failure.deliveries,
                    "error": failure.error,
                    "log_id": failure.log_id,
                    "event": event_fields(failure.event) if failure.event else None,
                }
            )
            continue
        what = describe_event(failure.event) if failure.event else "not an event"
        times = "once" if failure.deliveries == 1 else f"{failure.deliveries} times"
        console.print(what, markup=False)
        console.print(f"  {failure.where} {printable(failure.who)}, tried {times}", markup=False)
        console.print(f"  {printable(failure.error)}", markup=False, style="red")


def config(
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=VALUE…]", help="What to change; NAME= sets the default."),
    ] = None,
) -> None:
    """Print the operational configuration of the bus, or change it for everybody at once.

    A group that is named in groups begins with the next event; one that is no longer named loses
    its place.
    """
    from ..trade_events.operations import GROUPS, MEANINGS

    wanted = {}
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals:
            raise Mistake(f"{change!r} is no change: write NAME=VALUE, e.g. log_max_events=500000")
        wanted[name.strip()] = value.strip() or None
    with _open_bus() as bus:
        if wanted:
            bus.configure(**wanted)
        in_force = bus.config()
    table = _table("name", "value", "meaning")
    for name, meaning in MEANINGS.items():
        value = getattr(in_force, name)
        text = ", ".join(value) or "none" if name == GROUPS else f"{value:,}"
        table.add_row(name, text, meaning)
    console.print(table)


def rebuild(
    apply: Annotated[
        bool, typer.Option("--apply", help="Put what was made in the place of the live state.")
    ] = False,
) -> None:
    """Make the state of all orders and positions again from the log, and compare.

    Exit code 1: they differ (with --apply: they did).
    """
    with _open_bus() as bus:
        found = bus.rebuild(apply=apply)
    console.print(
        f"{found.events:,} events, {found.compared:,} orders and positions compared, "
        f"{found.older:,} older than the log and left as they are"
    )
    if found.is_equal:
        console.print("the live state is what the log says", style="green")
        return
    for name, fields in found.differences.items():
        console.print(f"  {name}: {fields}", markup=False, style="red")
    if found.judged_otherwise:
        console.print(f"  {found.judged_otherwise} events moved otherwise this time", style="red")
    console.print("replaced by what the log says" if apply else "--apply puts it right")
    raise typer.Exit(1)


# -- shared


@contextmanager
def _open_bus() -> Iterator[RedisEventBus]:
    """A bus, closed at the end. What Redis refuses ends the command with one message."""
    settings = open_settings()
    import redis

    from ..trade_events import RedisEventBus

    config = settings.redis_config(client_name="tickerbus-events")
    with RedisEventBus(config) as bus:
        try:
            yield bus
        except redis.RedisError as error:
            raise Mistake(f"Redis at {config.address}: {error}", exit_code=1) from error


@contextmanager
def _redis_client() -> Iterator[redis.Redis]:
    """A connection of its own beside the bus."""
    client = open_settings().redis_config(client_name="tickerbus-events").client()
    try:
        yield client
    finally:
        client.close()


class _Printer:
    """Prints events; `on_left` is told when nobody reads any more (`events tail | head`)."""

    def __init__(self, as_json: bool, on_left: Callable[[], object] = lambda: None) -> None:
        from ..trade_events.describe import describe_event, event_json

        self.reader_left = False
        self._words, self._on_left = event_json if as_json else describe_event, on_left

    def take(self, event: TradeEvent) -> None:
        try:
            sys.stdout.write(self._words(event) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer has nowhere to go, also not at exit.
            sys.stdout = None
            self.reader_left = True
            self._on_left()


def _symbols(bus: RedisEventBus, symbol: str | None) -> list[str]:
    return bus.symbols() if symbol is None else [symbol]


def _moment(since: str | None) -> str | datetime | None:
    """`2h` is two hours ago; anything else is what the bus takes for a time."""
    from ..trade_events.checks import check_timestamp

    if since is None:
        return None
    try:
        if since[-1:] in ("s", "m", "h", "d"):
            return datetime.now(UTC) - timedelta(seconds=parse_duration(since))
        return check_timestamp(since, "since")
    except ValueError:
        raise Mistake(
            f"--since {since}: give how long ago (90s, 45m, 2h, 1d), or an ISO 8601 time like "
            "2026-11-21T14:30:00Z"
        ) from None


def _print_states(
    states: Iterable[dict[str, Any]], columns: tuple[str, ...], as_json: bool, none: str
) -> None:
    rows = list(states)
    if as_json:
        for state in rows:
            _print_json(state)
        return
    if not rows:
        console.print(none)
        return
    table = _table(*columns)
    for state in rows:
        table.add_row(*(_cell(name, state.get(name)) for name in columns))
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, border_style="dim")
    for name in columns:
        wide = name in WIDE
        table.add_column(
            name.removesuffix("_volume").removesuffix("_at").replace("_", " "),
            justify="right" if name in NUMBERS else "left",
            no_wrap=not wide,
            overflow="fold" if wide else "ellipsis",
        )
    return table


def _cell(name: str, value: Any) -> Text:
    """What came from Redis, as plain text: no markup, no control characters."""
    from ..trade_events.describe import printable

    text = "-" if value is None else printable(value)
    return Text(_time_of(text) if name == UPDATED else text)


def _time_of(timestamp: str) -> str:
    """The second, UTC; with its day if that is not today."""
    day, _, time_of_day = timestamp.partition("T")
    second = time_of_day[:8]
    return second if day == datetime.now(UTC).date().isoformat() else f"{day} {second}"


def _print_json(fields: dict[str, Any]) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")
