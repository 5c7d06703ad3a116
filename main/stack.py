"""What one machine needs and does not have: brought up, wired, and ended together.

A given Redis and given Alpaca keys are used; an embedded Valkey and the local Alpaca stand in for
those that are not given. The broker and the trading consumer run as processes of their own, so
that the demo's road is the real one.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .account import AlpacaAccess
from .children import Child, Guard
from .embedded_valkey import EmbeddedValkey
from .heartbeat import heartbeats
from .ports import choose_port
from .settings import Settings
from .utils.redis.config import RedisConfig
from .utils.redis.connections import CONNECTION_FAULTS
from .utils.redis.errors import RedisUnavailable
from .utils.redis.messages import now_rfc3339

DEFAULT_REDIS_PORT = 6379
DEFAULT_SIM_PORT = 8765
DEFAULT_PAGE_PORT = 8787
START_S = 20.0  # the deadline of one part's start
LOCAL_KEY, LOCAL_SECRET = "local", "local-secret"
UP_STATES = ("RUNNING", "DEGRADED")
OTHERS_BEATS = 3  # heartbeats of another broker until ours, that keeps silent, is given up
# By when each has ended, counted from the first's being asked: of five seconds for everything.
# They end one after the other, and what one does not need is the next one's.
PARTING_S = {"scale_t": 1.4, "broker": 3.0, "page": 3.2, "local Alpaca": 3.4}


class PartFailed(Exception):
    """A part of the stack did not come up, or ended."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True, kw_only=True)
class Trading:
    """The consumer that trades: `arguments` of `scale-t run`."""

    ticker: str
    client_id: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """What to bring up. `tickers` become known to the local Alpaca and trade `rate` times a second.

    `trading` is for the local Alpaca's account; on a given account only if `trade_given_account`.
    """

    settings: Settings
    tickers: tuple[str, ...]
    rate: float = 5.0
    redis_port: int | None = None
    sim_port: int | None = None
    trading: Trading | None = None
    trade_given_account: bool = False
    page: bool = False
    page_port: int | None = None


