"""One websocket to Alpaca that outlives the producers, reconnects, and never stops reading.

`Upstream` is the shell around a pure session: a named thread that connects, signs in, is the only
reader, and after a failure comes back with a delay. Only what `_take_directly` accepts does not
wait for it: data goes to its buffer in the thread that receives it, while nothing before it waits.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol, cast

import structlog
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.sync.client import connect

from ..utils.redis.config import backoff_delays
from ..utils.tracebacks import plain_traceback
from ..utils.turns import next_turn_s
from .connection_config import ConnectionConfig, StreamState
from .errors import Remedy, remedy_for_handshake
from .market_session import Broken, Outcome, Phase, Refused, SignedIn, SlotTaken
from .pulse import Beat, Pulse
from .websocket import Message, TappedConnection

log: Final = structlog.get_logger("tickerbus.upstream")

_FAILURES: Final = (OSError, TimeoutError, ConnectionClosed, InvalidHandshake)


class Session(Protocol):
    """The part of a pure session that every stream has."""

    phase: Phase
    outbox: list[bytes]

    def sign_in(self) -> None: ...


class ConversationBroken(Exception):
    """The server answered what cannot be carried on from: reconnect."""


class Refusal(Exception):
    """Asking again cannot help. `code` is the stream's, 0 when the handshake was refused."""

    def __init__(self, reason: str, code: int = 0) -> None:
        self.code = code
        super().__init__(reason)


