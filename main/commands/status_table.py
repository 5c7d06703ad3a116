"""Pure: a heartbeat as a person reads it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from ..holders import describe_left
from ..table import STATE_STYLE
from ..utils.redis.messages import BrokerStatus, parse_rfc3339

# Worth a person's attention, if it is not nought: the broker's own names, and the words for them.
TROUBLES: Final[Mapping[str, str]] = {
    "interruptions": "tickers interrupted, each told as a gap",
    "refills_failed": "gaps that could not be refilled",
    "folded_messages": "trades folded to the last, for too many came",
    "mute_resubscribed": "silent tickers asked for again",
    "mute_renewed": "silent connections renewed",
    "upstream_lost_tickers": "tickers that Alpaca let go by itself",
    "malformed": "messages of Alpaca that cannot be read",
    "orders_malformed": "order messages of Alpaca that cannot be read",
    "orders_reconciled": "order events that the stream missed, recovered by REST",
    "reconciliations_failed": "comparisons of the orders with REST that failed",
    "orders_unrouted": "order events whose symbol can name no channel",
    "orders_without_replica": "order events that no replica of Redis had yet",
    "order_record_failures": "order events that could not be kept on disk",
    "order_record_dropped": "order events that could not be kept on disk in time",
    "reconnects": "connections to Redis made again",
    "batch_retries": "batches sent again, for Redis did not confirm them",
    "journals_set_aside": "foreign keys under a journal's name, renamed",
    "registrations_invalid": "registrations that make no sense",
    "registrations_limited": "registrations refused, for too many came",
}
STREAM_TROUBLES: Final[Mapping[str, str]] = {
    "disconnects": "connections to Alpaca lost",
    "slot_taken": "sign-ins refused, for Alpaca's only connection was taken",
    "failures": "errors of our own",
}


def status_table(heartbeat: BrokerStatus, *, everything: bool, now_s: float) -> Table:
    """`everything`: also each counter under its own name, with what it counts."""
    table = Table(box=box.ROUNDED, border_style="dim", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    state = heartbeat.state
    broker = Text(state, STATE_STYLE.get(state, "bold red"))
    table.add_row("broker", broker.append(f", version {heartbeat.version}", "not bold default"))
    table.add_row("started", _started(heartbeat.started_at, now_s))
    prices, orders = heartbeat.upstream.prices, heartbeat.upstream.orders
    lag = "" if prices.lag_ms is None else f", {prices.lag_ms:,.0f} ms behind"
    table.add_row(
        "prices", Text(f"{_stream(prices.state, prices.reason)}, {prices.symbols} symbols{lag}")
    )
    entries = "entries may be sent" if orders.ready else "send no new entries"
    table.add_row("orders", Text(f"{_stream(orders.state, orders.reason)}, {entries}"))
    if isinstance(heartbeat.tickers, dict):
        table.add_row("tickers", _tickers(heartbeat))
    table.add_row("so far", _so_far(heartbeat.counters))
    table.add_row("trouble", "\n".join(troubles(heartbeat.counters)) or "none since the start")
    bound = heartbeat.journal.get("max_per_ticker")
    if bound is not None:
        table.add_row("journal", f"the last {bound:,} messages of each ticker")
    if everything:
        table.add_row("epoch", f"{heartbeat.epoch}, since {heartbeat.started_at}")
        table.add_row("counters", _counters(heartbeat.counters))
    return table


def troubles(counters: Mapping[str, int]) -> Iterator[str]:
    """What went wrong so far, in words; nothing of what is as it should be."""
    for name, words in TROUBLES.items():
        if count := counters.get(name):
            yield f"{words}: {count:,}"
    for name, count in counters.items():
        stream, _, kind = name.partition("_")
        if count and kind in STREAM_TROUBLES:
            yield f"{STREAM_TROUBLES[kind]} ({stream}): {count:,}"


def _so_far(counters: Mapping[str, int]) -> str:
    messages, orders, requests, changes = (
        counters.get(name, 0) for name in ("messages", "orders", "registrations", "restarts")
    )
    return (
        f"{messages:,} messages, {orders:,} of them of orders\n"
        f"{requests:,} requests to follow, renew or leave a ticker\n"
        f"the list of tickers changed {changes:,} time{'s' * (changes != 1)}"
    )


def _started(started_at: str, now_s: float) -> str:
    try:
        began_s = parse_rfc3339(started_at) / 1e9
    except ValueError:
        return started_at
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(began_s))
    return f"{describe_left(now_s - began_s)} ago ({clock} UTC)"


def _tickers(heartbeat: BrokerStatus) -> str:
    assert isinstance(heartbeat.tickers, dict)
    followed = sorted(heartbeat.tickers.items())
    width = max((len(name) for name, _ in followed), default=0)
    count = max((len(f"{ticker.seq:,}") for _, ticker in followed), default=0)
    lines = (f"{name:<{width}} {t.seq:>{count},} messages  {t.state}" for name, t in followed)
    return "\n".join(lines) or "none"


def _counters(counters: Mapping[str, int]) -> Table:
    """Every counter, with what the figures for Prometheus say of it."""
    from ..metrics.counted import BY_STREAM, COUNTED

    says = {
        source: counted.says.rstrip(".") + (f": {value}" if counted.label else "")
        for counted in COUNTED
        for source, value in counted.sources.items()
    }
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(style="dim")
    for name, count in sorted(counters.items()):
        kind = name.partition("_")[2]
        words = says.get(name) or BY_STREAM.get(kind, ("", ""))[1].rstrip(".")
        grid.add_row(name, f"{count:,}", words)
    return grid


def _stream(state: str, reason: str | None) -> str:
    return f"{state} ({reason})" if reason else state
