"""The stage of the benchmark: real Valkey, local Alpaca, broker, readers; and their CPU."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.constants import get_ticker_channel
from main.utils.redis.messages import PriceMessage, decode_typed

from .cpu import Clockwork
from .readers import Expectation, Found, read_plainly
from .smoke import Ear, broker_process, environment
from .upstream import local_alpaca
from .worker import Worker

BUS_ID = b'"trade_id":'
PER_S = 500_000.0


def names(letter: str, count: int) -> list[str]:
    """Tickers that exist nowhere else: `A000`, `A001`, …"""
    return [f"{letter}{number:04d}" for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run: deliveries a second, CPU microseconds per message of each process, and bytes."""

    per_s: float
    cpu_us: dict[str, float]
    body_bytes: float
    batch: float = 0.0


class RunFailed(Exception):
    """A message was missing, repeated or out of order: nothing was measured."""


@dataclass(kw_only=True)
class Stage:
    """What is up for the whole benchmark."""

    valkey: EmbeddedValkey
    upstream: Worker
    broker_pid: int
    client: redis.Redis
    _exits: contextlib.ExitStack = field(repr=False)

    @property
    def stream_url(self) -> str:
        return str(self.upstream.first_word.data_stream_url)

    def another_valkey(self) -> EmbeddedValkey:
        """For the limits: their epoch must not be the broker's."""
        return self._exits.enter_context(EmbeddedValkey())

    def keep(self, worker: Worker) -> Worker:
        """End it with the stage."""
        return self._exits.enter_context(worker)

    def follow(self, tickers: Sequence[str], tries: int = 8) -> None:
        """Register with the broker for a day. What a loaded machine did not answer in time is asked
        for again."""
        for start in range(0, len(tickers), 500):
            missing = set(tickers[start : start + 500])
            for _ in range(tries):
                if not (missing := self._ask_for(missing)):
                    break
            else:
                raise RunFailed(f"not accepted: {len(missing)} tickers")

    def _ask_for(self, tickers: Iterable[str]) -> set[str]:
        """Ask once, and wait for every reply; those that were not accepted."""
        ear = Ear(self.client, "BROKER_REGISTRATION_REPLIES")
        unanswered, missing = set(tickers), set(tickers)

        def is_last(reply: Mapping[str, Any]) -> bool:
            if reply["status"] == "accepted":
                missing.discard(reply["ticker"])
            elif reply["reason"] != "upstream_unavailable":
                raise RunFailed(f"registration: {reply}")
            unanswered.discard(reply["ticker"])
            return not unanswered

        for ticker in tickers:
            # As many clients as tickers: one that asks for thousands at once is slowed down.
            lease = {"client_id": f"bench-{ticker}", "lease_s": 86_400}
            request = {"action": "subscribe", "ticker": ticker} | lease
            self.client.publish("BROKER_REGISTRATION", json.dumps(request))
        with contextlib.suppress(TimeoutError):
            ear.wait_for(is_last, 30)
        ear.close()
        return missing

    def broker_counters(self) -> dict[str, int]:
        """What the broker says of itself next."""
        pubsub = self.client.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe("BROKER_STATUS")
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            message = pubsub.get_message(timeout=1)
            if message is not None:
                pubsub.close()
                return dict(json.loads(message["data"])["counters"])
        raise RunFailed("the broker is silent")

    def sample_trade(self, ticker: str) -> PriceMessage:
        """A message as the broker published it, without its number."""
        entry: Any = self.client.xrevrange(f"TICKER_LOG_{ticker}", count=1)
        message = decode_typed(entry[0][1][b"m"])
        assert isinstance(message, PriceMessage)
        return PriceMessage(
            **{
                name: getattr(message, name)
                for name in message.__struct_fields__
                if name not in ("epoch", "seq")
            }
        )

    def blast(
        self,
        tickers: Sequence[str],
        count: int,
        per_frame: int,
        reader: Worker,
        pids: Mapping[str, int],
        expected: Expectation,
        *,
        per_s: float = PER_S,
        timeout_s: float = 90.0,
    ) -> tuple[Sample, Found]:
        """Frames for these tickers, and what of them the reader got."""
        shared = {"local Alpaca": self.upstream.pid, "Redis": self.valkey.pid, "reader": reader.pid}
        clockwork = Clockwork(shared | dict(pids))
        reader.tell(expected)
        report = self.upstream.ask(list(tickers), count, per_s, per_frame, timeout_s=timeout_s)
        if report.connections != 1:
            raise RunFailed(f"{report.connections} connections follow these tickers, not one")
        found = reader.answer(timeout_s)
        return make_sample(found, expected, count, clockwork), found


def make_sample(found: Found, expected: Expectation, count: int, clockwork: Clockwork) -> Sample:
    if found.faults or found.deliveries != expected.deliveries:
        raise RunFailed(f"{found.deliveries} of {expected.deliveries} came. {found.faults[:3]}")
    spent = {name: s / count * 1e6 for name, s in clockwork.spent().items()}
    return Sample(per_s=found.per_s, cpu_us=spent, body_bytes=found.mean_bytes)


def plain_reader(
    port: int, tickers: Sequence[str], channel: Callable[[str], str] = get_ticker_channel
) -> Worker:
    return Worker(read_plainly, port, [[channel(ticker) for ticker in tickers]])


@contextlib.contextmanager
def open_stage(tickers: Sequence[str], data_stream_port: int | None = None) -> Iterator[Stage]:
    """Valkey, a local Alpaca that knows these tickers, and a broker, running."""
    with contextlib.ExitStack() as exits:
        valkey = exits.enter_context(EmbeddedValkey())
        upstream = exits.enter_context(Worker(local_alpaca, tickers))
        client = redis.Redis(port=valkey.port, protocol=2)
        exits.callback(client.close)
        ear = Ear(client, "BROKER_STATUS")
        variables = environment(valkey.port, upstream.first_word)
        if data_stream_port is not None:
            variables["ALPACA_DATA_STREAM_URL"] = f"ws://127.0.0.1:{data_stream_port}"
        broker_pid = exits.enter_context(broker_process(variables))
        ear.wait_for(lambda status: status["state"] in ("RUNNING", "DEGRADED"), 20)
        ear.close()
        yield Stage(
            valkey=valkey, upstream=upstream, broker_pid=broker_pid, client=client, _exits=exits
        )