class Upstream:
    """The shell. Subclasses say what a frame means (`_receive`) and how a session begins."""

    content_type: str | None = None

    def __init__(
        self, config: ConnectionConfig, on_state: Callable[[StreamState], None] | None = None
    ) -> None:
        self.config = config
        self.counters: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()  # of the disconnects, in a word each
        self.last_received_ns = 0
        self._last_received_s = 0.0
        self.state = StreamState(state="DOWN", since_ns=time.time_ns())
        self._on_state = on_state
        # Guards the session and the sending of its outbox. Re-entrant: an outcome may send more.
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._wanted = threading.Event()  # cleared while the slot is left to somebody else
        self._wanted.set()
        self._settled = threading.Condition()
        self._socket: TappedConnection | None = None
        self._thread: threading.Thread | None = None
        self.sessions = 0  # how often a sign-in succeeded
        self._sign_in_due_s = self._sign_in_deadline_s = 0.0
        self._sign_in_delays: Iterator[float] = iter(())
        self._pulse = Pulse(config)
        self._next_look_s = 0.0
        self._renewal: str | None = None

    # -- for any thread

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread = threading.Thread(
            target=self._run, name=f"upstream-{self.config.name}", daemon=True
        )
        self._thread.start()

    def wait_until_settled(self, timeout_s: float) -> StreamState:
        """The state once it is LIVE or REFUSED, or whatever it is after the time."""
        with self._settled:
            self._settled.wait_for(lambda: self.state.state in ("LIVE", "REFUSED"), timeout_s)
            return self.state

    def begin_close(self) -> None:
        """Close the connection for good; does not wait."""
        self._closing.set()
        self._wanted.set()
        self._close_socket()

    def renew(self, reason: str) -> None:
        """Close this connection, and make a new one."""
        self._renewal = reason
        if not self._closing.is_set():
            self._close_socket()

    def let_go(self, reason: str) -> None:
        """Leave the slot at Alpaca to somebody else until `take_again`."""
        if self._wanted.is_set() and not self._closing.is_set():
            self._wanted.clear()
            self.renew(reason)

    def take_again(self) -> None:
        """Connect again, if the slot was let go of; what was followed is resumed."""
        self._wanted.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended within the time."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to close."""
        return self._socket is not None

    @property
    def thread_name(self) -> str:
        return f"upstream-{self.config.name}"

    # -- what a stream is

    def _new_session(self) -> Session:
        raise NotImplementedError

    def _session(self) -> Session:
        raise NotImplementedError

    def _receive(self, message: Message) -> list[Outcome]:
        """Take in a message, under the lock if it is the session's."""
        raise NotImplementedError

    def _take_directly(self, messages: list[Message]) -> bool:
        """Whether all of them were data, and have been taken. Called by the receiving thread."""
        return False

    def _handle(self, outcome: Outcome) -> None:
        """Take in what only this stream knows: acknowledgements."""

    def _signed_in(self) -> None:
        """A session has begun: take up again what was followed."""

    def _refused(self, code: int, reason: str) -> None:
        """The thread ends: nothing will be asked any more."""

    def _overdue(self) -> str | None:
        """Which answer has not come in time, if one has not."""
        return None

    def _close_socket(self) -> None:
        """Properly, so that Alpaca frees the slot; a dead peer ends it after `close_timeout_s`."""
        socket = self._socket
        if socket is not None:
            threading.Thread(
                target=socket.close, name=f"upstream-{self.config.name}-closer", daemon=True
            ).start()

    # -- the thread

    def _run(self) -> None:
        delays = self._retry_delays()
        while not self._closing.is_set():
            cause = "closed"
            try:
                self._set_state("CONNECTING", self.state.reason)
                self._connect_and_read()
                reason = self._renewal or "closed"
            except Refusal as refusal:
                self._set_state("REFUSED", str(refusal))
                self._refused(refusal.code, str(refusal))
                log.error("upstream.refused", stream=self.config.name, reason=str(refusal))
                return
            except (*_FAILURES, ConversationBroken) as error:
                reason = self._renewal or f"{type(error).__name__}: {error}"
                cause = "renewed" if self._renewal else _cause_of(error)
            except Exception as error:  # the supervisor of this thread: a fault of ours
                log.error("upstream.failed", stream=self.config.name, traceback=plain_traceback())
                self.counters["failures"] += 1
                reason, cause = f"a fault of the broker: {error!r}", "fault"
            if self._closing.is_set():
                break
            if self.state.state in ("LIVE", "MUTE"):
                delays = self._retry_delays()
            self.counters["disconnects"] += 1
            self.causes[cause] += 1
            wait_s = next(delays)
            log.warning(
                "upstream.reconnect_scheduled",
                stream=self.config.name,
                reason=reason,
                wait_s=round(wait_s, 2),
            )
            self._set_state("DOWN", reason)
            self._closing.wait(wait_s)
            self._wanted.wait()
        self._set_state("DOWN", "closed")

    def _connect_and_read(self) -> None:
        try:
            socket = self._connect()
        except InvalidStatus as error:
            status = error.response.status_code
            if remedy_for_handshake(status) is Remedy.GIVE_UP:
                raise Refusal(f"HTTP {status} at the handshake") from error
            raise
        except InvalidURI as error:
            raise Refusal(str(error)) from error
        with socket:
            try:
                self._begin(socket)
                while self._wanted.is_set() and not self._closing.is_set():
                    self._read_once(socket)
            finally:
                self._socket = None

    def _connect(self) -> TappedConnection:
        config = self.config
        headers = {"Content-Type": self.content_type} if self.content_type else None
        connection = connect(
            config.url,
            additional_headers=headers,
            open_timeout=config.connect_timeout_s,
            ping_interval=None,  # see `Pulse`
            close_timeout=config.close_timeout_s,
            max_size=config.max_frame_bytes,
            max_queue=None,
            compression=None,
            create_connection=cast(
                type[TappedConnection],
                partial(
                    TappedConnection,
                    shortcut=self._take_directly,
                    max_bytes=config.max_frame_bytes,
                ),
            ),
        )
        return cast(TappedConnection, connection)

    def _begin(self, socket: TappedConnection) -> None:
        with self._lock:
            self._socket = socket
            self._sign_in_delays = backoff_delays(0.5, 3.0)
            self._sign_in_due_s = 0.0
            self._sign_in_deadline_s = time.monotonic() + self.config.sign_in_timeout_s
            self._pulse, self._next_look_s, self._renewal = Pulse(self.config), 0.0, None
            self._new_session()
            self._flush()

    def _read_once(self, socket: TappedConnection) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_look_s:
            self._next_look_s = next_turn_s(self._look_at_deadlines(socket, now_s))
        try:
            message = socket.inbox.first(max(0.0, self._next_look_s - now_s))
        except TimeoutError:
            return
        if message is None:
            socket.recv()  # it tells why the connection has ended
            return
        self._note_receipt()
        for outcome in self._receive(message):
            self._take_outcome(outcome)
        if self._session().outbox:
            with self._lock:
                self._flush()
        socket.inbox.drop_first()

    def _note_receipt(self) -> None:
        self.last_received_ns, self._last_received_s = time.time_ns(), time.monotonic()

    def _take_outcome(self, outcome: Outcome) -> None:
        match outcome:
            case SignedIn():
                self.sessions += 1
                with self._lock:
                    self._signed_in()
                    self._flush()
                self._set_state("LIVE")
                log.info("upstream.live", stream=self.config.name, url=self.config.url)
            case SlotTaken():
                wait_s = next(self._sign_in_delays)
                self._sign_in_due_s = time.monotonic() + wait_s
                self._sign_in_deadline_s = self._sign_in_due_s + self.config.sign_in_timeout_s
                self.counters["slot_taken"] += 1
                self._set_state("CONNECTING", "406 connection limit exceeded")
                log.warning("upstream.slot_taken", stream=self.config.name, wait_s=round(wait_s, 2))
            case Refused(code=code, message=message):
                raise Refusal(f"{code} {message}", code)
            case Broken(code=code, message=message):
                raise ConversationBroken(f"{code} {message}")
            case _:
                self._handle(outcome)

    def _look_at_deadlines(self, socket: TappedConnection, now: float) -> float:
        """From when on to look again. In less than a second: so late at the most is found what
        another thread has begun to wait for."""
        session = self._session()
        if session.phase is not Phase.READY:
            if self._sign_in_due_s and now >= self._sign_in_due_s:
                self._sign_in_due_s = 0.0
                with self._lock:
                    session.sign_in()
                    self._flush()
            elif now > self._sign_in_deadline_s:
                raise ConversationBroken("no answer to the sign-in in time")
            return time.monotonic()
        if overdue := self._overdue():
            raise ConversationBroken(overdue)
        heard_s = self._last_received_s
        self._note_pulse(self._pulse.look(socket, now, heard_s))
        return self._pulse.look_again_s(now, heard_s)

    def _note_pulse(self, beat: Beat) -> None:
        if beat is Beat.MISSED:
            self._set_state("MUTE", "a ping has no answer yet")
        elif beat is Beat.BACK and self.state.state == "MUTE":
            self._set_state("LIVE")
        elif beat is Beat.GONE:
            raise ConversationBroken(f"no answer to a ping for {self.config.pong_timeout_s:.0f} s")

    def _flush(self) -> None:
        """Send what the session has to say. The lock is held, so that requests keep their order."""
        socket, session = self._socket, self._session()
        outbox, session.outbox = session.outbox, []
        if socket is not None:
            for message in outbox:
                socket.send(message)

    def _set_state(self, state: str, reason: str | None = None) -> None:
        with self._settled:
            if state == self.state.state and reason == self.state.reason:
                return
            since_ns = self.state.since_ns if state == self.state.state else time.time_ns()
            self.state = StreamState(state=state, since_ns=since_ns, reason=reason)
            self._settled.notify_all()
        if self._on_state is not None:
            self._on_state(self.state)

    def _retry_delays(self) -> Iterator[float]:
        return backoff_delays(self.config.retry_first_s, self.config.retry_cap_s)


def _cause_of(error: Exception) -> str:
    """A class of causes for the figures; the whole reason is in the log and in the state."""
    for kind, cause in (
        (ConversationBroken, "no_answer"),
        (ConnectionClosed, "closed"),
        (InvalidHandshake, "handshake"),
        (TimeoutError, "timeout"),
    ):
        if isinstance(error, kind):
            return cause
    return "network"
