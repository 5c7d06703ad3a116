"""Faults on demand: everything of which Alpaca's streams are known to be capable (U1 to U22).

Every method may be called from any thread and is in force when it returns. `endpoint` is a feed
(`iex`, `sip`, `delayed_sip`, `test`, `crypto`), `trading`, `data` for every feed, or `all`.
A fault ends after `count` uses, after `for_s` seconds, or with `heal()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .errors import STREAM_ERRORS
from .fault_board import Kind, Lag, Rule, covers
from .frames import malformed_frame
from .sockets import DataSocket, TradingSocket

if TYPE_CHECKING:
    from .server import SimServer

Symbols = Sequence[str] | None


class Faults:
    """The upstream faults, one method each. `run` brings a call to the simulator's thread."""

    def __init__(self, server: SimServer, run: Callable[[Callable[[], None]], None]) -> None:
        self._server = server
        self._board = server.sim.board
        self._run = run

    # The connection

    def cut(self, endpoint: str = "all", *, how: str = "reset", code: int = 1011) -> None:
        """End the open connections: by TCP `reset` (U1), or a `close` with its code.

        A reset connection keeps its slot for `zombie_slot_s`, as an unclean drop does.
        """
        if how not in ("reset", "close"):
            raise ValueError(f"how must be reset or close, not {how!r}")
        self._run(lambda: self._cut(endpoint, how, code))

    def freeze(self, endpoint: str = "all", *, for_s: float | None = None) -> None:
        """Half-open (U2): packets vanish both ways, pings are not answered, nothing is closed."""
        self._run(lambda: self._freeze(endpoint, for_s))

    def refuse_handshake(
        self,
        endpoint: str = "all",
        *,
        status: int = 429,
        count: int | None = None,
        for_s: float | None = None,
    ) -> None:
        """Answer the upgrade with an HTTP error (U10)."""
        self._add("refuse_handshake", endpoint, count=count, for_s=for_s, value=status)

    def refuse_connections(self, *, for_s: float) -> None:
        """Close the door: nobody listens on the port for a while (U14). Open ones live on."""
        self._run(lambda: self._server.leave_the_port(for_s))

    # Sign-in and subscriptions

    def hold_slot(self, endpoint: str = "iex", *, for_s: float = 90.0) -> None:
        """The only slot is taken by a connection not yet reaped: 406 at sign-in (U6)."""
        self._run(lambda: self._server.sim.streams.hold_slot(endpoint, int(for_s * 1e9)))

    def refuse_sign_in(
        self,
        endpoint: str = "data",
        *,
        code: int = 402,
        count: int | None = None,
        for_s: float | None = None,
    ) -> None:
        """Refuse right keys (U7): 401, 402, 406, 409, 411, 500."""
        _check_code(code)
        self._add("refuse_sign_in", endpoint, count=count, for_s=for_s, value=code)

    def refuse_subscribe(
        self,
        endpoint: str = "data",
        *,
        code: int = 405,
        count: int | None = None,
        for_s: float | None = None,
    ) -> None:
        """Answer a subscribe with an error and leave everything as it was (U8)."""
        _check_code(code)
        self._add("refuse_subscribe", endpoint, count=count, for_s=for_s, value=code)

    def set_symbol_limit(self, limit: int) -> None:
        """The plan's limit from now on, for new and open connections (U8). 0 is none."""
        self._run(lambda: self._server.sim.streams.set_symbol_limit(limit))

    def omit_from_ack(
        self, symbols: Sequence[str], endpoint: str = "data", *, count: int | None = 1
    ) -> None:
        """Silently leave tickers out of the next subscriptions, and so out of the ack (U13)."""
        self._add("omit_from_ack", endpoint, symbols=symbols, count=count)

    def delay_acks(
        self, seconds: float, endpoint: str = "data", *, for_s: float | None = None
    ) -> None:
        """Acks take this long."""
        self._add("ack_delay", endpoint, for_s=for_s, value=seconds)

    def die_in_subscribe(self, endpoint: str = "data", *, count: int = 1) -> None:
        """The connection is reset when it subscribes, before the ack (U19)."""
        self._add("die_in_subscribe", endpoint, count=count)

    def forget_subscriptions(self, endpoint: str = "data") -> None:
        """The server forgets who wanted what, and says nothing."""
        self._run(lambda: self._server.sim.streams.forget_subscriptions(endpoint))

    # Messages

    def mute(
        self, endpoint: str = "all", *, symbols: Symbols = None, for_s: float | None = None
    ) -> None:
        """No more messages (U3), or none of some tickers (U4); pings are still answered."""
        self._add("mute", endpoint, symbols=symbols, for_s=for_s)

    def drop(
        self,
        endpoint: str = "all",
        *,
        count: int = 1,
        symbols: Symbols = None,
        event: str | None = None,
    ) -> None:
        """Lose the next messages; on `trading`, of one event name if given (U17)."""
        self._add("drop", endpoint, symbols=symbols, count=count, value=event)

    def duplicate(
        self,
        endpoint: str = "all",
        *,
        count: int = 1,
        symbols: Symbols = None,
        event: str | None = None,
    ) -> None:
        """Send the next messages twice (U12)."""
        self._add("duplicate", endpoint, symbols=symbols, count=count, value=event)

    def reorder(self, endpoint: str = "all", *, count: int = 1, symbols: Symbols = None) -> None:
        """Swap the next messages with their followers, ticker by ticker (U12)."""
        self._add("reorder", endpoint, symbols=symbols, count=count)

    def delay(
        self,
        endpoint: str = "all",
        *,
        seconds: float = 0.0,
        growth: float = 0.0,
        heap_s: float = 0.0,
        symbols: Symbols = None,
        for_s: float | None = None,
    ) -> None:
        """Lag (U5): fixed, growing by `growth` seconds a second, in heaps every `heap_s`."""
        lag = Lag(seconds=seconds, growth=growth, heap_s=heap_s)
        self._add("delay", endpoint, symbols=symbols, for_s=for_s, value=lag)

    def drip(
        self, endpoint: str = "all", *, messages_per_s: float, for_s: float | None = None
    ) -> None:
        """A slow drip: never more than so many messages a second."""
        self._add("delay", endpoint, for_s=for_s, value=Lag(per_s=messages_per_s))

    def slow_client(self, endpoint: str = "data") -> None:
        """407, then the connection is closed (U9)."""
        self._run(lambda: self._refuse_slow(endpoint))

    def malformed(self, endpoint: str = "data", *, what: str = "garbage") -> None:
        """Send a bad frame (U11).

        `what`: garbage, unknown_type, null, nan, huge (5 MB), empty, not_an_array.
        """
        self._run(lambda: self._inject(endpoint, what))

    # REST

    def rest_error(
        self,
        path: str = "/",
        *,
        status: int = 429,
        count: int | None = None,
        for_s: float | None = None,
    ) -> None:
        """Answer calls whose path begins so with an HTTP error."""
        self._add("rest_error", path, count=count, for_s=for_s, value=status)

    # Time, and everything

    def step_clock(self, seconds: float) -> None:
        """The server's clock jumps (U15)."""
        self._run(lambda: self._server.step_clock(seconds))

    def orders_down(self, *, for_s: float) -> None:
        """The order stream is cut and refuses to come back, while orders fill (U16)."""
        self.refuse_handshake("trading", status=503, for_s=for_s)
        self.cut("trading")

    def heal(self) -> None:
        """End every fault, thaw every wire, free every slot, let go of what was held back."""
        self._run(self._heal)

    def active(self) -> list[dict[str, object]]:
        """The rules in force."""
        return [
            {
                "fault": rule.kind,
                "endpoint": rule.endpoint,
                "symbols": sorted(rule.symbols) if rule.symbols is not None else None,
                "remaining": rule.remaining,
                "until_ns": rule.until_ns,
            }
            for rule in list(self._board.rules)
        ]

    def _add(
        self,
        kind: Kind,
        endpoint: str,
        *,
        symbols: Symbols = None,
        count: int | None = None,
        for_s: float | None = None,
        value: object = None,
    ) -> None:
        rule = Rule(
            kind,
            endpoint,
            frozenset(symbols) if symbols is not None else None,
            remaining=count,
            value=value,
        )

        def put() -> None:
            self._board.now_ns = self._server.now_ns()
            if for_s is not None:
                rule.until_ns = self._board.now_ns + int(for_s * 1e9)
            self._board.add(rule)

        self._run(put)

    def _sockets(self, endpoint: str) -> list[DataSocket | TradingSocket]:
        every: list[DataSocket | TradingSocket] = [*self._server.data_sockets.values()]
        every += self._server.trading_sockets.values()
        return [each for each in every if covers(endpoint, each.reader.endpoint)]

    def _cut(self, endpoint: str, how: str, code: int) -> None:
        for each in self._sockets(endpoint):
            if how == "reset":
                each.wire.reset()
            else:
                self._server.later(each.wire.close(code))

    def _freeze(self, endpoint: str, for_s: float | None) -> None:
        for each in self._sockets(endpoint):
            each.wire.freeze()
            if isinstance(each, DataSocket):
                # The server notices, too, and reaps the slot: about 90 s later.
                self._server.later(self._reap(each))
            if for_s is not None:
                asyncio.get_running_loop().call_later(for_s, each.wire.thaw)

    async def _reap(self, socket: DataSocket) -> None:
        await asyncio.sleep(self._server.config.streams.zombie_slot_s)
        if socket.wire.frozen:
            self._server.sim.streams.give_up_slot(socket.reader)

    def _refuse_slow(self, endpoint: str) -> None:
        for each in self._sockets(endpoint):
            if isinstance(each, DataSocket):
                self._server.later(each.refuse_slow_reader())

    def _inject(self, endpoint: str, what: str) -> None:
        for each in self._sockets(endpoint):
            frame, binary = malformed_frame(what, each)
            self._server.later(each.wire.send(frame, binary=binary))

    def _heal(self) -> None:
        self._board.heal()
        self._server.sim.streams.slots.reap()
        for each in self._sockets("all"):
            each.wire.thaw()


def _check_code(code: int) -> None:
    if code not in STREAM_ERRORS:
        raise ValueError(f"{code} is none of Alpaca's codes: {sorted(STREAM_ERRORS)}")
