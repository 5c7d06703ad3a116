"""One run of the broker is brought up: from an account and a leadership to messages that flow."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from ..utils.redis.subscriber import RedisSubscriber
from .connection import Upstream
from .errors import BrokerRefused
from .leadership import Standing
from .order_desk import OrderDesk
from .parts import Parts
from .pending_change import PendingChange
from .registry import Registry
from .rounds import RegistrationThread
from .told_before import load_ledger
from .upstreams import channels_of

if TYPE_CHECKING:
    from .broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus.broker")


class BringUp:
    """Used by the lifecycle thread."""

    def __init__(self, broker: AlpacaBroker, parts: Parts, ending: threading.Event) -> None:
        """`ending`: the run is to end, and need not be brought up any more."""
        self._broker, self._config = broker, broker.config
        self._parts, self._ending = parts, ending

    def run(self) -> None:
        """Connect to Alpaca, and start all that publishes. Unless the run is to end, it leads then.

        Raises:
            BrokerRefused: Alpaca does not want us.
            redis.RedisError, RedisUnavailable, Fenced: Redis went away, or another broker came.
        """
        parts = self._parts
        config, account = self._config, self._broker.account
        assert account is not None
        deadline = time.monotonic() + config.start_timeout_s
        self._broker.order_record.open(parts.names, account.id)
        parts.reconciler.start()
        parts.recovery.start()
        for stream in (parts.upstreams.open_market("stocks"), parts.upstreams.open_orders()):
            self._wait_for(stream, deadline)
        if self._ending.is_set() or not self._still_leads():
            return
        # Only now: a broker that Alpaca refuses must not take the epoch from one that runs.
        assert parts.leadership is not None
        self._learn_what_was_told()
        parts.order_desk = OrderDesk(account, parts.ledger, parts.assets.pair)
        registry, restored = self._restore_registrations()
        parts.registration = RegistrationThread(
            self._broker,
            registry,
            parts.assets,
            parts.store,
            self._broker.registrations.reply,
            self._broker.thread_failed,
            lambda: self._broker.status.redis_hears,
        )
        parts.registration.await_restored(restored)
        self._broker.start_update_publisher()
        parts.registration.start()
        self._listen()

    def _wait_for(self, stream: Upstream, deadline_s: float) -> None:
        while not self._ending.is_set() and time.monotonic() < deadline_s:
            state = stream.wait_until_settled(0.1)
            if state.state == "REFUSED":
                raise BrokerRefused(f"Alpaca refuses the connection: {state.reason}")
            if state.state == "LIVE":
                return

    def _learn_what_was_told(self) -> None:
        """By this process and by others: what it remembers, its record, the order journals."""
        parts = self._parts
        assert parts.leadership is not None
        record, publisher = self._broker.order_record, parts.publisher
        recorded = record.load()
        # Before the epoch: a Redis that was emptied gets the order journals back with it.
        publisher.remember_orders([*recorded, *publisher.remembered_orders()])
        publisher.open_epoch(parts.leadership.value)
        known = publisher.remembered_orders()
        told = load_ledger(parts.redis, parts.names, parts.ledger, known)
        publisher.remember_orders(told)
        known_there = set(recorded)
        for entry in told:
            if entry not in known_there:
                record.note(entry)

    def _still_leads(self) -> bool:
        """Whether nobody took over while Alpaca was being reached (this process may have slept)."""
        parts = self._parts
        assert parts.leadership is not None
        if parts.leadership.renew() in (Standing.OWNER, Standing.RETAKEN):
            return True
        self._broker.supersede(f"{parts.leadership.holder} took the leadership")
        return False

    def _listen(self) -> None:
        channel = self._parts.names.BROKER_REGISTRATION
        # Known before it listens: what fails below is ended with the rest, and hears no more.
        subscriber = self._parts.subscriber = RedisSubscriber(self._config.redis)
        if self._config.registration_secured:
            prefix = f"{channel}."
            subscriber.subscribe(
                f"{prefix}*",
                lambda message: self._broker.handle_registration_message(*message),
                decode=lambda name, payload: (payload, name.removeprefix(prefix)),
            )
            # Heard, and not served: by its listeners others see that a broker is alive.
            subscriber.subscribe(
                channel, self._broker.registrations.ignore_unsecured, decode=lambda *_: True
            )
        else:
            subscriber.subscribe(
                channel,
                self._broker.handle_registration_message,
                decode=lambda _channel, body: body,
            )
        subscriber.start_listening()

    def _restore_registrations(self) -> tuple[Registry, list[PendingChange]]:
        """Follow again what was held when the last broker ended, and tell the time between."""
        parts = self._parts
        registry = Registry(self._config.symbol_limit)
        registry.restore(parts.store.load(), time.time_ns() // 1_000_000)
        wanted = registry.wanted()
        self._broker.set_following(wanted)
        pending: list[PendingChange] = []
        # Who comes back, where nothing was found, was there before a broker's end.
        parts.absence.begin(0 if wanted else parts.inquiry.left_off_ns, restored=wanted)
        if wanted:
            log.info("registrations.restored", tickers=len(wanted))
            channels = {t: channels_of(t, data, with_statuses=True) for t, data in wanted.items()}
            tell = parts.absence.teller(wanted)
            requests = parts.upstreams.request("subscribe", channels, tell)
            pending = [change for _, change in requests]
        return registry, pending
