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
from ..utils.redis.errors import Fenced, RedisUnavailable
from ..utils.redis.ready import check_broker_redis
from ..utils.tracebacks import plain_traceback
from .bring_up import BringUp
from .errors import BrokerNotReady, BrokerRefused
from .heartbeat import Heartbeat
from .leadership import Leadership, Standing
from .lifecycle import State
from .parts import Parts, make_parts
from .rest import RestRefused, RestUnavailable
from .tear_down import TearDown
from .workers import left_s

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
        self._broker.update_publisher.reset()
        try:
            BringUp(self._broker, parts, self._ending).run()
        except (redis.RedisError, RedisUnavailable, Fenced) as error:
            log.warning("broker.bring_up_failed", error=str(error))
            self._lifecycle.explain(f"it cannot be brought up: {error}")
            self._release_leadership(parts)
            self._tear_down(parts)
            parts.close()
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
        parts.close()
        return self._lifecycle.state is State.STANDBY

    def _wind_up(self) -> None:
        """End everything, and say so with the last heartbeat."""
        parts = self._broker.parts
        if parts is None:
            if self._lifecycle.move_if_legal_from(State.STARTING, State.STOPPING):
                self._lifecycle.move(State.STOPPED)
            self.heartbeat.begin_stop()
            self.heartbeat.join(0.5)
            return
        ended_by_itself = self._lifecycle.move_if_legal_from(State.STARTING, State.STOPPING)
        end_by = time.monotonic() + self._config.stop_timeout_s
        self.heartbeat.begin_stop()
        self._tear_down(parts)
        if not self.heartbeat.join(0.5):
            parts.publisher.give_up()  # Redis hears nothing: it need not be tried twice
            if not self.heartbeat.join(left_s(end_by)):
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

    def _tear_down(self, parts: Parts) -> None:
        within_s = self._config.stop_timeout_s - _FAREWELL_S
        ending = TearDown(self._broker, parts, within_s=within_s, drain=self._drain)
        self._stuck += ending.run()
