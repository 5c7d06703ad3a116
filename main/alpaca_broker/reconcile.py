"""Orders that cannot be missed: what REST knows of them is compared with what was published.

A named thread asks after every (re)connection of the order stream, shortly after that again, and
every 30 s; the order producer makes the comparison, so that it never races the stream's own events.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import redis
import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.messages import OrderMessage, decode_typed, rfc3339
from ..utils.redis.order_memory import OrderEntry
from ..utils.tracebacks import plain_traceback
from .bookmark import Bookmark, Reconciled
from .order_buffer import OrderBuffer, Reconciliation
from .order_ledger import OrderLedger
from .rest import RestRefused, RestUnavailable, TradingRest

log: Final = structlog.get_logger("tickerbus.reconcile")

PERIOD_S: Final = 30.0
SECOND_LOOK_S: Final = 3.0  # after a reconnect: what was under way at the first look
OVERLAP_S: Final = 60.0  # an execution may be listed a while after its order says "filled"
IN_FLIGHT_S: Final = 2.0  # the stream may be about to tell what is younger
_RETRY_S: Final = 1.0
_MAX_SINGLE_ORDERS: Final = 40  # look-ups in one turn: the account's 200 calls a minute are shared
_PAGE: Final = 500


class Reconciler:
    """Asks REST. `live` is called when the order stream is (again) up; everything else happens in
    its own thread."""

    name = "reconciler"

    def __init__(
        self,
        rest: TradingRest,
        buffer: OrderBuffer,
        open_orders: Callable[[], set[str]],
        bookmark: Bookmark,
        chores: Sequence[Callable[[], None]] = (),
        alpaca_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`chores` are called at each turn, in this thread: what else may wait for an answer.
        `alpaca_ns` is the time by Alpaca's clock: its orders are stamped with that, not with ours.
        """
        self._alpaca_ns = alpaca_ns
        self.counters: Counter[str] = Counter()
        self._rest, self._buffer, self._open_orders = rest, buffer, open_orders
        self._bookmark, self._chores = bookmark, chores
        self._reconciled = Reconciled()
        self._looked_up: set[str] = set()  # in the turns of one incomplete comparison
        self._live: tuple[int, int] | None = None  # (connection, since when)
        self._wake = threading.Condition()
        self._asked_again = self._retry = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """From where the last broker left off. Raises redis.RedisError."""
        self._reconciled = self._bookmark.load()
        self._thread.start()

    def live(self, connection: int) -> None:
        """The order stream is up: what it missed is to be found before entries are safe."""
        with self._wake:
            self._live = (connection, self._alpaca_ns())
            self._asked_again = True
            self._wake.notify()

    def done(self, reconciliation: Reconciliation) -> None:
        """Everything of it is published: the next one begins from there."""
        if not reconciliation.complete:
            return  # the next turn goes on from the same moment
        self._reconciled = self._reconciled._replace(until_ns=reconciliation.asked_ns)
        self.save()

    def save(self) -> None:
        """Keep up to where all is published; again, if Redis was emptied. Any thread."""
        self._bookmark.save(self._reconciled)

    def begin_stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def join(self, timeout_s: float) -> bool:
        """Whether it ended within the time."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        wait_s = PERIOD_S
        while self._sleep(wait_s):
            self._do_chores()
            with self._wake:
                fresh, self._asked_again = self._asked_again, False
                live = self._live
            if live is None:
                continue
            try:
                found = self._ask(*live)
                self._buffer.put(found)
                wait_s = SECOND_LOOK_S if fresh else PERIOD_S
                if not found.complete:
                    wait_s, self._retry = _RETRY_S, True
            except (RestUnavailable, RestRefused, ValueError, KeyError) as error:
                self.counters["reconciliations_failed"] += 1
                log.warning("reconcile.failed", error=str(error))
                # Soon again while entries wait for it, else in the usual time.
                wait_s = _RETRY_S if fresh else PERIOD_S
                self._retry = fresh
            except Exception:  # the supervisor: without this thread no entry is safe again
                self.counters["reconciliations_failed"] += 1
                log.error("reconcile.failed", traceback=plain_traceback())
                wait_s, self._retry = (SECOND_LOOK_S if fresh else PERIOD_S), fresh

    def _do_chores(self) -> None:
        for chore in self._chores:
            try:
                chore()
            except Exception:  # the supervisor: a chore is not worth the thread
                log.error("reconcile.chore_failed", traceback=plain_traceback())

    def _sleep(self, wait_s: float) -> bool:
        """Wait for the next turn; False when it is time to end."""
        with self._wake:
            if not self._asked_again and not self._stopping:
                self._wake.wait(wait_s)
            self._asked_again, self._retry = self._asked_again or self._retry, False
            return not self._stopping

    def _ask(self, connection: int, live_since_ns: int) -> Reconciliation:
        asked_ns = self._alpaca_ns()
        if not self._reconciled.until_ns:
            # The very first broker, or Redis was emptied and nobody knows: what happened since the
            # last one ended must not be missed, and what it told as well is told twice.
            begin_ns = asked_ns - int(OVERLAP_S * 1e9)
            self._reconciled = Reconciled(begin_ns, begin_ns)
            log.info("reconcile.begins", since=rfc3339(begin_ns))
        until_ns, floor_ns = self._reconciled
        after = rfc3339(max(floor_ns, until_ns - int(OVERLAP_S * 1e9)))
        fills: dict[str, list[dict[str, Any]]] = {}
        for fill in self._rest.fills(after):
            fills.setdefault(str(fill["order_id"]), []).append(fill)
        orders = {str(order["id"]): order for order in self._rest.orders(after)}
        orders |= self._still_open(set(orders))
        # Executions first; then those that were open, and are not any more: they ended meanwhile.
        singles = sorted(set(fills) - set(orders)) + sorted(
            self._open_orders() - set(orders) - set(fills) - self._looked_up
        )
        for order_id in singles[:_MAX_SINGLE_ORDERS]:
            if (order := self._rest.order(order_id)) is not None:
                orders[order_id] = order
            self._looked_up.add(order_id)
        complete = len(singles) <= _MAX_SINGLE_ORDERS
        if complete:
            self._looked_up.clear()
        self.counters["reconciliations"] += 1
        # The stream tells nothing of what came before it was up, and may still be about to tell
        # what is younger than a moment.
        return Reconciliation(
            orders=list(orders.values()),
            fills=fills,
            settled_before_ns=max(live_since_ns, asked_ns - int(IN_FLIGHT_S * 1e9)),
            connection=connection,
            asked_ns=asked_ns,
            complete=complete,
        )

    def _still_open(self, known: set[str]) -> dict[str, dict[str, Any]]:
        """Those of the published open orders that are older than the list, and open still."""
        older = self._open_orders() - known
        if not older:
            return {}
        listed = self._rest.orders(None, status="open")
        return {str(order["id"]): order for order in listed if str(order["id"]) in older}


def load_ledger(
    client: redis.Redis, names: BusNames, ledger: OrderLedger, known: Iterable[OrderEntry] = ()
) -> list[OrderEntry]:
    """Note all that the order journals hold, and what is `known` besides; returns all of it, the
    oldest first."""
    entries = {(journal, entry_id): body for journal, entry_id, body in known}
    for key in client.scan_iter(match=names.ORDER_LOG + "*", count=1_000, _type="stream"):
        start = "-"
        while True:
            page: Any = client.xrange(key, min=start, count=_PAGE)
            entries |= {(key, entry_id): fields.get(b"m", b"") for entry_id, fields in page}
            if len(page) < _PAGE:
                break
            start = "(" + page[-1][0].decode()
    found = []
    for (journal, entry_id), body in entries.items():
        message = decode_typed(body)
        if isinstance(message, OrderMessage):
            note_published(ledger, message)
            found.append((message.timestamp, (journal, entry_id, body)))
    return [entry for _, entry in sorted(found)]


def note_published(ledger: OrderLedger, message: OrderMessage) -> None:
    """Note one published message."""
    update = {"event": message.event, "order": message.order_data, **message.update}
    ledger.note(update, recovered=message.source == "reconcile")
