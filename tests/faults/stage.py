"""The stage of one fault: real processes, brought up, watched, and cleared away.

local Alpaca <== cables: data, trading, rest ==> broker <== cable ==> Valkey <== cables ==> readers
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import redis

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.alpaca_sim.venue_config import VenueConfig
from main.embedded_valkey import EmbeddedValkey
from main.holders import read_holders
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import parse_rfc3339, rfc3339

from .cable import Cable
from .judge import Book, Happened, OrderHappened
from .lines import LineFile, order_fields
from .observer import Observer
from .orders import OrderFlow
from .planted import KEYS, REDIS_PASSWORD, REDIS_USER, USER_RULES
from .programs import Program
from .sentinel import MASTER, Sentinel

T = TypeVar("T")
NANO = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What differs from stage to stage. Times in seconds, rates in trades a second and ticker."""

    tickers: tuple[str, ...] = ("AAPL", "MSFT", "NVDA")
    rate: float = 10.0
    orders_per_s: float = 4.0
    seed: int = 1
    zombie_slot_s: float = 1.0
    symbol_limit: int = 30
    valkey: tuple[str, ...] = ()
    replica: bool = False
    sentinel: bool = False  # it watches over the primary and the replica, and says where Redis is
    standby: bool = False
    broker: dict[str, str] = field(default_factory=dict)
    slow_delay_s: float = 0.010
    slow_capacity: int = 200
    history: int = 50_000
    partial_fill_rate: float = 0.3
    clock_start: str | None = None  # where Alpaca's clock begins; then it follows the calendar


class NotInTime(AssertionError):
    """What the lab waited for did not happen within the deadline."""


