"""The broker, as its heartbeat tells; a probe of Alpaca's connection is only made without one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from .. import __version__
from ..heartbeat import heartbeats
from ..holders import Holder, read_holders
from ..utils.redis.broker_watch import WORKING
from ..utils.redis.config import RedisConfig
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.messages import BrokerStatus
from ..wording import account_name
from .findings import Notebook

HEARD_WITHIN_S: Final = 2.2  # one heartbeat comes each second
LAGS_MS: Final = 5_000
GONE: Final = ("REFUSED", "FAULTED")


def hear(config: RedisConfig, within_s: float) -> BrokerStatus | None:
    """The next heartbeat, or None if there is none in time.

    Raises:
        RedisUnavailable: Redis does not answer, or refuses us.
    """
    return next((beat for beat in heartbeats(config, within_s) if beat is not None), None)


def judge_broker(
    notebook: Notebook, heard: BrokerStatus | None, listeners: int | None, standbys: int = 0
) -> None:
    """`listeners`: who hears registrations, None if that may not be asked."""
    if heard is None:
        _judge_silence(notebook, listeners)
        return
    state = heard.state
    if state in GONE:
        reason = heard.upstream.prices.reason or heard.upstream.orders.reason or "see its log"
        notebook.error("state", f"the broker is {state}: {reason}", "mend that, and start it again")
    elif state == "DEGRADED":
        notebook.warn("state", f"the broker is DEGRADED: {_troubles(heard)}", "see its log")
    else:
        beside = f"; {standbys} on standby" if standbys else ""
        notebook.fine("state", f"the broker is {state}, version {heard.version}{beside}")
    if heard.version != __version__:
        notebook.warn(
            "version",
            f"the broker is of version {heard.version}, and this is {__version__}",
            "upgrade the older; both understand the same wire",
        )
    if state in WORKING:
        _judge_streams(notebook, heard)


def _judge_silence(notebook: Notebook, listeners: int | None) -> None:
    if listeners:
        notebook.warn(
            "silent",
            "there is no heartbeat, though somebody hears registrations",
            "the broker hangs, or was just started: look into its log, and try again",
        )
    else:
        notebook.note("state", "no broker runs on this Redis", "start one: tickerbus broker")


def _troubles(heard: BrokerStatus) -> str:
    prices, orders = heard.upstream.prices, heard.upstream.orders
    told = [
        f"{name} {s.state}" + (f" ({s.reason})" if s.reason else "")
        for name, s in (("prices", prices), ("orders", orders))
        if s.state != "LIVE"
    ]
    return ", ".join(told) or "Redis does not take its batches"


def _judge_streams(notebook: Notebook, heard: BrokerStatus) -> None:
    lag_ms = heard.upstream.prices.lag_ms
    if lag_ms is not None and lag_ms > LAGS_MS and heard.upstream.prices.state != "QUIET":
        notebook.warn(
            "lag",
            f"prices are {lag_ms / 1000:,.0f} s behind",
            "check the clock, the network to Alpaca, and the processor's load here",
        )
    if not heard.upstream.orders.ready:
        notebook.warn(
            "orders_not_ready",
            "the order stream is not ready: strategies must send no new entries",
            "wait for its reconciliation; if that takes more than a minute, see the broker's log",
        )
    tickers = heard.tickers if isinstance(heard.tickers, dict) else {}
    mute = sorted(ticker for ticker, status in tickers.items() if status.state == "MUTE")
    if mute:
        notebook.warn(
            "mute",
            f"silent against what is usual: {', '.join(mute[:10])}",
            "the broker subscribes them again by itself; if it lasts, ask Alpaca's status page",
        )


def judge_account(
    notebook: Notebook, heard: BrokerStatus | None, account_id: str | None, name: str
) -> None:
    """One prefix is one account's. `name`: what people know that account by."""
    if heard is not None and heard.account_id and account_id and heard.account_id != account_id:
        notebook.error(
            "other_account",
            f"the broker under this prefix is account {account_name(heard)}'s, and these keys "
            f"are account {name}'s: a broker started here would refuse",
            "set another BUS_PREFIX for one of the two accounts",
        )


def examine_holders(notebook: Notebook, config: RedisConfig, symbol_limit: int) -> None:
    """The symbol budget."""
    try:
        holders = read_holders(config, time.time())
    except RedisUnavailable:
        return  # this user may not read them, and that is told elsewhere
    judge_budget(notebook, holders, symbol_limit)


def judge_budget(notebook: Notebook, holders: Sequence[Holder], symbol_limit: int) -> None:
    stocks = {holder.ticker for holder in holders if "/" not in holder.ticker}
    if symbol_limit and len(stocks) >= symbol_limit:
        notebook.warn(
            "symbols_full",
            f"{len(stocks)} stocks are followed, and the limit is {symbol_limit}: the next is "
            "rejected",
            "tickerbus registrations shows who holds what; tickerbus unregister lets go",
        )
    forever = sorted({holder.ticker for holder in holders if holder.until_ms is None})
    if forever:
        notebook.note(
            "held_for_ever",
            f"without an end are registered: {', '.join(forever[:10])}",
            "tickerbus unregister --all-anonymous lets go of them",
        )
