"""What the broker's integration tests share: its config, and clients as a user would write them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import redis

from main.alpaca_broker import BrokerConfig
from main.alpaca_sim import SimAddress
from main.settings import load_settings
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for

Message = dict[str, Any]


def broker_config(
    redis: RedisConfig, alpaca: SimAddress, feed: str = "iex", **settings: object
) -> BrokerConfig:
    """As the command line would make it."""
    given = {
        "redis_url": f"redis://{redis.host}:{redis.port}/{redis.db}",
        "alpaca_api_key": "local",
        "alpaca_api_secret": "local-secret",
        "alpaca_data_feed": feed,
        "alpaca_data_stream_url": f"ws://127.0.0.1:{alpaca.port}",
        "alpaca_trading_stream_url": alpaca.trading_stream_url,
        "alpaca_data_url": alpaca.rest_url,
        "alpaca_trading_url": alpaca.rest_url,
    }
    return BrokerConfig.from_settings(load_settings(env_file=None, **(given | settings)))


class Bus:
    """A plain redis-py client: publishes registrations, and keeps what it hears, by channel."""

    def __init__(self, config: RedisConfig) -> None:
        self.redis = config.client()
        self.heard: defaultdict[str, list[Message]] = defaultdict(list)
        self.raw: defaultdict[str, list[bytes]] = defaultdict(list)
        self._pubsub = self.redis.pubsub(ignore_subscribe_messages=True)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="plain-client")
        self._numbers = 0

    def __enter__(self) -> Self:
        self.listen("BROKER_REGISTRATION_REPLIES", "BROKER_STATUS")
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._thread.join(5)
        self._pubsub.close()
        self.redis.close()

    def listen(self, *channels: str) -> None:
        """Returns once Redis counts us among the subscribers."""
        before = dict(self.redis.pubsub_numsub(*channels))
        self._pubsub.subscribe(*channels)
        for channel in channels:
            wait_for(
                lambda channel=channel: (
                    dict(self.redis.pubsub_numsub(channel))[channel.encode()]
                    > before[channel.encode()]
                )
            )

    def _listen(self) -> None:
        while not self._ending.is_set():
            # Of a message that has begun redis-py wants each further piece within the timeout, or
            # it gives the connection up, and what is published meanwhile is lost. A loaded machine
            # is slow, but not away: so little patience is for looking only, which takes nothing.
            with suppress(redis.ConnectionError):  # `get_message` connects again
                if not self._pubsub.connection.can_read(0.1):
                    continue
            message = self._pubsub.get_message(timeout=30)
            if message is not None:
                channel = message["channel"].decode()
                self.raw[channel].append(message["data"])
                self.heard[channel].append(json.loads(message["data"]))

    # -- registration

    def ask(self, request: object) -> None:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.redis.publish("BROKER_REGISTRATION", body)

    def reply_to(self, **request: object) -> Message:
        """Publish a request, and wait for its one reply."""
        self._numbers += 1
        request_id = f"request-{self._numbers}"
        self.ask({"request_id": request_id, **request})
        return self.next(
            "BROKER_REGISTRATION_REPLIES", lambda reply: reply["request_id"] == request_id
        )

    def register(self, ticker: str, client_id: str = "test", **more: object) -> Message:
        return self.reply_to(action="subscribe", ticker=ticker, client_id=client_id, **more)

    def unregister(self, ticker: str, client_id: str = "test", **more: object) -> Message:
        return self.reply_to(action="unsubscribe", ticker=ticker, client_id=client_id, **more)

    # -- what was heard

    def next(
        self, channel: str, fits: Callable[[Message], bool] = lambda _: True, timeout_s: float = 10
    ) -> Message:
        """The first message of `channel` so far, or to come, that fits."""
        return wait_for(
            lambda: next((m for m in list(self.heard[channel]) if fits(m)), None),
            timeout_s,
            f"a message on {channel}; heard {self.heard[channel][-3:]}",
        )

    def updates(self, ticker: str, kind: str | None = None) -> list[Message]:
        """What came on the ticker's channel, of one type or all."""
        heard = list(self.heard[f"TICKER_UPDATES_{ticker}"])
        return [m for m in heard if kind is None or m["type"] == kind]

    def wait_for_trades(self, ticker: str, count: int, timeout_s: float = 10) -> list[Message]:
        return wait_for(
            lambda: prices if len(prices := self.updates(ticker, "price")) >= count else None,
            timeout_s,
            f"{count} trades of {ticker}",
        )

    def status(
        self, fits: Callable[[Message], bool] = lambda _: True, timeout_s: float = 10
    ) -> Message:
        """The first heartbeat from now on that fits."""
        before = len(self.heard["BROKER_STATUS"])
        return wait_for(
            lambda: next((s for s in self.heard["BROKER_STATUS"][before:] if fits(s)), None),
            timeout_s,
            f"a heartbeat; heard {self.heard['BROKER_STATUS'][-1:]}",
        )


class RawClient:
    """A client in any language: a socket, and RESP by hand."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, *words: str) -> None:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())

    def hear_until(self, text: bytes, timeout_s: float) -> bytes:
        """Everything received once `text` is among it."""
        deadline = time.monotonic() + timeout_s
        while text not in self._received:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            self._received += self._socket.recv(65_536)
        return self._received
