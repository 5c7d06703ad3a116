"""The stage of the proof: every part a process of its own, and the account as Alpaca tells it.

Beside it runs the model: the same ladder at a perfect venue, stepped price by price. After each
step the account has to come to what the model says, to the share and to the cent.
"""

from __future__ import annotations

import json
import math
import signal
import socket
import time
import urllib.request
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from main.embedded_valkey import EmbeddedValkey
from main.scale_t import ScaleTConfig
from main.scale_t.intents import Cancel, Place
from main.scale_t.ladder import Ladder
from main.scale_t.order_ids import order_prefix, parse_order_name
from main.scale_t.paper import PaperVenue
from main.scale_t.recording import Tick
from main.utils.order_calls import CallFailed, OrderCalls
from tests.conftest import wait_for
from tests.integration.examples.processes import Process, environment

TICKER, CLIENT = "AAPL", "proof"
PREFIX: Final = order_prefix(CLIENT, TICKER)
START_CASH: Final = Decimal(100_000)
SETTLE_S: Final = 90.0  # exits taken away wait before they are offered again; machines may be busy
TRADE_AGAIN_S: Final = 2.0
Works = dict[tuple[str, int, Decimal | None], Decimal]  # kind, rung and price to open quantity


def price_path(seconds: int) -> list[Decimal]:
    """A price for each second: three waves over each other, up and down through the rungs."""
    return [
        Decimal(
            f"{99.93 + 0.16 * math.sin(i / 31) + 0.11 * math.sin(i / 7.3) + 0.05 * math.sin(i):.2f}"
        )
        for i in range(seconds)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Model:
    """What must come of the path."""

    def __init__(self, config: ScaleTConfig) -> None:
        self.ladder, self.venue = Ladder(config.terms), PaperVenue()
        assert config.start_price is not None
        self.ladder.start_at(config.start_price)
        self.now = 0
        self.extra_cash = Decimal(0)  # of trades by hand

    def step(self, price: Decimal) -> None:
        self.now += 1_000_000_000
        half = Decimal("0.01")
        self._hear(self.venue.see(Tick(self.now, bid=price - half, ask=price + half)))
        self.ladder.see_price(price)
        self.send()

    def send(self) -> None:
        while intents := self.ladder.decide(self.now / 1e9, 1_000):
            for intent in intents:
                if isinstance(intent, Place):
                    self._hear(self.venue.take(intent, self.now))
                elif isinstance(intent, Cancel):
                    self._hear(self.venue.cancel(intent.client_order_id, self.now))

    def close_session(self) -> None:
        self._hear(self.venue.close_session(self.now))
        self.now += 3_600 * 1_000_000_000

    def works(self) -> Works:
        found: Works = defaultdict(Decimal)
        for order in self.ladder.book.active():
            found[order.name.kind, order.name.component, order.limit_price] += order.pending
        return dict(found)

    def venue_cancel(self, client_order_id: str) -> None:
        """Somebody else cancelled it. The model may have named it otherwise: any such exit does."""
        component = parse_order_name(PREFIX, client_order_id)
        assert component is not None
        for order in self.ladder.book.active("profit"):
            if order.name.component == component.component and order.pending == 10:
                self._hear(self.venue.cancel(order.client_order_id, self.now))
                return
        raise AssertionError(f"the model has no exit like {client_order_id}")

    @property
    def cash(self) -> Decimal:
        book = self.ladder.book
        # What was adopted away is booked at its rung's price; the real money is `extra_cash`.
        adopted = sum((each.base * each.base_price for each in book.rungs.values()), Decimal(0))
        return START_CASH + book.flow + adopted + self.extra_cash

    def _hear(self, messages: Any) -> None:
        for message in messages:
            self.ladder.see_order(message, self.now / 1e9)


class Stage:
    """`with Stage(config, folder) as stage: stage.step(price)`."""

    def __init__(
        self, config: ScaleTConfig, arguments: list[str], folder: Path, partial: float
    ) -> None:
        self.model = Model(config)
        self._arguments, self._folder, self._partial = arguments, folder, partial
        self.valkey = EmbeddedValkey()
        self.port, self.control_port = free_port(), free_port()
        self._processes: dict[str, Process] = {}
        self.kills = 0
        self.price = Decimal(100)

    def __enter__(self) -> Stage:
        self.valkey.start()
        url = f"http://127.0.0.1:{self.port}"
        self._env = environment(
            REDIS_HOST="127.0.0.1",
            REDIS_PORT=str(self.valkey.port),
            ALPACA_API_KEY="local",
            ALPACA_API_SECRET="local-secret",
            ALPACA_DATA_URL=url,
            ALPACA_TRADING_URL=url,
            ALPACA_DATA_STREAM_URL=f"ws://127.0.0.1:{self.port}",
            ALPACA_TRADING_STREAM_URL=f"ws://127.0.0.1:{self.port}/stream",
            XDG_STATE_HOME=str(self._folder),
        )
        module = "tests.integration.scale_t.alpaca_process"
        ports = (str(self.port), str(self.control_port))
        alpaca = self._start("alpaca", ["-m", module, *ports, str(self._partial)])
        alpaca.wait_for_line("listens on")
        self.account = OrderCalls.connect(url, "local", "local-secret")
        self.start_broker()
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes.values()):
            process.end()
        self.account.close()
        self.valkey.stop()

    # -- the parts

    def start_broker(self) -> None:
        self._start("broker", ["-m", "main", "broker"]).wait_for_line("broker.running", 30)

    def start_scale_t(self) -> None:
        self._start("scale_t", ["-m", "main", "scale-t", "run", *self._arguments])

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        process.signal(signal.SIGKILL)
        process.exit_code()
        process.end()
        self.kills += name == "scale_t"

    def end(self, name: str) -> None:
        """By SIGTERM, as an operator does."""
        self._processes.pop(name).end()

    def restart_redis(self) -> None:
        """It comes back empty."""
        self.valkey.kill()
        self.valkey.stop()
        self.valkey = EmbeddedValkey(self.valkey.port)
        self.valkey.start()

    def command(self, *words: str) -> str:
        """A person's `scale-t …`; what it said."""
        ending = ("--ticker", TICKER, "--client-id", CLIENT)
        said = Process(["-m", "main", "scale-t", *words, *ending], self._folder, self._env)
        try:
            said.exit_code(30)
            return "\n".join(said.lines)
        finally:
            said.end()

    def lines(self, name: str) -> list[str]:
        return self._processes[name].lines

    def _start(self, name: str, arguments: list[str]) -> Process:
        self._processes[name] = Process(arguments, self._folder, self._env)
        return self._processes[name]

    # -- the market

    def control(self, verb: str, **parameters: Any) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.control_port}/do/{verb}",
            data=json.dumps(parameters).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def quote(self, price: Decimal) -> None:
        self.price = price
        self.control(
            "quote",
            symbol=TICKER,
            bid=float(price - Decimal("0.01")),
            ask=float(price + Decimal("0.01")),
        )
        self.control("trade", symbol=TICKER, price=float(price), size=100)

    def step(self, price: Decimal) -> None:
        """The market moves, and everybody comes to rest."""
        self.model.step(price)
        self.quote(price)
        self.settle(f"at {price}")

    def settle(self, what: str, timeout_s: float = SETTLE_S) -> None:
        """Until Alpaca has what the model says; the model may still wait for its holds."""

        began, model_began = time.monotonic_ns(), self.model.now
        traded = began

        def as_expected() -> bool:
            nonlocal traded
            now = time.monotonic_ns()
            if now - traded > TRADE_AGAIN_S * 1e9:
                self.quote(self.price)  # a market goes on trading
                traded = now
            self.model.now = model_began + now - began
            self.model.send()
            try:
                same = self.works() == self.model.works() and self.cash() == self.model.cash
            except CallFailed:
                return False  # the fault that was told to hit scale_t hit us
            return same

        try:
            wait_for(as_expected, timeout_s, what)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\nworks {self.works()}\nmodel {self.model.works()}\n"
                f"cash  {self.cash()}\nmodel {self.model.cash}\n"
                + "\n".join(self.lines("scale_t")[-25:])
            ) from None

    # -- the account, as Alpaca tells it

    def works(self) -> Works:
        found: Works = defaultdict(Decimal)
        for order in self.account.open_orders(TICKER):
            name = parse_order_name(PREFIX, order["client_order_id"])
            if name is not None:
                limit = None if order["limit_price"] is None else Decimal(order["limit_price"])
                left = Decimal(order["qty"]) - Decimal(order["filled_qty"])
                found[name.kind, name.component, limit] += left
        return dict(found)

    def cash(self) -> Decimal:
        return Decimal(self.account.account()["cash"])

    def position(self) -> Decimal:
        found = self.account.position(TICKER)
        return Decimal(0) if found is None else Decimal(found["qty"])

    def working(self, kind: str) -> list[dict[str, Any]]:
        return [
            dict(order)
            for order in self.account.open_orders(TICKER)
            if order["client_order_id"].startswith(f"{PREFIX}{kind}:")
        ]

    def check_books(self) -> tuple[int, int]:
        """Every fill adds up, and no order exists twice. How many orders and fills there were."""
        orders = [
            order
            for order in self.account.all_orders(TICKER)
            if order["client_order_id"].startswith(PREFIX)
        ]
        names = [order["client_order_id"] for order in orders]
        assert len(names) == len(set(names))
        filled = {"buy": Decimal(0), "sell": Decimal(0)}
        for order in orders:
            filled[order["side"]] += Decimal(order["filled_qty"])
        owned = filled["buy"] - filled["sell"]
        ladder = self.model.ladder
        if ladder.ratio == 1:
            assert owned == ladder.position - sum(ladder.adopted.values())
        assert self.position() == ladder.position
        return len(orders), sum(Decimal(order["filled_qty"]) > 0 for order in orders)


def proof_stage(folder: Path, partial: float = 0.0) -> Stage:
    """The ladder of the proofs: 60 shares at most, 20 of them on the first of five rungs."""
    words = {
        "max_position": "60",
        "component": "10",
        "initial": "20",
        "increment": "0.05",
        "profit_offset": "0.11",
        "start_price": "100.00",
        "client_id": CLIENT,
    }
    config = ScaleTConfig.from_text(ticker=TICKER, **words)
    arguments = ["--ticker", TICKER, "--requests-per-minute", "200"]
    for name, value in words.items():
        arguments += [f"--{name.replace('_', '-')}", value]
    return Stage(config, arguments, folder, partial)
