"""Pure: are the tickers and their stream alive, and if not, what to do about it?

A silence means something only against what is usual for that ticker. The judge counts what the
stream brought (neither what REST did, nor orders), keeps each ticker's rate (messages a second,
slowly forgotten) and asks how many messages the silence has swallowed: `rate x silence`. Were
trades to come at random at that rate, a silence that swallowed 20 would have a chance of e^-20;
they come in bursts, so the bounds are set well above. A market that is closed, or a ticker that is
halted, may be silent. A market that grows quiet lowers its own rate.

What follows is graded: a mute ticker is first subscribed again alone; only when the whole stream
has swallowed far more than chance explains is the connection renewed, and each renewal doubles the
time until the next, so that a quiet market cannot cause one after another.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

RATE_MEMORY_S: Final = 60.0
MUTE_SWALLOWED: Final = 40.0
STREAM_MUTE_SWALLOWED: Final = 60.0
LEAST_SILENCE_S: Final = 1.0
QUIET_AFTER_S: Final = 30.0
LAG_BOUND_MS: Final = 5_000.0
RESUBSCRIBE_EVERY_S: Final = 30.0
RENEW_FIRST_S: Final = 30.0
RENEW_CAP_S: Final = 1_800.0
# Until a ticker was watched for so long, its rate says little.
LEAST_WATCH_S: Final = 5.0
SLEPT_S: Final = 1.0  # between two looks, which are four a second


@dataclass
class _Watched:
    """One ticker's pulse. Time in which nobody could have heard it does not count at all."""

    arrived: int
    counted_s: float  # up to when its messages are in the rate
    moved_s: float
    heard_until_s: float  # its silence began after this
    looked_s: float
    seen_s: float = 0.0  # how long it was watched
    rate: float = 0.0  # as it was when the last message came
    is_noted: bool = False  # that it is mute
    resubscribed_s: float = -math.inf

    def look(self, arrived: int, now_s: float) -> None:
        """Take in how many messages it has had until now."""
        new = max(0, arrived - self.arrived)
        if new:
            elapsed = max(1e-3, now_s - self.counted_s)
            keep = math.exp(-elapsed / RATE_MEMORY_S)
            self.rate = keep * self.rate + (1 - keep) * new / elapsed
            self.seen_s += elapsed
            self.excuse(now_s, self.looked_s)
        self.arrived, self.looked_s = arrived, now_s

    def excuse(self, now_s: float, heard_until_s: float) -> None:
        """It is not silent, or that is explained."""
        self.counted_s = self.moved_s = now_s
        self.heard_until_s, self.is_noted = heard_until_s, False

    def usual_rate(self, now_s: float) -> float:
        """Messages a second; what a young average has not seen yet is not counted as silence."""
        if self.seen_s < LEAST_WATCH_S:
            return 0.0
        full = self.rate / (1 - math.exp(-self.seen_s / RATE_MEMORY_S))
        return full * math.exp(-(now_s - self.moved_s) / RATE_MEMORY_S)

    def swallowed(self, now_s: float) -> float:
        """How many messages the present silence has swallowed, by its usual rate."""
        return self.usual_rate(now_s) * (now_s - self.moved_s)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the judge found, and what to do."""

    stream: str
    tickers: Mapping[str, str]
    silent_since_s: Mapping[str, float] = field(default_factory=dict)  # found mute just now
    resubscribe: tuple[str, ...] = ()
    renew: bool = False


class StreamJudge:
    """Judges one stream's tickers, a few times a second."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._judged_s = math.inf
        self._renewed_s = -math.inf
        self._renew_wait_s = RENEW_FIRST_S

    def judge(
        self,
        *,
        now_s: float,
        connection: str,
        arrived: Mapping[str, int],
        market_open: bool,
        halted: Collection[str] = (),
        lag_ms: float | None = None,
    ) -> Verdict:
        """`arrived`: how many messages of every followed ticker the stream has brought;
        `connection`: its own state."""
        self._watch(arrived, now_s)
        if now_s - self._judged_s > SLEPT_S:
            self.excuse(now_s)  # we slept, or the whole machine did: it was not the tickers
        self._judged_s = now_s
        if connection != "LIVE":
            # Silence while the connection is away is explained, and must not look like muteness
            # in the moment that it is back.
            self.excuse(now_s)
            return Verdict(stream=connection, tickers=dict.fromkeys(arrived, connection))
        lagging = lag_ms is not None and lag_ms > LAG_BOUND_MS
        states = {
            ticker: self._state(watched, now_s, market_open and ticker not in halted, lagging)
            for ticker, watched in self._watched.items()
        }
        if self._stream_is_mute(now_s, market_open, halted):
            return Verdict(
                stream="MUTE",
                tickers=states,
                silent_since_s=self._note_mute(self._watched),
                renew=self._may_renew(now_s),
            )
        return Verdict(
            stream=self._stream_state(states, lagging),
            tickers=states,
            silent_since_s=self._note_mute(t for t, state in states.items() if state == "MUTE"),
            resubscribe=self._to_resubscribe(states, now_s),
        )

    def excuse(self, now_s: float, tickers: Iterable[str] | None = None) -> None:
        """Nobody can say now who is silent: what came before does not count against any of
        `tickers`, or against anybody."""
        for ticker in self._watched if tickers is None else self._watched.keys() & set(tickers):
            self._watched[ticker].excuse(now_s, now_s)

    def _watch(self, arrived: Mapping[str, int], now_s: float) -> None:
        for ticker in self._watched.keys() - arrived.keys():
            del self._watched[ticker]
        for ticker, count in arrived.items():
            watched = self._watched.get(ticker)
            if watched is None:
                self._watched[ticker] = _Watched(
                    arrived=count,
                    counted_s=now_s,
                    moved_s=now_s,
                    heard_until_s=now_s,
                    looked_s=now_s,
                )
            else:
                watched.look(count, now_s)

    def _note_mute(self, tickers: Iterable[str]) -> dict[str, float]:
        """Those that were not known to be mute, and since when at the earliest they are."""
        found = {}
        for ticker in tickers:
            watched = self._watched[ticker]
            if not watched.is_noted:
                watched.is_noted = True
                found[ticker] = watched.heard_until_s
        return found

    def _state(self, watched: _Watched, now_s: float, may_trade: bool, lagging: bool) -> str:
        silence_s = now_s - watched.moved_s
        if may_trade and silence_s > LEAST_SILENCE_S and watched.swallowed(now_s) > MUTE_SWALLOWED:
            return "MUTE"
        if watched.arrived == 0 or silence_s > QUIET_AFTER_S:
            return "QUIET"
        return "LAGGING" if lagging else "LIVE"

    def _stream_state(self, states: Mapping[str, str], lagging: bool) -> str:
        if lagging:
            return "LAGGING"
        return "QUIET" if states and set(states.values()) == {"QUIET"} else "LIVE"

    def _stream_is_mute(self, now_s: float, market_open: bool, halted: Collection[str]) -> bool:
        if not market_open:
            return False
        tickers = [w for ticker, w in self._watched.items() if ticker not in halted]
        if not tickers:
            return False
        silence_s = now_s - max(watched.moved_s for watched in tickers)
        rate = sum(watched.usual_rate(now_s) for watched in tickers)
        return silence_s > LEAST_SILENCE_S and rate * silence_s > STREAM_MUTE_SWALLOWED

    def _to_resubscribe(self, states: Mapping[str, str], now_s: float) -> tuple[str, ...]:
        due = []
        for ticker, state in states.items():
            watched = self._watched[ticker]
            if state == "MUTE" and now_s - watched.resubscribed_s >= RESUBSCRIBE_EVERY_S:
                watched.resubscribed_s = now_s
                due.append(ticker)
        return tuple(due)

    def _may_renew(self, now_s: float) -> bool:
        since_s = now_s - self._renewed_s
        if since_s < self._renew_wait_s:
            return False
        # A long good time since the last renewal makes the next one cheap again.
        grown = self._renew_wait_s * 2 if since_s < 4 * self._renew_wait_s else RENEW_FIRST_S
        self._renew_wait_s = min(RENEW_CAP_S, grown)
        self._renewed_s = now_s
        return True
