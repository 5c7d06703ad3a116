"""The broker's figures: what it counts anyway, read when Prometheus asks and not before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..alpaca_broker import AlpacaBroker
from ..alpaca_broker.lifecycle import State
from ..alpaca_broker.parts import Parts
from ..alpaca_broker.registry import is_crypto
from .counted import BY_STREAM, COUNTED
from .families import (
    counter,
    counters,
    gauge,
    gauges,
    histogram,
    histograms,
    one_of,
)

# What may be counted by a label is there from the start: an increase from nothing is not seen.
GAP_CAUSES: Final = (
    "upstream_disconnected",
    "upstream_slow",
    "redis_unavailable",
    "broker_restart",
    "overload",
)
DISCONNECT_CAUSES: Final = (
    "closed",
    "no_answer",
    "handshake",
    "timeout",
    "network",
    "renewed",
    "fault",
)
REDIS_ERRORS: Final = ("unavailable", "oom", "readonly", "noreplicas", "misconf", "loading")
STREAM_STATES: Final = ("CONNECTING", "LIVE", "QUIET", "LAGGING", "MUTE", "DOWN", "REFUSED")


class BrokerCollector(Collector):
    """Reads one broker. Holds no lock of it for longer than a copy takes."""

    def __init__(self, broker: AlpacaBroker, symbol_limit: int) -> None:
        self._broker, self._symbol_limit = broker, symbol_limit
        self._most_folded = 0

    def describe(self) -> list[Metric]:
        """Nothing: registering must not read a broker that is not started."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every family. What needs a run is left out while there is none."""
        yield from self._of_broker()
        parts = self._broker.parts
        if parts is None:
            return
        yield from self._of_counters(parts)
        yield from self._of_streams(parts)
        yield from self._of_hops(parts)
        yield from self._of_redis(parts)
        yield from self._of_queues(parts)
        yield from self._of_tickers(parts)

    def _of_broker(self) -> Iterator[Metric]:
        broker = self._broker
        yield gauges(
            "build_info", "Always 1; the version is its label.", ["version"], {(__version__,): 1}
        )
        states = one_of((state.value for state in State), broker.state)
        yield gauges("broker_state", "1 for the state of now, 0 for others.", ["state"], states)
        parts = broker.parts
        leads = parts is not None and parts.leadership is not None
        leads = leads and broker.state in ("STARTING", "RUNNING", "DEGRADED", "STOPPING")
        yield gauge("broker_leader", "1 while this process owns Alpaca's connection.", leads)
        if broker.beaten_s:
            age_s = time.monotonic() - broker.beaten_s
            yield gauge("heartbeat_age_seconds", "Since the heartbeat thread worked last.", age_s)

    def _of_counters(self, parts: Parts) -> Iterator[Metric]:
        counted = self._broker.status.counters(parts)
        # A fold of folds is counted anew; what Prometheus sees must never fall.
        self._most_folded = max(self._most_folded, counted["folded_messages"])
        counted["folded_messages"] = self._most_folded
        for each in COUNTED:
            if not each.label:
                total = sum(counted.get(source, 0) for source in each.sources)
                yield counter(each.name, each.says, total)
                continue
            values = {(value,): counted.get(source, 0) for source, value in each.sources.items()}
            yield counters(each.name, each.says, [each.label], values)
        for source, (name, says) in BY_STREAM.items():
            streams = [stream for stream, _ in parts.upstreams.all()]
            values = {(stream,): counted.get(f"{stream}_{source}", 0) for stream in streams}
            yield counters(name, says, ["stream"], values)
        gaps = {(cause, refilled): 0 for cause in GAP_CAUSES for refilled in ("true", "false")}
        for (cause, refilled), number in dict(parts.price_desk.gaps).items():
            gaps[cause, str(refilled).lower()] = number
        says = "Gaps told on ticker channels: a ticker's messages may be missing, or were refilled."
        yield counters("gaps", says, ["cause", "refilled"], gaps)

    def _of_streams(self, parts: Parts) -> Iterator[Metric]:
        streams = parts.upstreams.all()
        verdicts = self._broker.status.verdicts()
        states: dict[tuple[str, ...], float] = {}
        causes: dict[tuple[str, ...], float] = {}
        for name, stream in streams:
            now = stream.state.state
            if now == "LIVE" and name in verdicts:
                now = verdicts[name].stream
            states |= {(name, state): float(state == now) for state in STREAM_STATES}
            counted = dict.fromkeys(DISCONNECT_CAUSES, 0) | dict(stream.causes)
            causes |= {(name, cause): number for cause, number in counted.items()}
        says = "1 for the state of now, 0 for others."
        yield gauges("upstream_state", says, ["stream", "state"], states)
        says = "Connections to Alpaca that were lost, by cause."
        yield counters("upstream_disconnects", says, ["stream", "cause"], causes)
        sessions = {(name,): float(stream.sessions) for name, stream in streams}
        yield counters("upstream_sessions", "Sign-ins that succeeded.", ["stream"], sessions)
        ready = self._broker.status.orders_ready(parts)
        yield gauge("orders_ready", "1 while no order event can be missing.", ready)

    def _of_hops(self, parts: Parts) -> Iterator[Metric]:
        hops = self._broker.hops
        says = "From a trade to its arrival at the broker: the newest of each batch."
        yield histograms("alpaca_to_broker_seconds", says, "feed", list(hops.from_alpaca.items()))
        says = "From a frame's arrival to Redis's confirmation: the oldest of each batch."
        yield histogram("broker_to_redis_seconds", says, hops.to_redis)
        says = "From a batch's sending, perhaps behind another, to Redis's confirmation."
        yield histogram("redis_round_trip_seconds", says, parts.publisher.round_trips)
        says = "Messages of a batch; its count is the number of batches."
        yield histogram("batch_messages", says, parts.publisher.batch_sizes)
        says = "Bytes of confirmed batches, as sent to Redis."
        yield counter("published_bytes", says, parts.publisher.bytes_sent)

    def _of_redis(self, parts: Parts) -> Iterator[Metric]:
        publisher = parts.publisher
        hears = publisher.trouble is None and self._broker.status.redis_hears
        yield gauge("redis_up", "1 while Redis takes batches and heartbeats.", hears)
        counted = dict.fromkeys(REDIS_ERRORS, 0) | dict(publisher.errors)
        errors = {(word,): float(number) for word, number in counted.items()}
        says = "Batches that Redis did not take, by its own word for the error."
        yield counters("redis_errors", says, ["error"], errors)
        bound = publisher.journal_bound
        yield gauge("journal_bound_entries", "Entries each ticker's journal may hold.", bound)

    def _of_queues(self, parts: Parts) -> Iterator[Metric]:
        size, age_s = parts.prices.waiting()
        yield gauge("price_queue_bytes", "Market-data frames that wait.", size)
        yield gauge("price_queue_age_seconds", "How long the oldest has waited.", age_s)
        requests = 0
        if parts.registration is not None:
            requests, leases = parts.registration.figures()
            yield gauge("leases", "Registrations: one for each ticker and holder.", leases)
        waiting = {("orders",): float(parts.orders.waiting()), ("registrations",): float(requests)}
        yield gauges("queue_messages", "Messages that wait.", ["queue"], waiting)

    def _of_tickers(self, parts: Parts) -> Iterator[Metric]:
        following = self._broker.following()
        pairs = sum(map(is_crypto, following))
        followed = {("stocks",): float(len(following) - pairs), ("crypto",): float(pairs)}
        yield gauges("followed_tickers", "Tickers followed at Alpaca.", ["stream"], followed)
        says = "Tickers that one stream may follow by the plan; 0 means no limit."
        yield gauge("symbol_limit", says, self._symbol_limit)
        verdicts = self._broker.status.verdicts().values()
        found = [state for verdict in verdicts for state in verdict.tickers.values()]
        counts = {(state,): float(found.count(state)) for state in STREAM_STATES}
        yield gauges("tickers", "Followed tickers by state.", ["state"], counts)
