"""What the broker knows of itself: it judges the streams, and makes the heartbeat's message."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import redis
import structlog

from .. import __version__
from ..utils.redis.errors import RedisUnavailable
from .connection_config import StreamState
from .frame_buffer import Silence
from .heartbeat import Facts, build_status
from .lifecycle import State
from .parts import Parts
from .registry import is_crypto
from .stream_judge import StreamJudge, Verdict
from .streams import MarketStream

if TYPE_CHECKING:
    from .broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus.heartbeat")

_PATIENCE_S: Final = 0.5


class StatusDesk:
    """One thread at a time uses it: the heartbeat, or the lifecycle thread at the ends."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self.redis_hears = True  # whether Redis took the last heartbeat
        self._broker = broker
        self._started_ns = 0
        self._reconciled_session = 0
        self._judges: dict[str, StreamJudge] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._silent: dict[str, tuple[str, frozenset[str]]] = {}

    def begin(self) -> None:
        """A new start: nothing of the last one holds."""
        self._started_ns, self._reconciled_session = time.time_ns(), 0
        self._judges, self._verdicts, self._silent = {}, {}, {}

    def orders_reconciled(self, session: int) -> None:
        """All that the order stream missed before this session is published."""
        self._reconciled_session = session

    def orders_ready(self, parts: Parts) -> bool:
        """Whether nothing of the account's orders can be missing: entries are safe."""
        orders = parts.upstreams.orders
        return (
            orders is not None
            and orders.state.state == "LIVE"
            and orders.sessions == self._reconciled_session
        )

    def verdicts(self) -> Mapping[str, Verdict]:
        """What was found last of each market-data stream. Any thread may ask."""
        return dict(self._verdicts)

    def judge_streams(self) -> bool:
        """LIVE, QUIET, LAGGING or MUTE; and mend what is mute. Whether a stream's state, or who is
        mute, has changed."""
        parts = self._broker.parts
        if parts is None:
            return False
        if parts.publisher.seqs_if_free() is None:
            # Redis does not take a batch, so nothing is read on: nothing can be said of upstream.
            for judge in self._judges.values():
                judge.excuse(time.monotonic())
            return False
        now_s = time.monotonic()
        counted_until_s = now_s - parts.prices.waiting()[1]  # before `arrived`, which only grows
        arrived, following = dict(parts.translator.arrived), self._broker.following()
        changed = False
        for name, stream in list(parts.upstreams.market.items()):
            crypto = name == "crypto"
            lost = stream.lost & following.keys()
            mine = {
                ticker: arrived.get(ticker, 0)
                for ticker in following
                if is_crypto(ticker) == crypto and ticker not in lost
            }
            verdict = self._judges.setdefault(name, StreamJudge()).judge(
                now_s=now_s,
                counted_until_s=counted_until_s,
                connection=stream.state.state,
                arrived=mine,
                market_open=crypto or parts.clock.is_open(),
                halted=parts.translator.halted,
                lag_ms=None if crypto else self._lag_ms(parts),
            )
            if lost:
                tickers = {**verdict.tickers, **dict.fromkeys(lost, "DOWN")}
                verdict = replace(verdict, tickers=tickers)
            self._verdicts[name] = verdict
            silent = _who_is_silent(verdict)
            changed |= self._silent.get(name) != silent
            self._silent[name] = silent
            self._mend(parts, name, stream, verdict)
        return changed

    def _mend(self, parts: Parts, name: str, stream: MarketStream, verdict: Verdict) -> None:
        ahead_ns = time.time_ns() - time.monotonic_ns()
        since_ns = {t: int(s * 1e9) + ahead_ns for t, s in verdict.silent_since_s.items()}
        if since_ns:
            log.warning("upstream.mute", stream=name, tickers=len(since_ns), first=min(since_ns))
            silence = Silence(symbols=tuple(since_ns), from_ns=min(since_ns.values()))
            parts.prices.put_note(silence)
        for ticker in verdict.resubscribe:
            self._broker.counters["mute_resubscribed"] += 1
            stream.resubscribe(ticker, since_ns.get(ticker, time.time_ns()))
        if verdict.renew:
            self._broker.counters["mute_renewed"] += 1
            stream.renew("mute: nothing came, against what is usual")

    def judge_health(self) -> None:
        """RUNNING or DEGRADED: whether every stream that is needed flows, and Redis takes it."""
        parts, lifecycle = self._broker.parts, self._broker.lifecycle
        if parts is None:
            return
        troubles = [
            f"{name}: {stream.state.reason or stream.state.state}"
            for name, stream in parts.upstreams.all()
            if stream.state.state != "LIVE" and not _refused_crypto(name, stream.state)
        ]
        if parts.upstreams.orders is None:
            troubles.append("Alpaca is not reached yet")
        troubles += [f"{name}: mute" for name, v in self._verdicts.items() if v.stream == "MUTE"]
        if parts.publisher.trouble:
            troubles.append(f"redis: {parts.publisher.trouble}")
        target = State.DEGRADED if troubles else State.RUNNING
        if lifecycle.state is not target and lifecycle.state in (State.RUNNING, State.DEGRADED):
            lifecycle.move_if_legal(target, "; ".join(troubles) or None)

    def may_speak(self) -> bool:
        """Only the owner has a heartbeat; where there is none, whoever is refused may say so."""
        parts = self._broker.parts
        if parts is None or self._broker.state == "STANDBY":
            return False
        if parts.leadership is not None:
            return True
        try:
            listeners = parts.redis.pubsub_numsub(parts.names.BROKER_REGISTRATION)
            return all(count == 0 for _, count in listeners)
        except redis.RedisError:
            return False

    def publish(self, state: str | None = None) -> None:
        """Publish the status, after all that was numbered before it.

        While Redis takes no batch there is none: the heartbeat has the leadership to keep.
        """
        parts = self._broker.parts
        if parts is None:
            return
        if not parts.publisher.ordered().acquire(timeout=_PATIENCE_S):
            self.redis_hears = False
            return
        try:
            status = build_status(self._facts(parts, state))
            parts.publisher.publish(parts.names.BROKER_STATUS, status)
            self.redis_hears = True
        except RedisUnavailable as error:
            self.redis_hears = False
            log.debug("heartbeat.not_sent", error=str(error))
        finally:
            parts.publisher.ordered().release()

    def _facts(self, parts: Parts, state: str | None) -> Facts:
        broker = self._broker
        orders, account = parts.upstreams.orders, broker.account
        down = StreamState(state="DOWN", since_ns=self._started_ns)
        return Facts(
            epoch=parts.publisher.epoch,
            state=state or broker.state,
            account_id=account.id if account else None,
            paper=broker.config.rest.paper,
            started_ns=self._started_ns,
            version=__version__,
            prices=self._price_stream(parts, down),
            orders=orders.state if orders else down,
            orders_ready=self.orders_ready(parts),
            last_order_ns=orders.last_event_ns if orders else 0,
            lag_ms=self._lag_ms(parts),
            seqs=parts.publisher.seqs(),
            following=frozenset(broker.following()),
            ticker_states={t: s for v in self._verdicts.values() for t, s in v.tickers.items()},
            market_open=parts.clock.is_open(),
            market_changes_ns=parts.clock.next_change_ns(),
            symbol_limit=broker.config.symbol_limit,
            counters=self.counters(parts),
            journal={"max_per_ticker": parts.publisher.journal_bound},
            account_number=account.number if account else None,
            local=account.local if account else None,
        )

    def _price_stream(self, parts: Parts, down: StreamState) -> StreamState:
        """The worst of the market-data streams speaks for them."""
        found = down
        for name, stream in list(parts.upstreams.market.items()):
            verdict = self._verdicts.get(name)
            state = stream.state
            if _refused_crypto(name, state):
                continue
            if state.state == "LIVE" and verdict is not None and verdict.stream != "LIVE":
                state = StreamState(state=verdict.stream, since_ns=state.since_ns)
            if found is down or state.state not in ("LIVE", "QUIET"):
                found = state
        return found

    def _lag_ms(self, parts: Parts) -> float | None:
        translator = parts.translator
        if not translator.last_trade_ns:
            return None
        return round((translator.last_received_ns - translator.last_trade_ns) / 1e6, 1)

    def counters(self, parts: Parts) -> dict[str, int]:
        """Everything that is counted, by name. Any thread may ask."""
        buffer = parts.prices.counters
        counters = {
            # Other threads count on: `dict` copies each counter in one step.
            **dict(parts.publisher.counters),
            **dict(self._broker.counters),
            **dict(self._broker.order_record.counters),
            **dict(parts.translator.counters),
            **dict(parts.price_desk.counters),
            **dict(parts.recovery.counters),
            **dict(parts.reconciler.counters),
            **(dict(parts.order_desk.counters) if parts.order_desk else {}),
            "frames": buffer.frames,
            "frame_bytes": buffer.bytes,
            "folded_messages": buffer.folded_messages,
            "orders_waiting": parts.orders.waiting(),
        }
        for name, stream in parts.upstreams.all():
            counters |= {f"{name}_{counter}": n for counter, n in dict(stream.counters).items()}
        return counters


def _who_is_silent(verdict: Verdict) -> tuple[str, frozenset[str]]:
    silent = frozenset(t for t, state in verdict.tickers.items() if state in ("MUTE", "DOWN"))
    return verdict.stream, silent


def _refused_crypto(name: str, state: StreamState) -> bool:
    """A plan without crypto: its registrations are rejected, and stocks go on."""
    return name == "crypto" and state.state == "REFUSED"
