"""AlpacaBroker: the conductor. It holds Alpaca's one connection and feeds every ticker's channel.

Threads: `lifecycle` obeys the state table (and waits for the leadership), `price-producer` and
`order-producer` stand between the connections and the publisher, `registration` carries out rounds
of requests, `heartbeat` says how things are; each connection has its own, `recovery` and
`reconciler` ask REST for what was missed. The registration subscriber never stops with the
producers.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import structlog

from ..utils.redis.errors import Abandoned, Fenced
from ..utils.redis.order_memory import OrderMemory
from .broker_config import BrokerConfig
from .connection_config import StreamState
from .errors import BrokerNotReady, BrokerRefused, ThreadsStillRunning
from .frame_buffer import Item
from .hops import Hops
from .leader_watch import LeaderWatch
from .life import Life
from .lifecycle import ENDED, WORKING, Lifecycle, State
from .order_buffer import OrderItem, Reconciliation
from .order_record import OrderRecord
from .parts import Parts
from .producers import OrderProducer, PriceProducer
from .registration_desk import RegistrationDesk
from .registry import with_symbols, without_symbols
from .rest import Account
from .status_desk import StatusDesk
from .update_publisher import UpdatePublisher
from .upstreams import Rejection, channels_of

log: Final = structlog.get_logger("tickerbus.broker")

_SETTLED: Final = frozenset({State.RUNNING, State.DEGRADED, State.STANDBY}) | ENDED


class AlpacaBroker:
    """One broker of one account. `start` and `stop` may be called from any one thread."""

    def __init__(self, config: BrokerConfig) -> None:
        """Connects nothing."""
        self.config = config
        self.account: Account | None = None
        self.counters: Counter[str] = Counter()
        self.dead_times_s: deque[float] = deque(maxlen=1_000)
        self.hops = Hops()
        self.beaten_s = 0.0  # when the heartbeat thread last showed that it lives, monotonic
        self.status = StatusDesk(self)
        self.parts: Parts | None = None  # what the present run consists of
        self.order_record = OrderRecord(config.state_dir)
        self.order_memory = OrderMemory(on_new=self.order_record.note)  # of all runs
        self.changing = threading.Lock()  # held while the producers are restarted, or ended
        self._lifecycle = Lifecycle("broker")
        self.update_publisher = UpdatePublisher(self)
        self._following: dict[str, frozenset[str]] = {}
        self.registrations = RegistrationDesk(self)
        self._leader_watch = LeaderWatch(self)
        self._life: Life | None = None

    # -- state

    @property
    def state(self) -> str:
        return self._lifecycle.state.value

    @property
    def reason(self) -> str | None:
        """Why it is in this state, where that needs saying."""
        return self._lifecycle.reason

    @property
    def lifecycle(self) -> Lifecycle:
        return self._lifecycle

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the broker ended (stopped, refused, faulted) within the time."""
        return self._lifecycle.wait_for(ENDED, timeout_s)

    def set_following(self, following: Mapping[str, frozenset[str]]) -> None:
        """The ticker list, before the producers run."""
        self._following = dict(following)

    def following(self) -> Mapping[str, frozenset[str]]:
        """The tickers that the producers publish, and which kinds of data of each."""
        return dict(self._following)

    # -- start and stop

    def start(self) -> None:
        """Connect to Redis and Alpaca, take up what was registered, and publish.

        Returns once running; without Alpaca, after a while, as DEGRADED, and goes on trying; as
        STANDBY while another broker of this account owns the connection.

        Raises:
            IllegalTransition: it is not stopped.
            RedisUnavailable, BrokerNotReady: Redis is away, cannot carry the bus, or carries
                another account's.
            BrokerRefused: Alpaca does not accept the keys or the feed. The state is REFUSED;
                `stop` cleans up.
        """
        self._lifecycle.move(State.STARTING)
        self.status.begin()
        self._life = life = Life(self)
        life.start()
        deadline = time.monotonic() + self.config.start_timeout_s
        # In short steps: a signal that another thread caught is handled between two of them.
        while not self._lifecycle.wait_for(_SETTLED, 0.1) and time.monotonic() < deadline:
            pass
        away = "Alpaca is not reached yet" if self.parts else "Redis does not answer yet"
        away = self._lifecycle.reason or away
        self._lifecycle.move_if_legal_from(State.STARTING, State.DEGRADED, away)
        if life.error is not None:
            raise life.error
        if self._lifecycle.state is State.REFUSED:  # a stream said so before `life` could
            raise BrokerRefused(self.reason or "Alpaca refuses the connection")

    def stop(self) -> None:
        """Finish what was received, close every connection properly, and end all threads.

        Raises:
            IllegalTransition: it is stopped already.
            ThreadsStillRunning: a thread did not end within its deadline; the state is FAULTED.
        """
        before = self._lifecycle.state
        self._lifecycle.move(State.STOPPING)
        assert self._life is not None, "only start leaves the state STOPPED"
        # Who looks for a broker that ended by itself finds why, not that it was then stopped.
        last_word = before.value if before in ENDED else "STOPPED"
        stuck = self._life.end(before in WORKING, last_word)
        if stuck:
            self._lifecycle.move(State.FAULTED, f"threads still running: {', '.join(stuck)}")
            raise ThreadsStillRunning(stuck, self.config.stop_timeout_s)
        self._lifecycle.move(State.STOPPED)
        log.info("broker.stopped")

    # -- the update publisher: the producer threads

    def start_update_publisher(self) -> None:
        """Start the producer threads with all the tickers.

        Raises:
            IllegalTransition: they run already.
            BrokerNotReady: the broker was not started.
        """
        parts = self.need_parts()
        self.update_publisher.start(
            parts,
            PriceProducer(
                parts.prices,
                self.handle_price_update,
                self.thread_failed,
                finish=lambda: parts.publisher.publish_batch(()),
            ),
            OrderProducer(parts.orders, self.handle_order_update, self.thread_failed),
        )

    def stop_update_publisher(self) -> None:
        """Stop the producer threads: each finishes its batch. What arrives meanwhile waits.

        Raises:
            IllegalTransition: they do not run.
            ThreadsStillRunning: one did not end in time; they are left as they are.
            BrokerNotReady: the broker was not started.
        """
        self.update_publisher.stop(self.need_parts())

    def _restart_with(self, following: dict[str, frozenset[str]]) -> None:
        """Stop, change, start."""
        with self.changing:
            if self._lifecycle.state not in WORKING:
                raise BrokerNotReady("the broker is ending: its tickers do not change any more")
            began = time.perf_counter()
            self.stop_update_publisher()
            self._following = following
            self.start_update_publisher()
            self.dead_times_s.append(time.perf_counter() - began)
            self.counters["restarts"] += 1

    # -- tickers

    def subscribe_symbols(
        self, symbols: Mapping[str, frozenset[str]], timeout_s: float | None = None
    ) -> Mapping[str, Rejection]:
        """Follow `symbols` (ticker -> kinds of data): first upstream, while the producers still
        run, then stop, change, start. Returns why, for each that is not followed, or that Alpaca
        has not acknowledged within `timeout_s`.
        """
        channels = {t: channels_of(t, data, with_statuses=True) for t, data in symbols.items()}
        parts = self.need_parts()
        if timeout_s is None:
            timeout_s = self.config.reply_timeout_s
        rejections = parts.upstreams.request_and_wait(
            "subscribe", channels, timeout_s, parts.absence.teller(symbols)
        )
        accepted = {ticker: data for ticker, data in symbols.items() if ticker not in rejections}
        following = with_symbols(self._following, accepted)
        if following != self._following:
            self._restart_with(following)
        return rejections

    def unsubscribe_symbols(
        self, symbols: Mapping[str, frozenset[str]], *, wait: bool = True
    ) -> None:
        """Leave `symbols` (ticker -> kinds of data): stop, change, start, and then upstream.
        Without `wait` what is asked of Alpaca next is asked before this is answered."""
        parts = self.need_parts()
        following = without_symbols(self._following, symbols)
        parts.absence.left(symbols.keys() - following.keys())
        self._restart_with(following)
        channels = {
            ticker: channels_of(ticker, data, with_statuses=ticker not in following)
            for ticker, data in symbols.items()
        }
        timeout_s = self.config.reply_timeout_s if wait else 0.0
        parts.upstreams.request_and_wait("unsubscribe", channels, timeout_s)

    def drop_symbols(self, symbols: Collection[str]) -> None:
        """Stop publishing what Alpaca will not follow, and nobody holds any more."""
        left = {ticker: data for ticker, data in self._following.items() if ticker not in symbols}
        if left != self._following:
            self._restart_with(left)

    def lapsed(self, tickers: Collection[str]) -> None:
        """Their last leases ended. Whoever comes back soon had not meant to leave."""
        parts = self.need_parts()
        # What waits for the producers will not be published any more.
        since_ns = time.time_ns() - int(parts.prices.behind_s() * 1e9)
        parts.absence.lapsed(tickers, since_ns)

    def forget_losses(self, wanted: Collection[str]) -> None:
        """Tickers that nobody wants any more lack nothing: what they lacked was told as they were
        left."""
        for stream in list(self.need_parts().upstreams.market.values()):
            stream.forget_losses(wanted)

    # -- what comes in

    def handle_price_update(self, items: Sequence[Item]) -> None:
        """Market data as it came from the connections: published on each ticker's channels.

        Called by the price producer.
        """
        parts = self.need_parts()
        messages = parts.price_desk.take_in(items, self._following)
        # While Redis works on these, the next frames can be decoded.
        parts.publisher.publish_batch(messages, more=not parts.prices.is_empty)
        self.hops.published(items, parts.translator)

    def handle_order_update(self, items: Sequence[OrderItem]) -> None:
        """Order updates, verbatim from Alpaca: published on their symbols' channels, registered or
        not, each once. Called by the order producer.
        """
        parts = self.need_parts()
        assert parts.order_desk is not None
        messages = parts.order_desk.take_in(items)
        if messages:
            parts.publisher.publish_batch(messages)
        for item in items:
            if isinstance(item, Reconciliation):
                parts.inquiry.done(item)
                if item.complete:
                    self.status.orders_reconciled(item.connection)
                self._nudge()

    def handle_registration_message(self, payload: bytes, client_id: str | None = None) -> None:
        """One message of the registration channel: answered at once if it is none, else queued.

        Called by the registration subscriber; in secured mode with the `client_id` that the
        channel's name binds to the Redis user.
        """
        self.registrations.take_in(payload, client_id)

    # -- what the threads report

    def stream_changed(self, name: str, state: StreamState) -> None:
        parts = self.parts
        if state.state == "REFUSED" and name != "crypto":
            self.refuse(f"Alpaca refuses the {name} connection: {state.reason}")
        elif name == "orders" and state.state == "LIVE" and parts and parts.upstreams.orders:
            parts.reconciler.live(parts.upstreams.orders.sessions)
        self._nudge()

    def upstream_lost(self, symbol: str, code: int, message: str) -> None:
        self.counters["upstream_lost_tickers"] += 1
        parts = self.parts
        if parts is not None and parts.registration is not None:
            parts.registration.lost(symbol)

    def thread_failed(self, name: str, error: BaseException) -> None:
        """A thread of ours ended: nothing may go on as if it had not."""
        if isinstance(error, Abandoned):
            self.counters["unconfirmed_at_stop"] += error.messages
            return
        if isinstance(error, Fenced):
            self.supersede(str(error))
            return
        if self._lifecycle.move_if_legal(State.FAULTED, f"{name}: {error!r}"):
            log.error("broker.faulted", thread=name, error=repr(error))
            self._end_run()

    def supersede(self, reason: str) -> None:
        """Another broker of this account took over while this one was away: step down."""
        if self._lifecycle.move_if_legal(State.STANDBY, reason):
            self._end_run()

    def refuse(self, reason: str) -> None:
        if self._lifecycle.move_if_legal(State.REFUSED, reason):
            log.error("broker.refused", reason=reason)
        self._nudge()

    # -- the heartbeat

    def beat(self) -> None:
        """Called by the heartbeat thread: keep the leadership, judge the health, say it."""
        self.beaten_s = time.monotonic()
        parts = self.parts
        if parts is None:
            return
        state = self._lifecycle.state
        if state in (State.STARTING, State.RUNNING, State.DEGRADED):
            # Also while Alpaca is being reached: that may take longer than the leadership lasts.
            self._leader_watch.keep(parts)
        if state in (State.RUNNING, State.DEGRADED):
            self.status.judge_health()
        if self.status.may_speak():
            self.status.publish()

    def look(self) -> bool:
        """Called by the heartbeat thread, more often: judge the streams. Whether all should hear
        of it at once."""
        if self._lifecycle.state not in (State.RUNNING, State.DEGRADED):
            return False
        return self.status.judge_streams()

    def _end_run(self) -> None:
        if self._life is not None:
            self._life.end_run()

    def _nudge(self) -> None:
        """A state has changed: the heartbeat says so now."""
        if self._life is not None:
            self._life.heartbeat.nudge()

    def need_parts(self) -> Parts:
        """Raises BrokerNotReady."""
        if self.parts is None:
            raise BrokerNotReady("the broker was not started: it has no connection")
        return self.parts