class Stack:
    """`start`, `start_consumer`, `deaths` while it runs, `stop`. All from the main thread."""

    def __init__(
        self,
        config: StackConfig,
        say: Callable[[str], None],
        hear: Callable[[str, str], None] | None = None,
    ) -> None:
        """`say` gets what a person should know; `hear` each part's name and log line."""
        self._config, self._say, self._hear = config, say, hear
        self._valkey: EmbeddedValkey | None = None
        self._guard: Guard | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._children: list[Child] = []
        self._environment: dict[str, str] = dict(os.environ)
        self.redis = config.settings.redis_config("tickerbus-demo")
        self.embeds_redis = not config.settings.names_a_redis
        self.embeds_alpaca = not config.settings.has_alpaca_keys
        self.sim_port = 0
        self.paper = self.embeds_alpaca or config.settings.alpaca_paper
        self.account_short = ""  # known once started
        self.page_url = ""  # known once started, if there is a page
        self.trades = config.trading is not None and (
            self.embeds_alpaca or config.trade_given_account
        )

    # -- starting

    def start(self) -> None:
        """Bring up what is missing, then the broker; returns once it runs.

        Raises:
            PartFailed: a part did not come up. Call `stop` also then.
            RedisUnavailable: the given Redis does not answer.
            AccountRefused: the given keys are wrong.
            PortTaken: a port that was asked for is not free.
        """
        self._start_redis()
        self._start_alpaca()
        page = self._start_page()  # comes up beside the broker
        self._name_account()
        self._start_broker()
        if page is not None:
            port, child = page
            self._wait_until(lambda: _answers(port), child)
            self.page_url = f"http://127.0.0.1:{port}"
            self._say(f"page: {self.page_url}")

    def _start_redis(self) -> None:
        if not self.embeds_redis:
            self._say(f"Redis: yours, {self.redis.address}")
            ask_redis(self.redis)
            return
        asked, preferred = self._config.redis_port, self._config.settings.redis_port
        port = choose_port(asked, preferred, "--redis-port")
        self._valkey = EmbeddedValkey(port)
        self._valkey.start()
        if sys.platform != "linux":  # there, no signal tells it that we are gone
            self._guard = Guard(self._valkey.pid)
        self.redis = RedisConfig(
            host="127.0.0.1",
            port=port,
            bus_prefix=self._config.settings.bus_prefix,
            client_name=self.redis.client_name,
        )
        self._environment["REDIS_URL"] = f"redis://127.0.0.1:{port}"
        self._say(
            f"Redis: no REDIS_HOST or REDIS_URL, so an embedded Valkey on 127.0.0.1:{port}"
            + _moved(asked, preferred, port)
        )

    def _start_alpaca(self) -> None:
        if not self.embeds_alpaca:
            self._say(f"Alpaca: your keys, {self._config.settings.trading_url}")
            return
        asked = self._config.sim_port
        self.sim_port = port = choose_port(asked, DEFAULT_SIM_PORT, "--sim-port")
        self._environment |= local_alpaca_environment(port)
        child = self._start_child("local Alpaca", *self._sim_arguments(port))
        self._wait_until(lambda: _answers(port), child)
        self._say(
            f"Alpaca: no ALPACA_API_KEY, so a local Alpaca on 127.0.0.1:{port}"
            + _moved(asked, DEFAULT_SIM_PORT, port)
        )

    def _sim_arguments(self, port: int) -> list[str]:
        config = self._config
        return [
            "sim",
            *("--port", str(port)),
            *("--tickers", ",".join(config.tickers)),
            *("--rate", str(config.rate)),
            *("--symbol-limit", str(config.settings.alpaca_symbol_limit)),
        ]

    def _start_page(self) -> tuple[int, Child] | None:
        if not self._config.page:
            return None
        port = choose_port(self._config.page_port, DEFAULT_PAGE_PORT, "--page-port")
        return port, self._start_child("page", "dashboard", "--port", str(port))

    def _start_broker(self) -> None:
        since = now_rfc3339()
        child = self._start_child("broker", "broker")
        heard, others = "no heartbeat", 0
        for status in heartbeats(self.redis, START_S):
            if child.exit_code is not None:
                raise PartFailed(child.obituary(), child.exit_code)
            if status is None:
                continue
            heard, is_ours = status.state, status.started_at >= since
            if heard in UP_STATES and is_ours:
                self._say(f"broker: {heard}")
                return
            others += heard in UP_STATES and not is_ours
            if others > OTHERS_BEATS:
                raise PartFailed(
                    f"another broker is {heard} on this Redis: stop it, or set BUS_PREFIX"
                )
        raise PartFailed(f"the broker does not run after {START_S:.0f} s: {heard}")

    def start_consumer(self, start_price: str | None = None) -> None:
        """Start the one that trades, if any: apart, so that who watches can subscribe before."""
        trading = self._config.trading
        if trading is None or not self.trades:
            return
        start_at = () if start_price is None else ("--start-price", start_price)
        own = ("--state-dir", self._state_folder()) if self.embeds_alpaca else ()
        self._start_child("scale_t", "scale-t", "run", *trading.arguments, *own, *start_at)
        self._say(f"scale_t: trades {trading.ticker} as {trading.client_id}")

    def _state_folder(self) -> str:
        """The local Alpaca's account ends with it, and so does what a ladder on it has to know.
        Every local Alpaca's has the same number: in the user's own folder two stacks would meet."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tickerbus-ladder-")
        return self._folder.name

    def _start_child(self, name: str, *arguments: str) -> Child:
        hear = self._hear
        child = Child(
            name,
            arguments,
            self._environment,
            hear=None if hear is None else lambda line: hear(name, line),
        )
        self._children.append(child)
        child.start()
        return child

    def _wait_until(self, condition: Callable[[], bool], child: Child) -> None:
        deadline = time.monotonic() + START_S
        while not condition():
            if child.exit_code is not None:
                raise PartFailed(child.obituary(), child.exit_code)
            if time.monotonic() > deadline:
                raise PartFailed(f"{child.name} does not answer after {START_S:.0f} s")
            time.sleep(0.02)

    def _name_account(self) -> None:
        access = self._access()
        number = access.account_number()
        self.account_short = access.short(number)
        self._say(access.banner(number))

    def _access(self) -> AlpacaAccess:
        settings = self._config.settings
        if self.embeds_alpaca:
            return AlpacaAccess(
                url=f"http://127.0.0.1:{self.sim_port}",
                key=LOCAL_KEY,
                secret=LOCAL_SECRET,
            )
        return alpaca_access(settings)

    # -- while it runs

    def deaths(self) -> list[str]:
        """What ended by itself: nothing of this stack should."""
        return [child.obituary() for child in self._children if child.exit_code is not None]

    # -- ending

    def stop(self) -> None:
        """End everything within five seconds, consumers first. Also after a failed start."""
        asked_at = time.monotonic()
        for child in self._children:
            if child.name == "page":  # nobody needs it, so it ends while the others do
                child.ask_to_end()
        for child in reversed(self._children):
            child.stop(max(0.1, asked_at + PARTING_S[child.name] - time.monotonic()))
        self._children.clear()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        if self._valkey is not None:
            self._valkey.kill()  # it saves nothing, so there is nothing to wait for
            self._valkey.stop()
            self._valkey = None


def alpaca_access(settings: Settings) -> AlpacaAccess:
    """The account that the given keys belong to."""
    assert settings.alpaca_api_key is not None
    assert settings.alpaca_api_secret is not None
    return AlpacaAccess(
        url=settings.trading_url,
        key=settings.alpaca_api_key.get_secret_value(),
        secret=settings.alpaca_api_secret.get_secret_value(),
        paper=settings.alpaca_paper,
    )


def local_alpaca_environment(
    port: int, key: str = LOCAL_KEY, secret: str = LOCAL_SECRET
) -> Mapping[str, str]:
    """The settings with which any part uses the local Alpaca on `port`, and no other."""
    return {
        "ALPACA_API_KEY": key,
        "ALPACA_API_SECRET": secret,
        "ALPACA_PAPER": "true",
        "ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{port}",
        "ALPACA_TRADING_STREAM_URL": f"ws://127.0.0.1:{port}/stream",
        "ALPACA_DATA_URL": f"http://127.0.0.1:{port}",
        "ALPACA_TRADING_URL": f"http://127.0.0.1:{port}",
    }


def ask_redis(config: RedisConfig) -> None:
    client = config.client()
    try:
        client.ping()
    except CONNECTION_FAULTS as error:
        raise RedisUnavailable(config.address, error) from error
    finally:
        client.close()


def _answers(port: int) -> bool:
    with socket.socket() as caller:
        caller.settimeout(0.5)
        return caller.connect_ex(("127.0.0.1", port)) == 0


def _moved(asked: int | None, preferred: int, port: int) -> str:
    return f" ({preferred} is taken)" if asked is None and port != preferred else ""