class Stage:
    """`with Stage(config) as stage:`; everything runs when the block begins."""

    def __init__(self, config: StageConfig) -> None:
        self.config = config
        self.cables: dict[str, Cable] = {}
        self.readers: dict[str, Program] = {}
        self.brokers: dict[str, Program] = {}
        self.books: dict[str, Book] = {}
        self.follows: dict[str, tuple[str, ...]] = {}  # which tickers a reader follows
        self.since: dict[str, int] = {}  # from when a reader has to have everything
        self.stop_s: dict[str, float] = {}
        self.exit_codes: dict[str, int | None] = {}
        self.ended_on_purpose: set[str] = set()
        self.cutoff: dict[str, int] = {}  # the newest trade of each ticker that is judged
        self.cause_began = self.cause_ended = 0
        self._last_owner = "broker"
        self._files: dict[str, LineFile] = {}
        self._ids_at_end: dict[str, int] = {}
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._set_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    # -- bringing it up

    def _set_up(self) -> None:
        config, keep = self.config, self._cleanup.enter_context
        self.folder = Path(keep(tempfile.TemporaryDirectory(prefix="tickerbus-faults-")))
        self._set_up_redis()
        self.observer = Observer(lambda: self.primary.port)
        self._cleanup.callback(self.observer.close)
        self.sim = keep(LocalAlpaca(_sim_config(config)))
        sim_now = self.sim.call(lambda script: script.server.now_ns())
        self.ahead_ns = sim_now - time.time_ns() if config.clock_start else 0
        for name in ("data", "trading", "rest"):
            self.cable(name, self.sim.address.port)
        self.start_broker("broker")
        self.wait_until(self._broker_is_well, 20, "the broker runs")
        if config.standby:
            self.start_broker("standby")
            self.wait_until(
                lambda: any("broker.standby" in line for line in self.words("standby")),
                20,
                "the standby waits",
            )
        self.start_reader("ordinary")
        self.start_reader(
            "slow", "--delay-s", str(config.slow_delay_s), "--capacity", str(config.slow_capacity)
        )
        self.start_reader("plain")
        for name in ("ordinary", "slow", "plain"):
            self.reader_is_there(name)
        self.began = max(self.since.values())
        self.orders = OrderFlow(
            self.sim.address.port, config.tickers, config.orders_per_s, config.seed
        )
        self._cleanup.callback(self.orders.stop)
        self.orders.start()
        self.wait_until(lambda: self._all_flow_since(self.began), 20, "prices flow")

    def _set_up_redis(self) -> None:
        config, keep = self.config, self._cleanup.enter_context
        self.valkey = self.primary = keep(EmbeddedValkey(None, *USER_RULES, *config.valkey))
        self.replica: EmbeddedValkey | None = None
        self.sentinel: Sentinel | None = None
        if config.replica or config.sentinel:
            follows = ("--replicaof", f"127.0.0.1 {self.valkey.port}")
            self.replica = keep(EmbeddedValkey(None, *USER_RULES, *follows))
        if config.sentinel:
            self.sentinel = Sentinel(self.folder, self.valkey.port)
            self._cleanup.callback(self.sentinel.stop)
            self.wait_until(self.sentinel.primary_port, 10, "the Sentinel answers")
            self.wait_until(self.sentinel.knows_the_replica, 20, "the Sentinel knows the replica")

    def _redis_settings(self, name: str) -> dict[str, str]:
        """How a program finds Redis: by its own cable, or by the Sentinel."""
        if self.sentinel is not None:
            return {
                "REDIS_SENTINELS": f"127.0.0.1:{self.sentinel.port}",
                "REDIS_SENTINEL_MASTER": MASTER,
                "REDIS_USERNAME": REDIS_USER,
                "REDIS_PASSWORD": REDIS_PASSWORD,
            }
        cable = self.cables.get(name) or self.cable(name, self.primary.port)
        return {"REDIS_URL": f"redis://{REDIS_USER}:{REDIS_PASSWORD}@127.0.0.1:{cable.port}"}

    def cable(self, name: str, target: int) -> Cable:
        cable = self.cables[name] = self._cleanup.enter_context(Cable(name, target))
        return cable

    def start_broker(self, name: str, **environment: str) -> Program:
        """Start a broker process; returns at once."""
        port = {each: self.cables[each].port for each in ("data", "trading", "rest")}
        program = Program(
            name,
            "main",
            ["broker"],
            self.observer.hear,
            self._redis_settings(name)
            | {
                "ALPACA_API_KEY": KEYS.key_id,
                "ALPACA_API_SECRET": KEYS.secret,
                "ALPACA_PAPER": "true",
                "ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{port['data']}",
                "ALPACA_TRADING_STREAM_URL": f"ws://127.0.0.1:{port['trading']}/stream",
                "ALPACA_DATA_URL": f"http://127.0.0.1:{port['rest']}",
                "ALPACA_TRADING_URL": f"http://127.0.0.1:{port['rest']}",
                "ALPACA_SYMBOL_LIMIT": str(self.config.symbol_limit),
                "LOG_FORMAT": "json",
                "BROKER_STATE_DIR": str(self.folder / "state"),
            }
            | self.config.broker
            | environment,
        )
        self.brokers[name] = program
        self._cleanup.callback(self._end_broker, program)
        return program

    def start_reader(
        self, name: str, *arguments: str, since: int = 0, tickers: tuple[str, ...] = ()
    ) -> Program:
        """Start a reader process; returns at once. `since`, by Alpaca's clock: from when it asks
        for messages."""
        out = self.folder / f"{name}.jsonl"
        module = "plain_reader" if name == "plain" else "reader"
        asked = ("--since", rfc3339(since)) if since else ()
        program = Program(
            name,
            f"tests.faults.{module}",
            [
                *("--name", name, "--out", str(out)),
                *("--tickers", ",".join(tickers or self.config.tickers), *asked, *arguments),
            ],
            self.observer.hear,
            self._redis_settings(name),
        )
        self.readers[name], self.books[name] = program, Book(name)
        self._files[name], self.follows[name] = LineFile(out), tickers or self.config.tickers
        if since:
            self.since[name] = since
        self._cleanup.callback(program.end, 5.0)
        return program

    def reader_is_there(self, name: str) -> None:
        """Wait until a reader follows its tickers: from then on it has to have everything."""
        self.readers[name].await_ready()
        self.since.setdefault(name, self.readers[name].ready_at + self.ahead_ns)

    # -- the fault

    def cause_begins(self) -> None:
        self.cause_began = time.time_ns()

    def cause_ends(self) -> None:
        """From here on recovery counts: first prices that happen later, and a healthy status."""
        self.cause_ended = time.time_ns()
        self._ids_at_end = self.newest_ids()

    def let_pass(self, seconds: float) -> None:
        """The fault lasts."""
        time.sleep(seconds)

    def wait_until(
        self, condition: Callable[[], T], timeout_s: float, what: str, every_s: float = 0.02
    ) -> T:
        """The first true value of `condition`. Raises NotInTime."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise NotInTime(f"not within {timeout_s:g} s: {what}")
            time.sleep(every_s)
        return value

    # -- what there is to see

    def read(self) -> None:
        """Take in what the readers wrote."""
        for name, file in self._files.items():
            self.books[name].take_all(file.read_new())

    def recovered_at(self, names: tuple[str, ...] = ("ordinary", "plain")) -> int | None:
        """When all of these readers had a price of every ticker that happened after the cause
        ended, and the heartbeat said that all is well; None while it is not so."""
        self.read()
        moments = [self.observer.well_since(self.cause_ended)]
        for name in names:
            for symbol in self.config.tickers:
                moments.append(self.books[name].first_after(symbol, self._ids_at_end[symbol]))
        if any(moment is None for moment in moments):
            return None
        return max(moment for moment in moments if moment is not None)

    def happened(self, name: str, above: Mapping[str, int] | None = None) -> list[Happened]:
        """The trades that a reader has to have, up to the cut-off; those `above` these ids."""
        since, lowest = self.since[name], above or {}
        return [
            Happened(trade.symbol, trade.trade_id, trade.serial, trade.timestamp_ns)
            for symbol in self.follows[name]
            for trade in self.sim.oracle.trades(symbol)
            if lowest.get(symbol, 0) < trade.trade_id <= self.cutoff.get(symbol, 0)
            and trade.timestamp_ns >= since
        ]

    def orders_happened(self, begin: int = 0) -> list[OrderHappened]:
        """The account's events, in their order, from number `begin` on."""
        found = []
        for event in list(self.sim.oracle.order_events)[begin:]:
            told: dict[str, Any] = dict(event)
            message = {"order_data": told["order"], "update": told, "event": told["event"]}
            fields = order_fields(message)
            found.append(
                OrderHappened(
                    symbol=str(told["order"]["symbol"]),
                    order_id=fields["order_id"],
                    event=fields["event"],
                    event_id=fields["event_id"],
                    filled=fields["filled"],
                    moment=parse_rfc3339(str(told["timestamp"])),
                )
            )
        return found

    def newest_ids(self) -> dict[str, int]:
        symbols = {symbol for follows in self.follows.values() for symbol in follows}
        return {symbol: self._newest_id(symbol) for symbol in symbols}

    def is_past(self, name: str, ids: dict[str, int]) -> bool:
        """Whether a reader has a trade of each ticker that is newer than `ids`: what it lacks of
        those before, it will never get."""
        self.read()
        seen = self.books[name].newest_ids
        return all(seen.get(symbol, 0) > ids[symbol] for symbol in self.follows[name])

    def owner(self) -> str:
        """The broker process that leads now; while nobody does, the one that led last."""
        client: Any = redis.Redis(port=self.primary.port, socket_timeout=0.2)
        with contextlib.suppress(redis.RedisError, OSError), contextlib.closing(client):
            leader = str(client.get("BROKER_LEADER"))
            for name, program in self.brokers.items():
                if f"/{program.pid}/" in leader:
                    self._last_owner = name
        return self._last_owner

    def forget_reader(self, name: str) -> None:
        """It was killed: what it would have seen does not count."""
        self.ended_on_purpose.add(name)
        del self.books[name], self._files[name]

    def worst_delay_s(self, name: str, since: int) -> float:
        """How late the latest trade since then was, from its happening to the handler."""
        self.read()
        return self.books[name].worst_delay_s(since)

    def slot_is_free(self) -> bool:
        """Whether Alpaca would let a new market-data connection in."""
        return self.sim.call(lambda script: _slot_is_free(script.server))

    def let_in_again(self) -> bool:
        """Whether Alpaca has a signed-in market-data connection."""
        return any(
            stream.endpoint == "iex" and stream.state == "authenticated"
            for stream in self.sim.connections()
        )

    def ask_many(
        self, clients: Sequence[redis.Redis], action: str, tickers: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Each client asks for one ticker at once; the replies that came within 5 s."""
        listener = redis.Redis(port=self.primary.port, socket_timeout=5)
        channel: Any = listener.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        channel.subscribe("BROKER_REGISTRATION_REPLIES")
        channel.get_message(timeout=1)
        for number, client in enumerate(clients):
            request = {
                "action": action,
                "ticker": tickers[number % len(tickers)],
                "client_id": f"crowd-{number}",
                "request_id": f"crowd-{number}",
            }
            client.publish("BROKER_REGISTRATION", json.dumps(request))
        replies: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + 5
        while len(replies) < len(clients) and time.monotonic() < deadline:
            message = channel.get_message(timeout=0.1)
            reply = json.loads(message["data"]) if message else {}
            if str(reply.get("request_id")).startswith("crowd-"):
                replies[reply["request_id"]] = reply
        channel.close()
        listener.close()
        return list(replies.values())

    def lag_s(self, name: str) -> float:
        """How old the reader's newest trade was when it came."""
        self.read()
        return max(self.books[name].lag_s.values(), default=0.0)

    def sim_phase(self) -> str:
        return self.sim.call(lambda script: script.server.sim.market.phase)

    def runs_again(self) -> bool:
        """Whether all brokers live, and the newest heartbeat is fresh and well."""
        for program in self.brokers.values():
            assert program.exit_code is None, f"{program.name} ended with {program.exit_code}"
        fresh = time.time_ns() - NANO // 2
        return self.observer.well_since(fresh) is not None

    def signal_valkey(self, number: signal.Signals) -> None:
        """To the server that was the primary when the stage was set."""
        os.kill(self.valkey.pid, number)

    def move_primary(self, server: EmbeddedValkey) -> None:
        """The address of Redis moves: new connections go to `server`."""
        self.primary = server
        for name, cable in self.cables.items():
            if name not in ("data", "trading", "rest"):
                cable.plug_into(server.port)

    def leases_left(self) -> list[str]:
        config = RedisConfig(host="127.0.0.1", port=self.primary.port)
        return [f"{one.client_id}:{one.ticker}" for one in read_holders(config)]

    def followed_upstream(self) -> set[str]:
        return {
            symbol
            for stream in self.sim.connections()
            for symbol in stream.subscriptions.get("trades", ())
        }

    def stop_broker(self, name: str, timeout_s: float = 5.0) -> None:
        """SIGTERM, and how long it took."""
        program, began = self.brokers[name], time.monotonic()
        program.signal(signal.SIGTERM)
        self.exit_codes[name] = program.wait(timeout_s + 5)
        self.stop_s[name] = time.monotonic() - began

    def leaks(self) -> list[str]:
        """Where a planted secret was seen: in what was said, in the heartbeats, in Redis."""
        with contextlib.closing(redis.Redis(port=self.primary.port, socket_timeout=5)) as client:
            seen = self.observer.leaks.look_through_redis(client)
        assert seen, "nothing was in Redis: the lab looked in the wrong place"
        return self.observer.leaks.found

    def words(self, who: str) -> list[str]:
        return list(self.observer.words.get(who, ()))

    def _broker_is_well(self) -> bool:
        for program in self.brokers.values():
            assert program.exit_code is None, self.words(program.name)[-5:]
        return self.observer.well_since(0) is not None

    def _all_flow_since(self, moment: int) -> bool:
        self.read()
        names = ("ordinary", "slow", "plain")
        return all(
            self.books[name].newest(symbol) > moment
            for name in names
            for symbol in self.config.tickers
        )

    def _newest_id(self, symbol: str) -> int:
        trades = self.sim.oracle.trades(symbol)
        return trades[-1].trade_id if trades else 0

    def _end_broker(self, program: Program) -> None:
        program.signal(signal.SIGCONT)
        program.signal(signal.SIGTERM)
        program.end(8.0)


def _slot_is_free(server: Any) -> bool:
    slots, now_ns = server.sim.streams.slots, server.now_ns()
    return all(slots.taken(key, now_ns) == 0 for key in list(slots._open))


def _sim_config(config: StageConfig) -> SimConfig:
    return SimConfig(
        control_port=None,
        credentials=KEYS,
        tickers=config.tickers,
        market=MarketRules(
            seed=config.seed,
            default_rate=config.rate,
            history_per_symbol=config.history,
            session="always" if config.clock_start is None else "calendar",
            clock_start=config.clock_start,
        ),
        streams=StreamRules(zombie_slot_s=config.zombie_slot_s, symbol_limit=config.symbol_limit),
        trading_rest_limit=0,
        data_rest_limit=0,
        venue=VenueConfig(
            seed=config.seed,
            starting_cash=Decimal(1_000_000_000),
            wash_trade_protection=False,
            partial_fill_rate=config.partial_fill_rate,
        ),
    )
