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

import redis
import structlog

from ..utils.redis.errors import Abandoned, Fenced, RedisUnavailable
from ..utils.redis.messages import RegistrationReply
from ..utils.redis.ready import check_broker_redis
from ..utils.redis.subscriber import RedisSubscriber
from .broker_config import BrokerConfig
from .connection import StreamState
from .errors import BrokerNotReady, BrokerRefused, ThreadsStillRunning
from .frame_buffer import Item
from .heartbeat import Heartbeat
from .leadership import Leadership, Standing
from .lifecycle import ENDED, WORKING, Lifecycle, State
from .order_buffer import OrderItem, Reconciliation
from .order_desk import OrderDesk
from .parts import Parts, make_parts
from .producers import OrderProducer, PriceProducer
from .rate_limit import RateLimiter
from .reconcile import load_ledger
from .recovery import journal_ages, restart_breaks
from .registration_requests import read_request
from .registry import Registry
from .rest import Account, RestRefused, RestUnavailable
from .rounds import RegistrationThread
from .status_desk import StatusDesk
from .streams import PendingChange
from .upstreams import Rejection, channels_of

log: Final = structlog.get_logger("tickerbus.broker")

_SEEK_EVERY_S: Final = 0.25
_SETTLED: Final = frozenset({State.RUNNING, State.DEGRADED, State.STANDBY}) | ENDED


