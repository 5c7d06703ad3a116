"""AlpacaBroker: the conductor. It holds Alpaca's one connection and feeds every ticker's channel.

Threads: `price-producer` and `order-producer` between the connections and the publisher,
`registration`, `heartbeat`, one for each connection, and the registration subscriber's own, which
never stops with the producers.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import redis
import structlog

from .. import __version__
from ..utils.redis.errors import Abandoned, Fenced, RedisUnavailable
from ..utils.redis.messages import BusMessage, RegistrationReply
from ..utils.redis.publisher import RedisPublisher
from ..utils.redis.subscriber import RedisSubscriber
from .assets import AssetList
from .broker_config import BrokerConfig
from .connection import StreamState
from .errors import BrokerNotReady, BrokerRefused, ThreadsStillRunning
from .frame_buffer import FrameBuffer, Item
from .heartbeat import Facts, Heartbeat, TickerActivity, build_status
from .lease_store import LeaseStore
from .lifecycle import ENDED, WORKING, Lifecycle, State
from .order_buffer import OrderBuffer
from .producers import OrderProducer, PriceProducer, Producer
from .registration_requests import read_request
from .registry import Registry, is_crypto
from .rest import Account, RestRefused, RestUnavailable
from .rounds import RegistrationThread, Rejection
from .streams import MarketStream, OrderStream, PendingChange
from .translate import MarketTranslator, order_messages

log: Final = structlog.get_logger("tickerbus.broker")

MAX_HELD_MESSAGES: Final = 10_000


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
        self._started_ns = 0

    # -- state

    @property
    def state(self) -> str:
        return self._lifecycle.state.value

    @property
    def reason(self) -> str | None:
        """Why it is in this state, where that needs saying."""
        return self._lifecycle.reason

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the broker ended (stopped, refused, faulted) within the time."""
        return self._lifecycle.wait_for(ENDED, timeout_s)

    def following(self) -> Mapping[str, frozenset[str]]:
        """The tickers that the producers publish, and which kinds of data of each."""
        return dict(self._following)

    # -- start and stop

    def start(self) -> None:
        """Connect to Redis and Alpaca, take up what was registered, and publish.

        Returns once running; without Alpaca, after a while, as DEGRADED, and goes on trying.

        Raises:
            IllegalTransition: it is not stopped.
            RedisUnavailable, BrokerNotReady: Redis is away, or cannot carry the bus.
            BrokerRefused: Alpaca does not accept the keys or the feed. The state is REFUSED;
                `stop` cleans up.
        """
        self._lifecycle.move(State.STARTING)
        self._started_ns = time.time_ns()
        try:
            self._set_up()
            self._bring_up()
        except BrokerRefused as refusal:
            self._refuse(str(refusal))
            raise
        except BaseException:
            self._lifecycle.move_if_legal(State.STOPPING)
            self._tear_down(drain=False)
            self._lifecycle.move(State.STOPPED)
            raise
        self._judge_health()
        log.info("broker.running", account=self._account_label(), tickers=len(self._following))

    def stop(self) -> None:
        """Finish what was received, close every connection properly, and end all threads.

        Raises:
            IllegalTransition: it is stopped already.
            ThreadsStillRunning: a thread did not end within its deadline; the state is FAULTED.
        """
        drain = self._lifecycle.state in WORKING
        self._lifecycle.move(State.STOPPING)
        self._heartbeat.nudge()
        stuck = self._tear_down(drain)
        if stuck:
            self._lifecycle.move(State.FAULTED, f"threads still running: {', '.join(stuck)}")
            raise ThreadsStillRunning(stuck, self.config.stop_timeout_s)
        self._lifecycle.move(State.STOPPED)
        log.info("broker.stopped")

    def _set_up(self) -> None:
        """Make the parts that need no connection but Redis's."""
        config = self.config
        self._following: dict[str, frozenset[str]] = {}
        self._held: list[BusMessage] = []
        self._prices, self._orders = FrameBuffer(), OrderBuffer()
        self._translator = MarketTranslator()
        self._assets = AssetList(config.rest)
        self._activity = TickerActivity()
        self._producers: list[Producer] = []
        self._market: dict[str, MarketStream] = {}
        self._order_stream: OrderStream | None = None
        self._subscriber: RedisSubscriber | None = None
        self._registration: RegistrationThread | None = None
        self._publisher: RedisPublisher | None = None
        self._redis: redis.Redis | None = None
        self._heartbeat = Heartbeat(self._beat, config.heartbeat_s)
        self._publisher = RedisPublisher(config.redis, config.journal)
        self._redis = config.redis.client()
        self._names = self._publisher.names

    def _bring_up(self) -> None:
        config, publisher = self.config, self._need_publisher()
        self._heartbeat.start()
        self._market["stocks"] = self._open_market("stocks")
        deadline = time.monotonic() + config.start_timeout_s
        self._find_account(deadline)
        self._await_stream(self._market["stocks"].wait_until_settled(_left(deadline)))
        if self._order_stream is not None:
            self._await_stream(self._order_stream.wait_until_settled(_left(deadline)))
        # Only now: a broker that Alpaca refuses must not take the epoch from one that runs.
        publisher.open_epoch()
        registry = self._restore_registrations()
        self._registration = RegistrationThread(
            self,
            registry,
            self._assets,
            LeaseStore(self._need_redis(), self._names),
            self._reply,
            self._thread_failed,
        )
        self.start_update_publisher()
        self._registration.start()
        self._subscriber = RedisSubscriber(config.redis)
        self._subscriber.subscribe(
            self._names.BROKER_REGISTRATION,
            self.handle_registration_message,
            decode=lambda _channel, payload: payload,
        )
        self._subscriber.start_listening()

    def _find_account(self, deadline: float) -> None:
        """Whose orders these are: the order stream begins once that is known."""
        while self.account is None:
            try:
                self.account = self.config.rest.account()
            except RestRefused as error:
                raise BrokerRefused(f"Alpaca does not accept these keys: {error}") from error
            except RestUnavailable as error:
                if time.monotonic() > deadline:
                    log.warning("account.unknown_yet", error=str(error))
                    return
                time.sleep(0.2)
        log.info("account.found", account=self.account.label)
        self._order_stream = OrderStream(self.config.orders, self._orders, self._stream_changed)
        self._order_stream.start()

    def _await_stream(self, state: StreamState) -> None:
        if state.state == "REFUSED":
            raise BrokerRefused(f"Alpaca refuses the connection: {state.reason}")

    def _open_market(self, name: Literal["stocks", "crypto"]) -> MarketStream:
        config = self.config.stocks if name == "stocks" else self.config.crypto
        feed = self.config.feed if name == "stocks" else "crypto"
        stream = MarketStream(config, feed, self._prices, self._stream_changed, self._upstream_lost)
        stream.start()
        return stream

    def _restore_registrations(self) -> Registry:
        """Follow again what was held when the last broker ended."""
        registry = Registry(self.config.symbol_limit)
        stored = LeaseStore(self._need_redis(), self._names).load()
        registry.restore(stored, time.time_ns() // 1_000_000)
        wanted = registry.wanted()
        if wanted:
            log.info("registrations.restored", tickers=len(wanted))
            self._request_upstream("subscribe", wanted)
            self._following.update(wanted)
        return registry

    def _tear_down(self, drain: bool) -> list[str]:
        """End everything, in the order in which messages flow. Returns threads that did not."""
        deadline = time.monotonic() + self.config.stop_timeout_s
        stuck: list[str] = []
        if self._registration is not None:
            self._registration.begin_stop()
        if self._subscriber is not None:
            stuck += self._subscriber.stop(_left(deadline))
            self._subscriber.close()
        streams = [*self._market.values(), *filter(None, [self._order_stream])]
        for stream in streams:
            stream.begin_close()
        stuck += [s.thread_name for s in streams if not s.join(_left(deadline))]
        if self._registration is not None and not self._registration.join(_left(deadline)):
            stuck.append(self._registration.name)
        stuck += self._end_producers(drain, deadline)
        self._heartbeat.begin_stop()
        if not self._heartbeat.join(max(0.5, _left(deadline))):
            stuck.append(self._heartbeat.name)
        self._say_goodbye()
        return stuck

    def _end_producers(self, drain: bool, deadline: float) -> list[str]:
        for producer in self._producers:
            producer.begin_stop(drain)
        stuck = [p for p in self._producers if not p.join(_left(deadline) / 2)]
        if stuck and self._publisher is not None:
            self._publisher.give_up()  # Redis does not take the last batch
            stuck = [p for p in stuck if not p.join(max(0.5, _left(deadline)))]
        self._producers = []
        if self._update_publisher.state is State.RUNNING:
            self._update_publisher.move(State.STOPPING)
            self._update_publisher.move(State.STOPPED)
        return [producer.name for producer in stuck]

    def _say_goodbye(self) -> None:
        """The last heartbeat says STOPPED, so that nobody waits for the next."""
        if self._publisher is not None:
            if self._lifecycle.state is State.STOPPING:
                self._beat(state="STOPPED")
            self._publisher.close()
        if self._redis is not None:
            self._redis.close()

    # -- the update publisher: the producer threads

    def start_update_publisher(self) -> None:
        """Start the producer threads with all the tickers.

        Raises:
            IllegalTransition: they run already.
        """
        self._update_publisher.move(State.STARTING)
        self._publish_held()
        self._producers = [
            PriceProducer(self._prices, self.handle_price_update, self._thread_failed),
            OrderProducer(self._orders, self.handle_order_update, self._thread_failed),
        ]
        for producer in self._producers:
            producer.start()
        self._update_publisher.move(State.RUNNING)

    def stop_update_publisher(self) -> None:
        """Stop the producer threads: each finishes its batch. What arrives meanwhile waits.

        Raises:
            IllegalTransition: they do not run.
            ThreadsStillRunning: one did not end in time; they are left as they are.
        """
        self._update_publisher.move(State.STOPPING)
        for producer in self._producers:
            producer.begin_stop(drain=False)
        deadline = time.monotonic() + self.config.stop_timeout_s
        stuck = [p.name for p in self._producers if not p.join(_left(deadline))]
        if stuck:
            self._update_publisher.move(State.FAULTED, "producers did not end")
            raise ThreadsStillRunning(stuck, self.config.stop_timeout_s)
        self._producers = []
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
        pending = self._request_upstream("subscribe", symbols)
        deadline = time.monotonic() + self.config.reply_timeout_s
        rejections: dict[str, Rejection] = {}
        for stream, change in pending:
            change.wait(_left(deadline))
            stream.forget(change)
            rejections.update(_rejections(change))
        accepted = {symbol: data for symbol, data in symbols.items() if symbol not in rejections}
        if accepted:
            following = dict(self._following)
            for symbol, data in accepted.items():
                following[symbol] = following.get(symbol, frozenset()) | data
            self._restart_with(following)
        return rejections

    def unsubscribe_symbols(self, symbols: Mapping[str, frozenset[str]]) -> None:
        """Leave `symbols` (ticker -> kinds of data): stop, change, start, and then upstream."""
        following = dict(self._following)
        for symbol, data in symbols.items():
            left = following.get(symbol, frozenset()) - data
            if left:
                following[symbol] = left
            else:
                following.pop(symbol, None)
        self._restart_with(following)
        deadline = time.monotonic() + self.config.reply_timeout_s
        for stream, change in self._request_upstream("unsubscribe", symbols):
            change.wait(_left(deadline))
            stream.forget(change)

    def _request_upstream(
        self,
        action: Literal["subscribe", "unsubscribe"],
        symbols: Mapping[str, frozenset[str]],
    ) -> list[tuple[MarketStream, PendingChange]]:
        pending = []
        for name in ("stocks", "crypto"):
            crypto = name == "crypto"
            wanted = {
                symbol: self._channels(symbol, data, action)
                for symbol, data in symbols.items()
                if is_crypto(symbol) == crypto
            }
            if not wanted:
                continue
            if crypto and "crypto" not in self._market:
                self._market["crypto"] = self._open_market("crypto")
            pending.append((self._market[name], self._market[name].change(action, wanted)))
        return pending

    def _channels(
        self, symbol: str, data: frozenset[str], action: Literal["subscribe", "unsubscribe"]
    ) -> frozenset[str]:
        """Kinds of data to Alpaca's channels: a followed stock's statuses always come too."""
        if is_crypto(symbol):
            return data
        if action == "subscribe" or symbol not in self._following:
            return data | {"statuses"}
        return data

    # -- what comes in

    def handle_price_update(self, items: Sequence[Item]) -> None:
        """Market data as it came from the connections: published on each ticker's channels.

        Called by the price producer.
        """
        following, mine = self._following, []
        for message in self._translator.translate(items):
            if message.symbol in following:
                mine.append(message)
            else:
                self._hold(message)
        if mine:
            self._need_publisher().publish_batch(mine)

    def handle_order_update(self, updates: Sequence[Mapping[str, Any]]) -> None:
        """Order updates, verbatim from Alpaca: published on their symbols' channels, registered or
        not. Called by the order producer.
        """
        account = self.account
        assert account is not None, "the order stream begins once the account is known"
        messages: list[BusMessage] = []
        for update in updates:
            messages += order_messages(update, account, self._assets.pair)
        self.counters["orders_unrouted"] += sum(m.symbol == "_UNROUTED" for m in messages)
        self.counters["orders"] += len(messages)
        self._need_publisher().publish_batch(messages)

    def handle_registration_message(self, payload: bytes) -> None:
        """One message of the registration channel: answered at once if it is none, else queued.

        Called by the registration subscriber.
        """
        request = read_request(payload)
        if isinstance(request, RegistrationReply):
            self.counters["registrations_invalid"] += 1
            log.warning("registration.invalid", reason=request.reason, detail=request.detail)
            self._reply(request)
            return
        self.counters["registrations"] += 1
        assert self._registration is not None
        if not self._registration.put(request):
            self._reply(request.rejected("rate_limited", "too many requests wait"))

    def _hold(self, message: BusMessage) -> None:
        """Frames of a ticker may come between its acknowledgement and the producers' restart: they
        wait for it. Those of one that was just left are dropped there."""
        if len(self._held) < MAX_HELD_MESSAGES:
            self._held.append(message)
        else:
            self.counters["held_overflow"] += 1

    def _publish_held(self) -> None:
        held, self._held = self._held, []
        mine = [message for message in held if message.symbol in self._following]
        self.counters["dropped_after_unsubscribe"] += len(held) - len(mine)
        if mine:
            self._need_publisher().publish_batch(mine)

    def _reply(self, reply: RegistrationReply) -> None:
        try:
            self._need_publisher().publish(self._names.BROKER_REGISTRATION_REPLIES, reply)
        except RedisUnavailable as error:
            log.error("registration.reply_not_sent", ticker=reply.ticker, error=str(error))

    # -- what the threads report

    def _stream_changed(self, state: StreamState) -> None:
        if state.state == "REFUSED":
            self._refuse(f"Alpaca refuses the connection: {state.reason}")
        self._heartbeat.nudge()

    def _upstream_lost(self, symbol: str, code: int, message: str) -> None:
        self.counters["upstream_lost_tickers"] += 1

    def _thread_failed(self, name: str, error: BaseException) -> None:
        """A thread of ours ended: nothing may go on as if it had not."""
        if isinstance(error, Abandoned):
            self.counters["unconfirmed_at_stop"] += error.messages
            return
        reason = str(error) if isinstance(error, Fenced) else f"{name}: {error!r}"
        if self._lifecycle.move_if_legal(State.FAULTED, reason):
            log.error("broker.faulted", reason=reason)
        self._heartbeat.nudge()

    def _refuse(self, reason: str) -> None:
        if self._lifecycle.move_if_legal(State.REFUSED, reason):
            log.error("broker.refused", reason=reason)
        self._heartbeat.nudge()

    # -- the heartbeat

    def _beat(self, state: str | None = None) -> None:
        publisher = self._publisher
        if publisher is None:
            return
        if self._lifecycle.state in (State.RUNNING, State.DEGRADED):
            self._judge_health()
        try:
            with publisher.ordered():
                status = build_status(self._facts(publisher, state), self._activity)
                publisher.publish(self._names.BROKER_STATUS, status)
        except RedisUnavailable as error:
            log.debug("heartbeat.not_sent", error=str(error))

    def _judge_health(self) -> None:
        """RUNNING or DEGRADED: whether every stream that is needed flows, and Redis takes it."""
        publisher = self._need_publisher()
        troubles = [
            f"{name}: {stream.state.reason or stream.state.state}"
            for name, stream in self._streams()
            if stream.state.state != "LIVE"
        ]
        if self._order_stream is None:
            troubles.append("orders: the account is not known yet")
        if publisher.trouble:
            troubles.append(f"redis: {publisher.trouble}")
        target = State.DEGRADED if troubles else State.RUNNING
        if self._lifecycle.state is not target:
            self._lifecycle.move_if_legal(target, "; ".join(troubles) or None)

    def _streams(self) -> list[tuple[str, MarketStream | OrderStream]]:
        streams: list[tuple[str, MarketStream | OrderStream]] = list(self._market.items())
        if self._order_stream is not None:
            streams.append(("orders", self._order_stream))
        return streams

    def _facts(self, publisher: RedisPublisher, state: str | None) -> Facts:
        down = StreamState(state="DOWN", since_ns=self._started_ns)
        markets = [stream.state for stream in self._market.values()]
        prices = next((s for s in markets if s.state != "LIVE"), markets[0] if markets else down)
        order_stream = self._order_stream
        orders = order_stream.state if order_stream else down
        account = self.account
        return Facts(
            epoch=publisher.epoch,
            state=state or self.state,
            account_id=account.id if account else None,
            paper=self.config.rest.paper,
            started_ns=self._started_ns,
            version=__version__,
            prices=prices,
            orders=orders,
            orders_ready=orders.state == "LIVE",
            last_order_ns=order_stream.last_event_ns if order_stream else 0,
            lag_ms=self._lag_ms(),
            seqs=publisher.seqs(),
            following=frozenset(self._following),
            counters=self._all_counters(publisher),
            journal={"max_per_ticker": publisher.journal_bound},
        )

    def _lag_ms(self) -> float | None:
        translator = self._translator
        if not translator.last_trade_ns:
            return None
        return round((translator.last_received_ns - translator.last_trade_ns) / 1e6, 1)

    def _all_counters(self, publisher: RedisPublisher) -> dict[str, int]:
        buffer = self._prices.counters
        counters = {
            **publisher.counters,
            **self.counters,
            **self._translator.counters,
            "frames": buffer.frames,
            "frame_bytes": buffer.bytes,
            "folded_messages": buffer.folded_messages,
            "orders_waiting": self._orders.waiting(),
        }
        for name, stream in self._streams():
            counters |= {f"{name}_{counter}": n for counter, n in stream.counters.items()}
        return counters

    # -- small

    def _need_publisher(self) -> RedisPublisher:
        if self._publisher is None:
            raise BrokerNotReady("the broker is not connected to Redis: start it first")
        return self._publisher

    def _need_redis(self) -> redis.Redis:
        if self._redis is None:
            raise BrokerNotReady("the broker is not connected to Redis: start it first")
        return self._redis

    def _account_label(self) -> str:
        return self.account.label if self.account else "unknown yet"


def _left(deadline: float) -> float:
    """Seconds to a deadline, never below 0."""
    return max(0.0, deadline - time.monotonic())


_REASONS: Final = {
    400: "unknown_ticker",
    405: "symbol_limit",
    409: "insufficient_subscription",
    410: "insufficient_subscription",
}


def _rejections(change: PendingChange) -> dict[str, Rejection]:
    """For each symbol of a change that Alpaca does not follow, why."""
    found = {
        symbol: Rejection(
            reason=_REASONS.get(code, "upstream_unavailable"),
            detail=f"Alpaca: {code} {message}" if code else f"Alpaca: {message}",
        )
        for symbol, (code, message) in change.rejected.items()
    }
    for symbol in change.open:
        detail = "Alpaca did not acknowledge it in time"
        found[symbol] = Rejection(reason="upstream_unavailable", detail=detail)
    return found
