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
    seen_s: float = 0.0  # how long it was watched
    rate: float = 0.0  # as it was when the last message came
    is_noted: bool = False  # that it is mute
    resubscribed_s: float = -math.inf
    due_s: float = -math.inf  # until then its state stays as it is, unless something comes

    def count(self, arrived: int, now_s: float, heard_until_s: float) -> None:
        """Take in that it has had more messages by now. All that was received until
        `heard_until_s` was counted before."""
        new = max(0, arrived - self.arrived)
        if new:
            elapsed = max(1e-3, now_s - self.counted_s)
            keep = math.exp(-elapsed / RATE_MEMORY_S)
            self.rate = keep * self.rate + (1 - keep) * new / elapsed
            self.seen_s += elapsed
            self.excuse(now_s)
            self.heard_until_s = heard_until_s
        self.arrived = arrived

    def excuse(self, now_s: float) -> None:
        """It is not silent, or that is explained. When it was heard last, that does not change:
        should it turn out to be mute, it may have been so since then."""
        self.counted_s = self.moved_s = now_s
        self.is_noted, self.due_s = False, -math.inf

    def usual_rate(self, now_s: float) -> float:
        """Messages a second; what a young average has not seen yet is not counted as silence."""
        if self.seen_s < LEAST_WATCH_S:
            return 0.0
        full = self.rate / (1 - math.exp(-self.seen_s / RATE_MEMORY_S))
        return full * math.exp(-(now_s - self.moved_s) / RATE_MEMORY_S)

    def judge(self, now_s: float, *, may_trade: bool, lagging: bool) -> str:
        """Its state, and until when at the least it has that."""
        silence_s = now_s - self.moved_s
        mute_s = self.moved_s + LEAST_SILENCE_S if may_trade else math.inf
        if now_s > mute_s:
            usual = self.usual_rate(now_s)  # which only falls while nothing comes
            if usual * silence_s > MUTE_SWALLOWED:
                self.due_s = now_s  # at each look: a silence can outlast what is usual
                return "MUTE"
            mute_s = self.moved_s + MUTE_SWALLOWED / usual if usual else math.inf
        if self.arrived == 0 or silence_s > QUIET_AFTER_S:
            self.due_s = mute_s
            return "QUIET"
        self.due_s = min(mute_s, self.moved_s + QUIET_AFTER_S)
        return "LAGGING" if lagging else "LIVE"


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
        self._states: dict[str, str] = {}
        self._outside: tuple[bool, bool, frozenset[str]] | None = None
        self._is_mute = False  # the stream as a whole
        self._judged_s = math.inf
        self._counted_until_s = -math.inf
        self._renewed_s = -math.inf
        self._renew_wait_s = RENEW_FIRST_S

    def judge(
        self,
        *,
        now_s: float,
        counted_until_s: float,
        connection: str,
        arrived: Mapping[str, int],
        market_open: bool,
        halted: Collection[str] = (),
        lag_ms: float | None = None,
    ) -> Verdict:
        """`arrived`: how many messages of every followed ticker the stream has brought, as far as
        they were received until `counted_until_s`; `connection`: its own state."""
        self._watch(arrived, now_s, counted_until_s)
        if now_s - self._judged_s > SLEPT_S:
            self.excuse(now_s)  # we slept, or the whole machine did: it was not the tickers
        self._judged_s = now_s
        if connection != "LIVE":
            # Silence while the connection is away is explained, and must not look like muteness
            # in the moment that it is back.
            self.excuse(now_s)
            return Verdict(stream=connection, tickers=dict.fromkeys(arrived, connection))
        lagging = lag_ms is not None and lag_ms > LAG_BOUND_MS
        states = self._judge_all(now_s, market_open, lagging, frozenset(halted))
        was_mute, self._is_mute = self._is_mute, self._stream_is_mute(now_s, market_open, halted)
        if self._is_mute:
            return Verdict(
                stream="MUTE",
                tickers=states,
                silent_since_s=self._note_mute(self._watched),
                renew=self._may_renew(now_s),
            )
        if was_mute:
            # The first message ended the silence of all. Who is mute by itself still is.
            for watched in self._watched.values():
                watched.is_noted = False
        mute = [ticker for ticker, state in states.items() if state == "MUTE"]
        return Verdict(
            stream=self._stream_state(states, lagging),
            tickers=states,
            silent_since_s=self._note_mute(mute),
            resubscribe=self._to_resubscribe(mute, now_s),
        )

    def excuse(self, now_s: float) -> None:
        """Nobody can say now who is silent: what came before does not count against anybody."""
        for watched in self._watched.values():
            watched.excuse(now_s)

    def _watch(self, arrived: Mapping[str, int], now_s: float, counted_until_s: float) -> None:
        heard_until_s, self._counted_until_s = self._counted_until_s, counted_until_s
        for ticker, count in arrived.items():
            watched = self._watched.get(ticker)
            if watched is None:
                self._watched[ticker] = _Watched(
                    arrived=count, counted_s=now_s, moved_s=now_s, heard_until_s=counted_until_s
                )
            elif count != watched.arrived:
                watched.count(count, now_s, heard_until_s)
        if len(self._watched) > len(arrived):
            for ticker in self._watched.keys() - arrived.keys():
                del self._watched[ticker]
                self._states.pop(ticker, None)

    def _judge_all(
        self, now_s: float, market_open: bool, lagging: bool, halted: frozenset[str]
    ) -> dict[str, str]:
        """Every ticker's state. Looked into are those where it may have changed."""
        outside = (market_open, lagging, halted)
        look_again, self._outside = outside != self._outside, outside
        for ticker, watched in self._watched.items():
            if now_s >= watched.due_s or look_again:
                may_trade = market_open and ticker not in halted
                self._states[ticker] = watched.judge(now_s, may_trade=may_trade, lagging=lagging)
        return dict(self._states)

    def _note_mute(self, tickers: Iterable[str]) -> dict[str, float]:
        """Those that were not known to be mute, and since when at the earliest they are."""
        found = {}
        for ticker in tickers:
            watched = self._watched[ticker]
            if not watched.is_noted:
                watched.is_noted = True
                found[ticker] = watched.heard_until_s
        return found

    def _stream_state(self, states: Mapping[str, str], lagging: bool) -> str:
        if lagging:
            return "LAGGING"
        quiet = states and all(state == "QUIET" for state in states.values())
        return "QUIET" if quiet else "LIVE"

    def _stream_is_mute(self, now_s: float, market_open: bool, halted: Collection[str]) -> bool:
        if not market_open:
            return False
        tickers = []
        for ticker, watched in self._watched.items():
            if ticker not in halted:
                if now_s - watched.moved_s <= LEAST_SILENCE_S:
                    return False  # nearly always one of the first few
                tickers.append(watched)
        silence_s = now_s - max((w.moved_s for w in tickers), default=now_s)
        return sum(w.usual_rate(now_s) for w in tickers) * silence_s > STREAM_MUTE_SWALLOWED

    def _to_resubscribe(self, mute: Iterable[str], now_s: float) -> tuple[str, ...]:
        due = []
        for ticker in mute:
            watched = self._watched[ticker]
            if now_s - watched.resubscribed_s >= RESUBSCRIBE_EVERY_S:
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
