"""The named thread that obeys the state table: it waits for the leadership, brings a run up, waits
for its end, and tears it down. Only a superseded broker, or one whose Redis went away while it was
brought up, begins another run; everything else ends with the first.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

import redis
import structlog

from ..utils.redis.config import backoff_delays, is_passing
from ..utils.redis.errors import Abandoned, Fenced, RedisUnavailable
from ..utils.redis.order_memory import KEPT
from ..utils.redis.ready import check_broker_redis
from ..utils.redis.subscriber import RedisSubscriber
from ..utils.tracebacks import plain_traceback
from .errors import BrokerNotReady, BrokerRefused
from .heartbeat import Heartbeat
from .leadership import Leadership, Standing
from .lifecycle import State
from .order_desk import OrderDesk
from .parts import Parts, make_parts
from .reconcile import load_ledger
from .registry import Registry
from .rest import RestRefused, RestUnavailable
from .rounds import RegistrationThread
from .streams import PendingChange
from .upstreams import channels_of

if TYPE_CHECKING:
    from .broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus.broker")

_SEEK_EVERY_S: Final = 0.25
_RETRY_S: Final = 1.0
_FAREWELL_S: Final = 1.2  # of the time to stop: the last heartbeat, and the hand-over


class Life:
    """One start of one broker, to its stop."""

    name = "lifecycle"

    def __init__(self, broker: AlpacaBroker) -> None:
        self.error: BaseException | None = None
        self.heartbeat = Heartbeat(broker.beat, broker.config.heartbeat_s, broker.look)
        self._broker, self._config, self._lifecycle = broker, broker.config, broker.lifecycle
        self._ending = threading.Event()  # the present run is to end: a stop, a fault, superseded
        self._drain = False
        self._last_word = "STOPPED"
        self._stuck: list[str] = []
        self._thread = threading.Thread(target=self._live, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end_run(self) -> None:
        """The present run is over; what follows is told by the state."""
        self._ending.set()
        self.heartbeat.nudge()

    def end(self, drain: bool, last_word: str) -> list[str]:
        """The broker is stopping, and its last heartbeat says `last_word`. Returns the threads
        that did not end in time.
        """
        self._drain, self._last_word = drain, last_word
        self.end_run()
        self._thread.join(self._config.stop_timeout_s + 1.0)
        return self._stuck + ([self.name] if self._thread.is_alive() else [])

    def _live(self) -> None:
        broker = self._broker
        try:
            broker.parts = self._first_connect_redis()
            self.heartbeat.start()
            while self._run_once():
                broker.parts = None
                while broker.parts is None and not self._ending.is_set():
                    broker.parts = self._try_redis()
        except BrokerRefused as refusal:
            self.error = refusal
            broker.refuse(str(refusal))
            self._ending.wait()
        except (RedisUnavailable, BrokerNotReady) as error:
            self.error = error
            if self._lifecycle.state is not State.STARTING:
                # Nobody waits in `start` for this error any more: the state has to tell it.
                self._fault(str(error))
        except Exception as error:  # the supervisor of this thread
            log.error("broker.failed", traceback=plain_traceback())
            self.error = error
            self._fault(repr(error))
        finally:
            self._wind_up()
            if not broker.order_record.close(0.5):
                log.warning("order_record.not_closed")  # the disk does not answer

    def _fault(self, reason: str) -> None:
        """Say so until somebody stops us."""
        if self._lifecycle.move_if_legal(State.FAULTED, reason):
            self._ending.wait()

    def _run_once(self) -> bool:
        """One run. Returns whether another is to follow."""
        parts = self._broker.parts
        if parts is None or not (self._find_account() and self._seek_leadership(parts)):
            return False
        self._broker.reset_update_publisher()
        try:
            self._bring_up(parts)
        except (redis.RedisError, RedisUnavailable, Fenced) as error:
            log.warning("broker.bring_up_failed", error=str(error))
            self._lifecycle.explain(f"it cannot be brought up: {error}")
            self._release_leadership(parts)
            self._tear_down(parts)
            return not self._ending.wait(_RETRY_S)
        if not self._ending.is_set():
            self._lifecycle.move_if_legal(State.RUNNING)
            self._broker.status.judge_health()
            account = self._broker.account
            log.info(
                "broker.running",
                account=account.label if account else None,
                tickers=len(self._broker.following()),
            )
        self._ending.wait()
        if self._lifecycle.state is not State.STANDBY:
            return False
        log.warning("broker.superseded", reason=self._lifecycle.reason)
        self._release_leadership(parts)  # only if it is still ours: fenced all the same
        self._ending.clear()
        self._tear_down(parts)
        return self._lifecycle.state is State.STANDBY

    def _wind_up(self) -> None:
        """End everything, and say so with the last heartbeat."""
        parts = self._broker.parts
        if parts is None:
            self._lifecycle.move_if_legal(State.STOPPING)
            self._lifecycle.move_if_legal_from(State.STOPPING, State.STOPPED)
            return
        ended_by_itself = self._lifecycle.move_if_legal_from(State.STARTING, State.STOPPING)
        end_by = time.monotonic() + self._config.stop_timeout_s
        self.heartbeat.begin_stop()
        self._tear_down(parts, keep_redis=True)
        if not self.heartbeat.join(0.5):
            parts.publisher.give_up()  # Redis hears nothing: it need not be tried twice
            if not self.heartbeat.join(_left(end_by)):
                self._stuck.append(self.heartbeat.name)
        status = self._broker.status
        # A Redis that took no heartbeat would only keep us from ending in time.
        if status.redis_hears and status.may_speak():
            status.publish(self._last_word if self._lifecycle.state is State.STOPPING else None)
        if status.redis_hears:
            self._release_leadership(parts)
        parts.close()
        if ended_by_itself:
            self._lifecycle.move(State.STOPPED)

    def _release_leadership(self, parts: Parts) -> None:
        """Hand over at once, instead of letting a standby wait."""
        if parts.leadership is not None:
            try:
                parts.leadership.release()
            except redis.RedisError as error:
                log.warning("leadership.not_released", error=str(error))

    def _first_connect_redis(self) -> Parts | None:
        """Who forgot Redis is told at once. One that is frozen, busy or loading is waited for;
        None when it is time to end."""
        delays, told = backoff_delays(0.1, 0.5), ""
        while not self._ending.is_set():
            try:
                return self._connect_redis()
            except RedisUnavailable as error:
                if not is_passing(error.cause):
                    raise
                if str(error) != told:
                    log.warning("broker.waits_for_redis", error=str(error))
                told = str(error)
                self._ending.wait(next(delays))
        return None

    def _connect_redis(self) -> Parts:
        parts = make_parts(
            self._config,
            self._broker.stream_changed,
            self._broker.upstream_lost,
            self._broker.following,
            self._broker.order_memory,
            self._broker.order_record,
        )
        secured = self._config.registration_secured
        try:
            problems = check_broker_redis(parts.redis, parts.names, secured=secured)
        except redis.RedisError as error:
            parts.close()
            raise RedisUnavailable(self._config.redis.address, error) from error
        if problems:
            parts.close()
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise BrokerNotReady(
                f"Redis at {self._config.redis.address} cannot carry the bus:\n{listed}"
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
        delays, told = backoff_delays(0.25, 5.0), ""
        while self._broker.account is None:
            try:
                self._broker.account = self._config.rest.account()
                log.info("account.found", account=self._broker.account.label)
            except RestRefused as error:
                raise BrokerRefused(f"Alpaca does not accept these keys: {error}") from error
            except RestUnavailable as error:
                if str(error) != told:
                    log.warning("account.unknown_yet", error=str(error))
                told = str(error)
                if self._ending.wait(next(delays)):
                    return False
        return not self._ending.is_set()

    def _seek_leadership(self, parts: Parts) -> bool:
        """Wait until this process owns the account's connection; False when it is time to end."""
        assert self._broker.account is not None
        leadership = Leadership(parts.redis, parts.names, self._broker.account.id)
        trouble: str | None = None
        while not self._ending.is_set():
            try:
                standing, trouble = leadership.seek(), None
            except redis.RedisError as error:
                if trouble is None:
                    log.warning("leadership.redis_away", error=str(error))
                standing, trouble = Standing.WAITING, str(error)
            if standing in (Standing.OWNER, Standing.RETAKEN):
                self._lifecycle.move_if_legal_from(State.STANDBY, State.STARTING)
                self._name_connection(parts, self._config.redis.client_name)
                parts.leadership = leadership
                return True
            if standing is Standing.FOREIGN and self._lifecycle.state is not State.STANDBY:
                raise BrokerNotReady(
                    "another account's broker is alive under this prefix: set BUS_PREFIX, "
                    f"or stop {leadership.holder}"
                )
            reason = f"{leadership.holder or 'another broker'} owns the connection"
            if self._lifecycle.state is not State.STANDBY and self._lifecycle.move_if_legal(
                State.STANDBY, reason
            ):
                log.info("broker.standby", reason=reason)
            self._name_connection(parts, "tickerbus-standby")
            self._ending.wait(_SEEK_EVERY_S)
        return False

    def _name_connection(self, parts: Parts, name: str) -> None:
        """Who lists Redis's clients sees by it that a standby waits."""
        with contextlib.suppress(redis.RedisError):
            parts.redis.client_setname(name)

    def _bring_up(self, parts: Parts) -> None:
        """Connect to Alpaca, and start all that publishes."""
        config, account = self._config, self._broker.account
        assert account is not None
        deadline = time.monotonic() + config.start_timeout_s
        self._broker.order_record.open(parts.names, account.id)
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
        if self._ending.is_set() or not self._still_leads(parts):
            return
        # Only now: a broker that Alpaca refuses must not take the epoch from one that runs.
        assert parts.leadership is not None
        self._learn_what_was_told(parts)
        parts.order_desk = OrderDesk(account, parts.ledger, parts.assets.pair)
        registry, restored = self._restore_registrations(parts)
        parts.registration = RegistrationThread(
            self._broker,
            registry,
            parts.assets,
            parts.store,
            self._broker.reply,
            self._broker.thread_failed,
            lambda: self._broker.status.redis_hears,
        )
        parts.registration.await_restored(restored)
        self._broker.start_update_publisher()
        parts.registration.start()
        parts.subscriber = self._listen(parts)

    def _learn_what_was_told(self, parts: Parts) -> None:
        """By this process and by others: what it remembers, its record, the order journals."""
        assert parts.leadership is not None
        record, publisher = self._broker.order_record, parts.publisher
        recorded, _ = record.load()
        # Before the epoch: a Redis that was emptied gets the order journals back with it.
        publisher.remember_orders([*recorded, *publisher.remembered_orders()])
        publisher.open_epoch(parts.leadership.value)
        known = publisher.remembered_orders()
        told = load_ledger(parts.redis, parts.names, parts.ledger, known)
        publisher.remember_orders(told)
        known_there = set(recorded)
        for entry in told[-KEPT:]:
            if entry not in known_there:
                record.note(entry)

    def _still_leads(self, parts: Parts) -> bool:
        """Whether nobody took over while Alpaca was being reached (this process may have slept)."""
        assert parts.leadership is not None
        if parts.leadership.renew() in (Standing.OWNER, Standing.RETAKEN):
            return True
        self._broker.supersede(f"{parts.leadership.holder} took the leadership")
        return False

    def _listen(self, parts: Parts) -> RedisSubscriber:
        channel = parts.names.BROKER_REGISTRATION
        subscriber = RedisSubscriber(self._config.redis)
        if self._config.registration_secured:
            prefix = f"{channel}."
            subscriber.subscribe(
                f"{prefix}*",
                lambda message: self._broker.handle_registration_message(*message),
                decode=lambda name, payload: (payload, name.removeprefix(prefix)),
            )
            # Heard, and not served: by its listeners others see that a broker is alive.
            subscriber.subscribe(channel, self._broker.ignore_unsecured, decode=lambda *_: True)
        else:
            subscriber.subscribe(
                channel,
                self._broker.handle_registration_message,
                decode=lambda _channel, body: body,
            )
        subscriber.start_listening()
        return subscriber

    def _restore_registrations(self, parts: Parts) -> tuple[Registry, list[PendingChange]]:
        """Follow again what was held when the last broker ended, and tell the time between."""
        registry = Registry(self._config.symbol_limit)
        registry.restore(parts.store.load(), time.time_ns() // 1_000_000)
        wanted = registry.wanted()
        self._broker.set_following(wanted)
        pending: list[PendingChange] = []
        # Who comes back, where nothing was found, was there before a broker's end.
        parts.absence.begin(0 if wanted else parts.inquiry.left_off_ns)
        if wanted:
            log.info("registrations.restored", tickers=len(wanted))
            channels = {t: channels_of(t, data, with_statuses=True) for t, data in wanted.items()}
            tell = parts.absence.teller(wanted)
            requests = parts.upstreams.request("subscribe", channels, tell)
            pending = [change for _, change in requests]
        return registry, pending

    def _tear_down(self, parts: Parts, keep_redis: bool = False) -> None:
        """End the run, in the order in which messages flow."""
        deadline = time.monotonic() + self._config.stop_timeout_s - _FAREWELL_S
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
        """No change of tickers may start producers again behind our back."""
        changing = self._broker.changing
        if not changing.acquire(timeout=_left(deadline) / 2):
            parts.publisher.give_up()  # the change waits for a batch that Redis does not take
            if not changing.acquire(timeout=max(0.5, _left(deadline))):
                return ["registration"]
        try:
            return self._end_producers_now(parts, deadline)
        finally:
            changing.release()

    def _end_producers_now(self, parts: Parts, deadline: float) -> list[str]:
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
        self._broker.reset_update_publisher()
        return [producer.name for producer in stuck]


def _left(deadline: float) -> float:
    """Seconds to a deadline, never below 0."""
    return max(0.0, deadline - time.monotonic())
