"""Market data, of stocks or of crypto: what is followed, asked for, and resumed after a loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal, NamedTuple

import structlog

from .codec import decode_control
from .connection import Upstream
from .connection_config import ConnectionConfig, StreamState
from .frame_buffer import Break, FrameBuffer, Silence
from .market_session import (
    Acknowledged,
    Change,
    ChangeRejected,
    MarketSession,
    Outcome,
    Subscriptions,
)
from .pending_change import PendingChange
from .websocket import Message

log: Final = structlog.get_logger("tickerbus.upstream")

UNANSWERED: Final = 0  # the code of what may go through when it is asked again
NO_CODE: Final = -1  # of a refusal for good that came without one


class _Lost(NamedTuple):
    """From when on a ticker's messages are missing, and what was followed of it."""

    since_ns: int
    channels: frozenset[str]


class MarketStream(Upstream):
    """One market-data connection. `buffer` gets every data frame, as it came."""

    content_type = "application/msgpack"

    def __init__(
        self,
        config: ConnectionConfig,
        feed: str,
        buffer: FrameBuffer,
        on_state: Callable[[StreamState], None] | None = None,
        on_lost: Callable[[str, int, str], None] | None = None,
    ) -> None:
        """`on_lost(symbol, code, message)`: Alpaca no longer follows what it once accepted."""
        super().__init__(config, on_state)
        self._feed, self._buffer, self._on_lost = feed, buffer, on_lost
        self._market_session = MarketSession(config.key, config.secret)
        self._followed: dict[str, frozenset[str]] = {}
        self._pending: list[PendingChange] = []
        self._went_down_ns = 0  # when the last data came before the connection was lost
        self._unresumed: set[str] = set()  # followed before, and not acknowledged since
        self._lost: dict[str, _Lost] = {}  # followed once, until Alpaca would not again
        self._asks = False  # whether the session takes changes: it was told first what to resume
        self._ended: tuple[int, str] | None = None  # why nothing will be asked any more
        self._asked_at_s: float | None = None

    def change(
        self,
        action: Literal["subscribe", "unsubscribe"],
        subscriptions: Subscriptions,
        on_settled: Callable[[], None] | None = None,
        on_acknowledged: Callable[[list[str]], None] | None = None,
    ) -> PendingChange:
        """Ask for a change; it is asked again after a reconnect until it has its answer."""
        pending = PendingChange(
            action,
            dict(subscriptions),
            on_settled=on_settled,
            on_acknowledged=on_acknowledged,
        )
        with self._lock:
            if self._ended is not None:
                pending.settle(rejected=dict.fromkeys(subscriptions, self._ended))
                return pending
            self._pending.append(pending)
            if self._asks:
                self._ask(pending)
            try:
                self._flush()
            except Exception as error:  # the reader finds the same, and reconnects
                log.info("upstream.send_failed", stream=self.config.name, error=repr(error))
        return pending

    def resubscribe(self, symbol: str, silent_since_ns: int) -> None:
        """Leave and follow one symbol again: it is mute while others flow."""
        channels = self.followed.get(symbol)
        if channels is None:
            return

        def note_the_silence() -> None:
            pause = Break(symbols=(symbol,), from_ns=silent_since_ns, to_ns=time.time_ns())
            self._buffer.put_note(pause)

        def settled() -> None:
            if not again.rejected:
                note_the_silence()
                return
            with self._lock:
                self._note_loss(symbol, silent_since_ns, channels)
            self._tell_lost(symbol, *again.rejected[symbol])

        self.change("unsubscribe", {symbol: channels})
        with self._lock:  # the reader finds `again` made
            again = self.change("subscribe", {symbol: channels}, settled)

    def forget_losses(self, wanted: Collection[str]) -> None:
        """Of tickers that nobody wants any more: who follows one again begins anew."""
        with self._lock:
            for symbol in self._lost.keys() - wanted:
                del self._lost[symbol]

    def forget(self, pending: PendingChange) -> None:
        """Nobody waits for this change any more: a subscribe is not asked again, and undone if it
        is acknowledged after all; an unsubscribe is asked until it has its answer.
        """
        with self._lock:
            pending.forgotten = True
            if pending in self._pending and (pending.action == "subscribe" or not pending.open):
                self._pending.remove(pending)

    def begin_close(self) -> None:
        super().begin_close()
        self._end_changes(UNANSWERED, "the broker is stopping")

    @property
    def followed(self) -> dict[str, frozenset[str]]:
        """What Alpaca has acknowledged, by symbol."""
        with self._lock:
            return dict(self._followed)

    @property
    def lost(self) -> frozenset[str]:
        """What Alpaca acknowledged once, and let go of since: it is asked for again. Never waits:
        the stream's lock may be held by who sends."""
        return frozenset(dict(self._lost))

    def _session(self) -> MarketSession:
        return self._market_session

    def _new_session(self) -> MarketSession:
        self._market_session = MarketSession(self.config.key, self.config.secret)
        self._asks = False
        return self._market_session

    def _take_directly(self, messages: list[Message]) -> bool:
        if any(map(decode_control, messages)):
            return False
        self._note_receipt()
        self._buffer.put(self._feed, *messages)
        return True

    def _receive(self, message: Message) -> list[Outcome]:
        control = decode_control(message)
        if control is None:
            self._buffer.put(self._feed, message)
            return []
        with self._lock:
            outcomes = self._market_session.receive(control)
            # One request is in flight at a time, so an answer restarts the clock for the next.
            self._asked_at_s = None if self._market_session.settled else time.monotonic()
            return outcomes

    def _signed_in(self) -> None:
        # What was acknowledged before goes first: those who are followed keep their place.
        self._market_session.request("subscribe", dict(self._followed), tag=None)
        self._unresumed = set(self._followed)
        self._asks = True
        for pending in self._pending:
            self._ask(pending)
        self._asked_at_s = None if self._market_session.settled else time.monotonic()

    def _set_state(self, state: str, reason: str | None = None) -> None:
        lost = state == "DOWN" and self.state.state in ("LIVE", "MUTE")
        # Lost again before all was resumed: what is missing began with the first loss.
        if lost and not self._unresumed:
            self._went_down_ns = self.last_received_ns
        super()._set_state(state, reason)

    def _ask(self, pending: PendingChange) -> None:
        self._market_session.request(pending.action, pending.open, tag=pending)
        if self._asked_at_s is None and not self._market_session.settled:
            self._asked_at_s = time.monotonic()

    def _overdue(self) -> str | None:
        asked = self._asked_at_s
        if asked is not None and time.monotonic() - asked > self.config.ack_timeout_s:
            return "no acknowledgement of a subscription in time"
        return None

    def _handle(self, outcome: Outcome) -> None:
        match outcome:
            case Acknowledged(change=change, missing=missing):
                got = [symbol for symbol in change.symbols if symbol not in missing]
                self._acknowledge(change, got)
                if missing:
                    why = "missing from the acknowledgement"
                    self._reject(change, missing, UNANSWERED, why)
            case ChangeRejected(change=change, code=code, message=message):
                self._reject(change, change.symbols, code, message)

    def _acknowledge(self, change: Change, symbols: list[str]) -> None:
        late: dict[str, frozenset[str]] = {}
        with self._lock:
            for symbol in symbols:
                had = self._followed.get(symbol, frozenset())
                late[symbol] = change.channels - had
                has = (
                    had | change.channels if change.action == "subscribe" else had - change.channels
                )
                if has:
                    self._followed[symbol] = has
                else:
                    self._followed.pop(symbol, None)
        if isinstance(change.tag, PendingChange):
            self._conclude(change.tag, symbols, late)
        else:
            self._unresumed.difference_update(symbols)
            self._buffer.put_note(
                Break(symbols=tuple(symbols), from_ns=self._went_down_ns, to_ns=time.time_ns())
            )

    def _conclude(
        self, pending: PendingChange, symbols: list[str], late: Mapping[str, frozenset[str]]
    ) -> None:
        # Under the lock that `forget` takes: whoever gives up either sees the answer, or is seen.
        with self._lock:
            unwanted = pending.forgotten and pending.action == "subscribe"
            if unwanted:
                too_late = (UNANSWERED, "acknowledged too late")
                self._settle(pending, rejected=dict.fromkeys(symbols, too_late))
            else:
                if pending.action == "subscribe":
                    self._tell_what_is_missing(symbols)
                if pending.on_acknowledged is not None:
                    pending.on_acknowledged(symbols)
                self._settle(pending, done=symbols)
        if unwanted:
            self._undo(late)

    def _tell_what_is_missing(self, symbols: Iterable[str]) -> None:
        """Only of those that stay, and whole: what is undone at once, or lacks a channel that it
        had, is still lost."""
        for symbol in symbols:
            lost = self._lost.get(symbol)
            if lost is not None and lost.channels <= self._followed.get(symbol, frozenset()):
                del self._lost[symbol]
                now_ns, since_ns = time.time_ns(), lost.since_ns
                self._buffer.put_note(
                    Break(symbols=(symbol,), from_ns=since_ns, to_ns=now_ns, ends_silence=True)
                )

    def _reject(self, change: Change, symbols: Iterable[str], code: int, message: str) -> None:
        if isinstance(change.tag, PendingChange):
            self._settle(change.tag, rejected=dict.fromkeys(symbols, (code, message)))
            return
        self._unresumed.difference_update(symbols)
        for symbol in symbols:
            with self._lock:
                had = self._followed.pop(symbol, frozenset())
                self._note_loss(symbol, self._went_down_ns, had | change.channels)
            self._tell_lost(symbol, code, message)

    def _note_loss(self, symbol: str, since_ns: int, channels: frozenset[str]) -> None:
        """Should anything come of it before it is followed again, it breaks a silence."""
        before = self._lost.get(symbol, _Lost(since_ns, frozenset()))
        self._lost[symbol] = before._replace(channels=before.channels | channels)
        self._buffer.put_note(Silence(symbols=(symbol,), from_ns=before.since_ns))

    def _tell_lost(self, symbol: str, code: int, message: str) -> None:
        log.error("upstream.ticker_lost", ticker=symbol, code=code, reason=message)
        if self._on_lost is not None:
            self._on_lost(symbol, code, message)

    def _undo(self, late: Mapping[str, frozenset[str]]) -> None:
        """Leave again what was acknowledged when nobody waited for it any more: it would hold a
        place in the plan for nobody."""
        with self._lock:
            asked = [p.open for p in self._pending if p.action == "subscribe"]
            unwanted = {
                symbol: channels.difference(*(other.get(symbol, ()) for other in asked))
                for symbol, channels in late.items()
            }
        self.change("unsubscribe", {symbol: left for symbol, left in unwanted.items() if left})

    def _refused(self, code: int, reason: str) -> None:
        self._end_changes(code or NO_CODE, reason)

    def _end_changes(self, code: int, reason: str) -> None:
        """Answer everybody who waits, and who will ask."""
        with self._lock:
            self._ended = (code, reason)
            pending, self._pending = self._pending, []
        for change in pending:
            change.settle(rejected=dict.fromkeys(change.open, self._ended))

    def _settle(
        self,
        pending: PendingChange,
        done: Iterable[str] = (),
        rejected: Mapping[str, tuple[int, str]] | None = None,
    ) -> None:
        pending.settle(done, rejected)
        if not pending.open:
            self.forget(pending)
            if pending.on_settled is not None:
                pending.on_settled()
