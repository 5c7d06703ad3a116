"""What a test or the control API makes happen on the market. Runs on the simulator's thread."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .account_script import AccountScript
from .config import SessionPhase
from .messages import CancelError, Correction, Quote, Status, Timestamp, Trade
from .walk import Walk

if TYPE_CHECKING:
    from .server import SimServer


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """One open stream connection."""

    number: int
    endpoint: str
    state: str
    waiting: int
    subscriptions: dict[str, list[str]]


class UnknownTicker(LookupError):
    """Nobody knows this ticker: name it in `SimConfig.tickers`, or allow `any_ticker`."""

    def __init__(self, symbol: str) -> None:
        super().__init__(f"{symbol}: add it to SimConfig.tickers, or set any_ticker=True")
        self.symbol = symbol


class MarketScript:
    """Scripted prices and events."""

    def __init__(self, server: SimServer) -> None:
        self.server = server
        self._sim = server.sim
        self.account = AccountScript(server)

    def trade(
        self,
        symbol: str,
        price: float,
        size: float = 100,
        *,
        conditions: tuple[str, ...] = ("@",),
        exchange: str = "V",
        timestamp_ns: int | None = None,
    ) -> int:
        """A trade happens. Its serial."""
        walk, now_ns = self.walk(symbol), self.server.now_ns()
        at_ns = walk.moment(now_ns) if timestamp_ns is None else timestamp_ns
        if walk.crypto:
            trade = walk.crypto_trade(at_ns, price, size, "B")
        else:
            trade = walk.stock_trade(at_ns, price, size, conditions, exchange)
        if timestamp_ns is None:
            walk.anchor(price)
        return self._sim.publish(trade, now_ns)

    def quote(
        self, symbol: str, bid: float, ask: float, *, bid_size: float = 100, ask_size: float = 100
    ) -> None:
        """The best bid and ask change."""
        walk, now_ns = self.walk(symbol), self.server.now_ns()
        walk.set_quote(bid, ask)
        drawn = walk.quote(walk.moment(now_ns))
        quote = Quote(
            symbol=drawn.symbol,
            bid_exchange=drawn.bid_exchange,
            bid_price=bid,
            bid_size=bid_size,
            ask_exchange=drawn.ask_exchange,
            ask_price=ask,
            ask_size=ask_size,
            conditions=drawn.conditions,
            timestamp=drawn.timestamp,
            tape=drawn.tape,
        )
        self._sim.publish(quote, now_ns)
        self._sim.desk.deliver()

    def burst(self, symbol: str, count: int) -> list[int]:
        """`count` trades of the walk, a nanosecond apart."""
        walk, now_ns = self.walk(symbol), self.server.now_ns()
        serials = []
        for _ in range(count):
            walk.step()
            serials.append(self._sim.publish(walk.trade(walk.moment(now_ns)), now_ns))
        return serials

    def set_rate(self, symbol: str, trades_per_s: float) -> None:
        """How often a ticker trades by itself."""
        walk = self.walk(symbol)
        self._sim.market.set_rate(walk.asset.symbol, trades_per_s, self.server.now_ns())

    def correct(self, symbol: str, serial: int, price: float) -> None:
        """A trade turns out to have had another price."""
        trade, now_ns = self._trade(symbol, serial), self.server.now_ns()
        self._sim.publish(
            Correction(
                symbol=symbol,
                exchange=str(trade.exchange),
                original_id=trade.trade_id,
                original_price=trade.price,
                original_size=trade.size,
                original_conditions=_conditions(trade),
                corrected_id=self.walk(symbol).take_trade_id(),
                corrected_price=price,
                corrected_size=trade.size,
                corrected_conditions=_conditions(trade),
                timestamp=Timestamp(now_ns),
                tape=str(trade.tape),
            ),
            now_ns,
        )

    def cancel(self, symbol: str, serial: int, action: str = "C") -> None:
        """A trade is cancelled (`C`) or was an error (`E`)."""
        trade, now_ns = self._trade(symbol, serial), self.server.now_ns()
        self._sim.publish(
            CancelError(
                symbol=symbol,
                trade_id=trade.trade_id,
                exchange=str(trade.exchange),
                price=trade.price,
                size=trade.size,
                action=action,
                timestamp=Timestamp(now_ns),
                tape=str(trade.tape),
            ),
            now_ns,
        )

    def halt(self, symbol: str) -> None:
        """Trading halts."""
        self._set_halted(symbol, halted=True)
        self._status(symbol, "H", "Trading Halt", "T1", "Halt - News Pending")

    def resume(self, symbol: str) -> None:
        """Trading resumes."""
        self._set_halted(symbol, halted=False)
        self._status(symbol, "T", "Trading Resumption", "", "")

    def replay(self, path: str, *, speed: float = 1.0, shift: bool = True) -> int:
        """Play a recording; how many events it has."""
        return self.server.replay(path, speed=speed, shift=shift)

    def set_session(self, phase: SessionPhase | None) -> None:
        """Open or close the stock market by hand; None goes back to its hours."""
        self._sim.force_phase(phase, self.server.now_ns())

    def connections(self) -> list[StreamInfo]:
        """The open stream connections."""
        data = [
            StreamInfo(
                number=reader.number,
                endpoint=reader.endpoint,
                state=reader.session.state.value,
                waiting=len(reader.outbox),
                subscriptions=_by_channel(reader.session.subscriptions.entries()),
            )
            for reader in self._sim.hub.readers.values()
        ]
        trading = [
            StreamInfo(
                number=reader.number,
                endpoint=reader.endpoint,
                state="authenticated" if reader.session.authenticated else "connected",
                waiting=len(reader.frames),
                subscriptions={},
            )
            for reader in self._sim.desk.readers.values()
        ]
        return data + trading

    def _status(self, symbol: str, code: str, message: str, why: str, reason: str) -> None:
        walk, now_ns = self.walk(symbol), self.server.now_ns()
        self._sim.publish(
            Status(
                symbol=symbol,
                code=code,
                message=message,
                reason_code=why,
                reason=reason,
                timestamp=Timestamp(now_ns),
                tape=walk.asset.tape,
            ),
            now_ns,
        )

    def _set_halted(self, symbol: str, *, halted: bool) -> None:
        walk = self.walk(symbol)
        (self._sim.market.halted.add if halted else self._sim.market.halted.discard)(
            walk.asset.symbol
        )
        self._sim.desk.venue.set_halted(walk.asset.symbol, halted, self.server.now_ns())
        self._sim.desk.deliver()

    def walk(self, symbol: str) -> Walk:
        """The ticker's walk. Raises UnknownTicker."""
        now_ns = self.server.now_ns()
        if not self._sim.activate(symbol, now_ns):
            raise UnknownTicker(symbol)
        walk = self._sim.market.activate(symbol, now_ns)
        assert walk is not None
        return walk

    def _trade(self, symbol: str, serial: int) -> Trade:
        for recorded in self._sim.oracle.trades(symbol):
            if recorded.serial == serial:
                trade = self._sim.history.find_trade(symbol, recorded.trade_id)
                if trade is not None:
                    return trade
        raise LookupError(f"{symbol} has no kept trade with serial {serial}")


def _conditions(trade: Trade) -> tuple[str, ...]:
    return trade.conditions if isinstance(trade.conditions, tuple) else ()


def _by_channel(entries: list[tuple[str, str]]) -> dict[str, list[str]]:
    channels: dict[str, list[str]] = {}
    for channel, symbol in entries:
        channels.setdefault(channel, []).append(symbol)
    return channels
