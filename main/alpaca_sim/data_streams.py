"""Every market-data connection: handshakes, sign-in, slots, subscriptions, faults. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .config import SimConfig
from .data_session import DataSession, Turn
from .encoding import encoding_for
from .errors import stream_error
from .fault_board import FaultBoard, covers
from .feeds import FEED_BY_NAME, Feed, MarketName
from .hub import Hub, Reader
from .limits import RateWindow, Slots

Interest = Callable[[MarketName, str, int], None]


class DataStreams:
    """The server's side of all data connections. `interest` is told of every wanted ticker."""

    def __init__(self, config: SimConfig, hub: Hub, board: FaultBoard, interest: Interest) -> None:
        self.hub = hub
        self.board = board
        self.slots = Slots(config.streams.connection_limit)
        self._config = config
        self._rules = config.streams
        self._interest = interest
        self._handshakes: dict[str, RateWindow] = {}
        self._reader_count = 0
        self._symbol_limit = config.streams.symbol_limit

    def refuses_handshake(self, path: str, endpoint: str, now_ns: int) -> int | None:
        """An HTTP status instead of the upgrade: a fault's, or 429 for one too many; or None."""
        self.board.tick(now_ns)
        fault = self.board.find("refuse_handshake", endpoint)
        if fault is not None:
            return int(fault.value)
        window = self._handshakes.get(path)
        if window is None:
            window = RateWindow(self._rules.handshake_limit, self._rules.handshake_window_s)
            self._handshakes[path] = window
        return None if window.take(now_ns).allowed else 429

    def open_reader(
        self, feed: Feed, headers: Mapping[str, str], wake: Callable[[], None], now_ns: int
    ) -> Reader:
        """A data connection was accepted: its conversation begins."""
        self._reader_count += 1
        session = DataSession(
            feed,
            encoding_for(headers.get("Content-Type")),
            self._config.credentials,
            self._rules,
            lambda: self._admit(reader),
        )
        session.subscriptions.limit = self._symbol_limit
        reader = Reader(self._reader_count, session, self._rules)
        reader.wake = wake
        self.board.tick(now_ns)
        self.hub.attach(reader)
        return reader

    def subscribed(self, reader: Reader, now_ns: int) -> None:
        """A connection's subscriptions have changed: wake the tickers, then route."""
        market = reader.session.feed.market
        for symbol in {symbol for _, symbol in reader.session.subscriptions.entries()}:
            self._interest(market, symbol, now_ns)
        self.hub.resubscribe(reader)

    def hear(self, reader: Reader, frame: bytes | str) -> Turn | None:
        """What the server says to a client's frame; None: the connection dies instead."""
        session, endpoint = reader.session, reader.endpoint
        if self.board.rules and session.authenticated and session.wants_to_subscribe(frame):
            if self.board.find("die_in_subscribe", endpoint):
                return None
            refusal = self.board.find("refuse_subscribe", endpoint)
            if refusal is not None:
                return Turn([stream_error(refusal.value)])
            omission = self.board.find("omit_from_ack", endpoint)
            if omission is not None:
                return session.receive(frame, omit=omission.symbols or frozenset())
        return session.receive(frame)

    def ack_delay_s(self, reader: Reader) -> float:
        """How long an ack takes."""
        fault = self.board.find("ack_delay", reader.endpoint)
        return float(fault.value) if fault else self._rules.ack_delay_s

    def hold_slot(self, endpoint: str, for_ns: int) -> None:
        """A slot is taken by a connection that nobody has."""
        self.slots.hold(self._slot_key(FEED_BY_NAME[endpoint]), self.board.now_ns + for_ns)

    def set_symbol_limit(self, limit: int) -> None:
        """Another symbol limit, for open connections and for new ones."""
        self._symbol_limit = limit
        for reader in self.hub.readers.values():
            reader.session.subscriptions.limit = limit

    def forget_subscriptions(self, endpoint: str) -> None:
        """Forget who wanted what, without a word."""
        for reader in self.hub.readers.values():
            if covers(endpoint, reader.endpoint):
                reader.session.subscriptions.forget()
                self.hub.resubscribe(reader)

    def close_reader(self, reader: Reader, *, clean: bool, now_ns: int) -> None:
        """A data connection has ended. Unclean: its slot stays taken for a while."""
        self.hub.detach(reader)
        self.board.data_line.forget(reader.number)
        if reader.slot is not None:
            zombie_ns = int(self._rules.zombie_slot_s * 1e9)
            self.slots.release(reader.slot, 0 if clean or not zombie_ns else now_ns + zombie_ns)
            reader.slot = None

    def shift(self, by_ns: int) -> None:
        """The clock was stepped: limits and slots last as long as they would have."""
        self.slots.shift(by_ns)
        for window in self._handshakes.values():
            window.shift(by_ns)

    def give_up_slot(self, reader: Reader) -> None:
        """The server has noticed that nobody is there: the slot is free, the wire is not."""
        if reader.slot is not None:
            self.slots.release(reader.slot)
            reader.slot = None

    def _admit(self, reader: Reader) -> int | None:
        fault = self.board.find("refuse_sign_in", reader.endpoint)
        if fault is not None:
            return int(fault.value)
        key = self._slot_key(reader.session.feed)
        if not self.slots.acquire(key, self.board.now_ns):
            return 406
        reader.slot = key
        return None

    def _slot_key(self, feed: Feed) -> str:
        return "user" if self._rules.connection_limit_key == "user" else feed.path
