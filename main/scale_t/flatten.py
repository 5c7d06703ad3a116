"""Close what a ladder owns, by REST alone: for when no scale_t of that name is running.

That it was told to is saved first: a scale_t that starts before it was done goes on with that,
instead of trading. The same core decides as in a running one: first its own orders are cancelled,
and seen to have ended; then what it owns, and nothing else of the account, is closed at the market.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from ..settings import Settings
from ..utils.answers import Accepted, Found, Lost, Refused
from ..utils.redis.messages import now_rfc3339
from .account import AccountMode
from .alone import StateLock
from .intents import Cancel, Intent, LookUp, Place
from .ladder import Ladder
from .modes import Mode
from .rebuilt import rebuilt_ladder
from .saved import Saved, StateFile
from .session import Session
from .venue import Venue

STEP_S: Final = 0.2
ROOM: Final = 10


def flatten_alone(
    settings: Settings,
    venue: Venue,
    client_id: str,
    ticker: str,
    state_dir: Path | None,
    say: Callable[[str], object],
    timeout_s: float,
) -> bool:
    """False if it is not flat in time.

    Raises:
        AlreadyRuns: a scale_t of that name runs on this machine, and was not reached.
        StateFileBroken: what is saved of it cannot be read or written.
        VenueFailed, NotUnderstood, TooManyOrders, UnknownTicker: see `rebuilt_ladder`.
    """
    mode = AccountMode.of(settings, venue.account())
    file = StateFile(state_dir, mode.number, client_id, ticker)
    lock = StateLock(file.path, client_id, ticker)
    file.check()
    lock.take()
    try:
        saved = file.read()
        ladder = rebuilt_ladder(venue, client_id, ticker, saved)
        known = _known(ladder, saved)
        file.write(replace(known, flattening=not ladder.is_flat))
        is_flat = flatten_by_rest(ladder, venue, say, timeout_s)
        file.write(replace(known, flattening=not is_flat))
        if ladder.dust:
            say(f"{ladder.dust:f} {ticker} are too little for an order: they stay")
        return is_flat
    finally:
        lock.release()


def _known(ladder: Ladder, saved: Saved | None) -> Saved:
    """What the next run has to know: also what somebody else sold of it, which is not closed."""
    now = Session(saved).snapshot(ladder, now_rfc3339(), None)
    return now if saved is None else replace(saved, adopted=now.adopted)


def flatten_by_rest(
    ladder: Ladder, venue: Venue, say: Callable[[str], object], timeout_s: float
) -> bool:
    """`ladder` was restored from its orders. False if it is not flat in time: the market may be
    closed, then the orders wait there for its opening."""
    deadline = time.monotonic() + timeout_s
    ladder.become(Mode.FLATTENING, "by hand")
    while not ladder.is_flat and time.monotonic() < deadline:
        for intent in ladder.decide(time.monotonic(), ROOM):
            _do(intent, ladder, venue, say)
        _look(ladder, venue)
        time.sleep(STEP_S)
    return ladder.is_flat


def _do(intent: Intent, ladder: Ladder, venue: Venue, say: Callable[[str], object]) -> None:
    now = time.monotonic()
    if isinstance(intent, Cancel):
        say(f"cancel {intent.client_order_id}")
        venue.cancel(intent.order_id)
        ladder.look_up(intent.client_order_id)
        return
    if isinstance(intent, Place):
        say(f"{intent.side} {intent.qty:f} {intent.ticker} at the market")
        answer = venue.place(intent)
        if isinstance(answer, Refused):
            say(f"refused: {answer.reason}")
            ladder.see_refused(intent.client_order_id, answer, now)
        elif isinstance(answer, Lost | Accepted):
            ladder.see_unresolved(intent.client_order_id, now)
    else:
        answer = venue.look_up(intent.client_order_id)
        if isinstance(answer, Refused) and answer.status == 404:
            ladder.see_absent(intent.client_order_id, now)
    if isinstance(answer, Found):
        ladder.see_order_data(answer.order_data, now)


def _look(ladder: Ladder, venue: Venue) -> None:
    """What became of the orders that work: nobody else tells us."""
    for order in ladder.book.active():
        if order.order_id is not None:
            _do(LookUp(client_order_id=order.client_order_id), ladder, venue, lambda _: None)