class AlpacaBroker:
    """One broker of one account. `start` and `stop` may be called from any one thread."""

    def __init__(self, config: BrokerConfig) -> None:
        """Connects nothing."""
        self.config = config
        self.account: Account | None = None
        self.counters: Counter[str] = Counter()
        self.dead_times_s: deque[float] = deque(maxlen=1_000)
        self._lifecycle = Lifecycle("broker")
        self._update_publisher = Lifecycle("update publisher")
        self._following: dict[str, frozenset[str]] = {}
        self._parts: Parts | None = None
        self._ending = threading.Event()  # this run is to end: a stop, a fault, or superseded
        self._superseded = False
        self._error: BaseException | None = None
        self._stuck: list[str] = []
        self._drain = False
        self._limiter = RateLimiter()
        self._status = StatusDesk(self)
        self._thread: threading.Thread | None = None
        self._heartbeat = Heartbeat(self._beat, config.heartbeat_s)

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

    @property
    def parts(self) -> Parts | None:
        """What the present run consists of."""
        return self._parts

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the broker ended (stopped, refused, faulted) within the time."""
        return self._lifecycle.wait_for(ENDED, timeout_s)

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
        self._error = None
        self._ending.clear()
        self._stuck = []
        self._status.begin()
        self._thread = threading.Thread(target=self._live, name="lifecycle", daemon=True)
        self._thread.start()
        self._lifecycle.wait_for(_SETTLED, self.config.start_timeout_s)
        self._lifecycle.move_if_legal_from(
            State.STARTING, State.DEGRADED, "Alpaca is not reached yet"
        )
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Finish what was received, close every connection properly, and end all threads.

        Raises:
            IllegalTransition: it is stopped already.
            ThreadsStillRunning: a thread did not end within its deadline; the state is FAULTED.
        """
        self._drain = self._lifecycle.state in WORKING
        self._lifecycle.move(State.STOPPING)
        self._ending.set()
        self._heartbeat.nudge()
        thread = self._thread
        if thread is not None:
            thread.join(self.config.stop_timeout_s + 1.0)
            if thread.is_alive():
                self._stuck.append(thread.name)
        if self._stuck:
            self._lifecycle.move(State.FAULTED, f"threads still running: {', '.join(self._stuck)}")
            raise ThreadsStillRunning(self._stuck, self.config.stop_timeout_s)
        self._lifecycle.move(State.STOPPED)
        log.info("broker.stopped")

    # -- the lifecycle thread

    def _live(self) -> None:
        """One run after the other, until a stop: only a superseded broker begins another."""
        self._drain = False
        try:
            self._parts = self._connect_redis()
            self._heartbeat = Heartbeat(self._beat, self.config.heartbeat_s)
            self._heartbeat.start()
            while self._run_once(self._need_parts()):
                log.warning("broker.superseded", reason=self.reason)
                self._parts = None
                while self._parts is None and not self._ending.is_set():
                    self._parts = self._try_redis()
        except BrokerRefused as refusal:
            self._error = refusal
            self._refuse(str(refusal))
            self._beat()
            self._ending.wait()
        except (RedisUnavailable, BrokerNotReady) as error:
            self._error = error
        except Exception as error:  # the supervisor of this thread
            log.exception("broker.failed")
            self._error = error
            if self._lifecycle.move_if_legal(State.FAULTED, repr(error)):
                self._ending.wait()
        finally:
            self._wind_up()

    def _run_once(self, parts: Parts) -> bool:
        """One run. Returns whether another is to follow."""
        self._superseded = False
        self._update_publisher = Lifecycle("update publisher")
        if not (self._find_account() and self._seek_leadership(parts)):
            return False
        self._bring_up(parts)
        if not self._ending.is_set():
            self._lifecycle.move_if_legal(State.RUNNING)
            self._status.judge_health()
            log.info(
                "broker.running",
                account=self.account.label if self.account else None,
                tickers=len(self._following),
            )
        self._ending.wait()
        if not self._superseded or self._lifecycle.state is not State.STANDBY:
            return False
        self._ending.clear()
        self._tear_down(parts)
        return self._lifecycle.state is State.STANDBY

    def _wind_up(self) -> None:
        """End everything, and say so with the last heartbeat."""
        parts = self._parts
        if parts is None:
            self._lifecycle.move_if_legal(State.STOPPING)
            self._lifecycle.move_if_legal_from(State.STOPPING, State.STOPPED)
            return
        ended_by_itself = self._lifecycle.move_if_legal_from(State.STARTING, State.STOPPING)
        self._tear_down(parts, keep_redis=True)
        self._heartbeat.begin_stop()
        if not self._heartbeat.join(1.0):
            self._stuck.append(self._heartbeat.name)
        if self._status.may_speak():
            self._status.publish("STOPPED" if self._lifecycle.state is State.STOPPING else None)
        if parts.leadership is not None:
            try:
                parts.leadership.release()
            except redis.RedisError as error:
                log.warning("leadership.not_released", error=str(error))
        parts.close()
        if ended_by_itself:
            self._lifecycle.move(State.STOPPED)

    def _connect_redis(self) -> Parts:
        parts = make_parts(self.config, self._stream_changed, self._upstream_lost)
        problems = check_broker_redis(parts.redis, parts.names)
        if problems:
            parts.close()
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise BrokerNotReady(
                f"Redis at {self.config.redis.address} cannot carry the bus:\n{listed}"
            )
        return parts

    def _try_redis(self) -> Parts | None:
        """The same for a broker that once ran: it waits for Redis, and does not end."""
        try:
            return self._connect_redis()
        except (RedisUnavailable, BrokerNotReady) as error:
            log.warning("broker.waits_for_redis", error=str(error))
            self._ending.wait(1.0)
            return None

    def _find_account(self) -> bool:
        """Whose orders these are; False when it is time to end."""
        while self.account is None:
            try:
                self.account = self.config.rest.account()
                log.info("account.found", account=self.account.label)
            except RestRefused as error:
                raise BrokerRefused(f"Alpaca does not accept these keys: {error}") from error
            except RestUnavailable as error:
                log.warning("account.unknown_yet", error=str(error))
                if self._ending.wait(0.5):
                    return False
        return not self._ending.is_set()

    def _seek_leadership(self, parts: Parts) -> bool:
        """Wait until this process owns the account's connection; False when it is time to end."""
        assert self.account is not None
        leadership = Leadership(parts.redis, parts.names, self.account.id)
        while not self._ending.is_set():
            try:
                standing = leadership.seek()
            except redis.RedisError as error:
                log.warning("leadership.redis_away", error=str(error))
                standing = Standing.WAITING
            if standing in (Standing.OWNER, Standing.RETAKEN):
                self._lifecycle.move_if_legal_from(State.STANDBY, State.STARTING)
                parts.leadership = leadership
                return True
            if standing is Standing.FOREIGN:
                raise BrokerNotReady(
                    "another account's broker is alive under this prefix: set BUS_PREFIX, "
                    f"or stop {leadership.holder}"
                )
            reason = f"{leadership.holder or 'another broker'} owns the connection"
            if self._lifecycle.state is not State.STANDBY and self._lifecycle.move_if_legal(
                State.STANDBY, reason
            ):
                log.info("broker.standby", reason=reason)
            self._ending.wait(_SEEK_EVERY_S)
        return False

    def _bring_up(self, parts: Parts) -> None:
        """Connect to Alpaca, and start all that publishes."""
        config, account = self.config, self.account
        assert account is not None
        deadline = time.monotonic() + config.start_timeout_s
        parts.reconciler.start()
        parts.recovery.start()
        streams = [parts.upstreams.open_market("stocks"), parts.upstreams.open_orders()]
        for stream in streams:
            while not self._ending.is_set() and time.monotonic() < deadline:
                state = stream.wait_until_settled(0.1)
                if state.state == "REFUSED":
                    raise BrokerRefused(f"Alpaca refuses the connection: {state.reason}")
                if state.state == "LIVE":
                    break
        if self._ending.is_set():
            return
        # Only now: a broker that Alpaca refuses must not take the epoch from one that runs.
        parts.publisher.open_epoch()
        load_ledger(parts.redis, parts.names, parts.ledger)
        parts.order_desk = OrderDesk(account, parts.ledger, parts.assets.pair)
        registry, restored = self._restore_registrations(parts)
        parts.registration = RegistrationThread(
            self, registry, parts.assets, parts.store, self._reply, self._thread_failed, restored
        )
        self.start_update_publisher()
        parts.registration.start()
        parts.subscriber = self._listen(parts)

    def _listen(self, parts: Parts) -> RedisSubscriber:
        channel = parts.names.BROKER_REGISTRATION
        subscriber = RedisSubscriber(self.config.redis)
        if self.config.registration_secured:
            prefix = f"{channel}."
            subscriber.subscribe(
                f"{prefix}*",
                lambda message: self.handle_registration_message(*message),
                decode=lambda name, payload: (payload, name.removeprefix(prefix)),
            )
        else:
            subscriber.subscribe(
                channel, self.handle_registration_message, decode=lambda _channel, body: body
            )
        subscriber.start_listening()
        return subscriber

    def _restore_registrations(self, parts: Parts) -> tuple[Registry, list[PendingChange]]:
        """Follow again what was held when the last broker ended, and tell the time between."""
        registry = Registry(self.config.symbol_limit)
        registry.restore(parts.store.load(), time.time_ns() // 1_000_000)
        wanted = registry.wanted()
        self._following = dict(wanted)
        pending: list[PendingChange] = []
        if wanted:
            log.info("registrations.restored", tickers=len(wanted))
            for pause in restart_breaks(journal_ages(parts.redis, parts.names, wanted)):
                parts.prices.put_note(pause)
            channels = {t: channels_of(t, data, with_statuses=True) for t, data in wanted.items()}
            pending = [change for _, change in parts.upstreams.request("subscribe", channels)]
        return registry, pending

    def _tear_down(self, parts: Parts, keep_redis: bool = False) -> None:
        """End the run, in the order in which messages flow."""
        deadline = time.monotonic() + self.config.stop_timeout_s - 0.5
        stuck: list[str] = []
        if parts.registration is not None:
            parts.registration.begin_stop()
        if parts.subscriber is not None:
            stuck += parts.subscriber.stop(_left(deadline))
        parts.upstreams.begin_close()
        stuck += parts.upstreams.join(deadline)
        for thread in (parts.recovery, parts.reconciler):
            thread.begin_stop()
        stuck += self._end_producers(parts, deadline)
        if parts.registration and not parts.registration.join(max(0.2, _left(deadline))):
            stuck.append(parts.registration.name)
        # These two only ever wait for an answer of REST, and hold nothing that could be lost.
        for asking in (parts.recovery, parts.reconciler):
            if not asking.join(max(0.2, _left(deadline))):
                log.warning("broker.left_waiting_for_rest", thread=asking.name)
        if stuck:
            log.error("broker.threads_would_not_end", threads=stuck)
        self._stuck += stuck
        if not keep_redis:
            parts.close()

    def _end_producers(self, parts: Parts, deadline: float) -> list[str]:
        for producer in parts.producers:
            producer.begin_stop(self._drain)
        stuck = [p for p in parts.producers if not p.join(_left(deadline) / 2)]
        if stuck:
            parts.publisher.give_up()  # Redis does not take the last batch
            stuck = [p for p in stuck if not p.join(max(0.5, _left(deadline)))]
        if self._drain and not stuck and parts.publisher.epoch and not parts.publisher.trouble:
            try:
                parts.publisher.publish_batch(parts.price_desk.give_up_refills())
            except (Abandoned, Fenced) as error:
                log.warning("broker.last_gaps_not_told", error=str(error))
        parts.producers = []
        self._update_publisher = Lifecycle("update publisher")
        return [producer.name for producer in stuck]

    # -- the update publisher: the producer threads

    def start_update_publisher(self) -> None:
        """Start the producer threads with all the tickers.

        Raises:
            IllegalTransition: they run already.
            BrokerNotReady: the broker was not started.
        """
        parts = self._need_parts()
        self._update_publisher.move(State.STARTING)
        early = parts.price_desk.take_early(self._following)
        if early:
            parts.publisher.publish_batch(early)
        parts.producers = [
            PriceProducer(parts.prices, self.handle_price_update, self._thread_failed),
            OrderProducer(parts.orders, self.handle_order_update, self._thread_failed),
        ]
        for producer in parts.producers:
            producer.start()
        self._update_publisher.move(State.RUNNING)

    def stop_update_publisher(self) -> None:
        """Stop the producer threads: each finishes its batch. What arrives meanwhile waits.

        Raises:
            IllegalTransition: they do not run.
            ThreadsStillRunning: one did not end in time; they are left as they are.
            BrokerNotReady: the broker was not started.
        """
        parts = self._need_parts()
        self._update_publisher.move(State.STOPPING)
        for producer in parts.producers:
            producer.begin_stop(drain=False)
        deadline = time.monotonic() + self.config.stop_timeout_s
        while stuck := [p.name for p in parts.producers if not p.join(0.05)]:
            # While Redis takes no batch they cannot finish theirs, and the change waits with them.
            waits = parts.publisher.trouble and not self._ending.is_set()
            if not waits and time.monotonic() > deadline:
                self._update_publisher.move(State.FAULTED, "producers did not end")
                raise ThreadsStillRunning(stuck, self.config.stop_timeout_s)
        parts.producers = []
        self._update_publisher.move(State.STOPPED)

    def _restart_with(self, following: dict[str, frozenset[str]]) -> None:
        """Stop, change, start."""
        began = time.perf_counter()
        self.stop_update_publisher()
        self._following = following
        self.start_update_publisher()
        self.dead_times_s.append(time.perf_counter() - began)
        self.counters["restarts"] += 1

    # -- tickers

    def subscribe_symbols(self, symbols: Mapping[str, frozenset[str]]) -> Mapping[str, Rejection]:
        """Follow `symbols` (ticker -> kinds of data): first upstream, while the producers still
        run, then stop, change, start. Returns why, for each that is not followed.
        """
        channels = {t: channels_of(t, data, with_statuses=True) for t, data in symbols.items()}
        rejections = self._need_parts().upstreams.request_and_wait(
            "subscribe", channels, self.config.reply_timeout_s
        )
        accepted = {ticker: data for ticker, data in symbols.items() if ticker not in rejections}
        if accepted:
            following = dict(self._following)
            for ticker, data in accepted.items():
                following[ticker] = following.get(ticker, frozenset()) | data
            self._restart_with(following)
        return rejections

    def unsubscribe_symbols(self, symbols: Mapping[str, frozenset[str]]) -> None:
        """Leave `symbols` (ticker -> kinds of data): stop, change, start, and then upstream."""
        following = dict(self._following)
        for ticker, data in symbols.items():
            left = following.get(ticker, frozenset()) - data
            if left:
                following[ticker] = left
            else:
                following.pop(ticker, None)
        self._restart_with(following)
        channels = {
            ticker: channels_of(ticker, data, with_statuses=ticker not in following)
            for ticker, data in symbols.items()
        }
        self._need_parts().upstreams.request_and_wait(
            "unsubscribe", channels, self.config.reply_timeout_s
        )

    def drop_symbols(self, symbols: Collection[str]) -> None:
        """Stop publishing what Alpaca no longer follows; later rounds ask for it again."""
        left = {ticker: data for ticker, data in self._following.items() if ticker not in symbols}
        if left != self._following:
            self._restart_with(left)

    # -- what comes in

    def handle_price_update(self, items: Sequence[Item]) -> None:
        """Market data as it came from the connections: published on each ticker's channels.

        Called by the price producer.
        """
        parts = self._need_parts()
        messages = parts.price_desk.take_in(items, self._following)
        if messages:
            parts.publisher.publish_batch(messages)

    def handle_order_update(self, items: Sequence[OrderItem]) -> None:
        """Order updates, verbatim from Alpaca: published on their symbols' channels, registered or
        not, each once. Called by the order producer.
        """
        parts = self._need_parts()
        assert parts.order_desk is not None
        messages = parts.order_desk.take_in(items)
        if messages:
            parts.publisher.publish_batch(messages)
        for item in items:
            if isinstance(item, Reconciliation):
                parts.reconciler.done(item)
                self._status.orders_reconciled(item.connection)
                self._heartbeat.nudge()

    def handle_registration_message(self, payload: bytes, client_id: str | None = None) -> None:
        """One message of the registration channel: answered at once if it is none, else queued.

        Called by the registration subscriber; in secured mode with the `client_id` that the
        channel's name binds to the Redis user.
        """
        request = read_request(payload, client_id)
        if isinstance(request, RegistrationReply):
            self.counters["registrations_invalid"] += 1
            log.warning("registration.invalid", reason=request.reason, detail=request.detail)
            self._reply(request)
            return
        self.counters["registrations"] += 1
        registration = self._need_parts().registration
        if not self._limiter.admits(request.client_id):
            self._reply(request.rejected("rate_limited", "too many requests of this client"))
        elif registration is None or not registration.put(request):
            self._reply(request.rejected("rate_limited", "too many requests wait"))

    def _reply(self, reply: RegistrationReply) -> None:
        parts = self._need_parts()
        try:
            parts.publisher.publish(parts.names.BROKER_REGISTRATION_REPLIES, reply)
        except RedisUnavailable as error:
            log.error("registration.reply_not_sent", ticker=reply.ticker, error=str(error))

    # -- what the threads report

    def _stream_changed(self, name: str, state: StreamState) -> None:
        parts = self._parts
        if state.state == "REFUSED" and name != "crypto":
            self._refuse(f"Alpaca refuses the {name} connection: {state.reason}")
        elif name == "orders" and state.state == "LIVE" and parts and parts.upstreams.orders:
            parts.reconciler.live(parts.upstreams.orders.sessions)
        self._heartbeat.nudge()

    def _upstream_lost(self, symbol: str, code: int, message: str) -> None:
        self.counters["upstream_lost_tickers"] += 1
        parts = self._parts
        if parts is not None and parts.registration is not None:
            parts.registration.lost(symbol)

    def _thread_failed(self, name: str, error: BaseException) -> None:
        """A thread of ours ended: nothing may go on as if it had not."""
        if isinstance(error, Abandoned):
            self.counters["unconfirmed_at_stop"] += error.messages
            return
        if isinstance(error, Fenced):
            self._supersede(str(error))
            return
        if self._lifecycle.move_if_legal(State.FAULTED, f"{name}: {error!r}"):
            log.error("broker.faulted", thread=name, error=repr(error))
            self._ending.set()
        self._heartbeat.nudge()

    def _supersede(self, reason: str) -> None:
        """Another broker of this account took over while this one was away: step down."""
        if self._lifecycle.move_if_legal(State.STANDBY, reason):
            self._superseded = True
            self._ending.set()

    def _refuse(self, reason: str) -> None:
        if self._lifecycle.move_if_legal(State.REFUSED, reason):
            log.error("broker.refused", reason=reason)
        self._heartbeat.nudge()

    # -- the heartbeat

    def _beat(self) -> None:
        """Called by the heartbeat thread: keep the leadership, judge the streams, say it."""
        parts = self._parts
        if parts is None:
            return
        if self._lifecycle.state in (State.RUNNING, State.DEGRADED):
            self._keep_leadership(parts)
            self._status.judge_streams()
            self._status.judge_health()
        if self._status.may_speak():
            self._status.publish()

    def _keep_leadership(self, parts: Parts) -> None:
        if parts.leadership is None:
            return  # not brought up yet: Alpaca is not reached
        try:
            standing = parts.leadership.renew()
            if standing is Standing.RETAKEN:
                # Gone without us: Redis was emptied, or slept longer than the key lives.
                log.warning("leadership.retaken")
                parts.publisher.restore_epoch()
                if parts.registration is not None:
                    parts.registration.rewrite()
            elif standing is not Standing.OWNER:
                self._supersede(f"{parts.leadership.holder} took the leadership")
        except (redis.RedisError, RedisUnavailable) as error:
            log.info("leadership.redis_away", error=str(error))

    def _need_parts(self) -> Parts:
        if self._parts is None:
            raise BrokerNotReady("the broker was not started: it has no connection")
        return self._parts


def _left(deadline: float) -> float:
    """Seconds to a deadline, never below 0."""
    return max(0.0, deadline - time.monotonic())
