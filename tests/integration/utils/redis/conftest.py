"""A publisher with an epoch, recording handlers, and the messages that they carry."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.batch import JournalBounds
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import GapMessage, OrderMessage, PriceMessage, rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber

EVENING = 1_790_000_000_000_000_000  # nanoseconds since 1970


def price(symbol: str = "AAPL", number: int = 1, *, eligible: bool = True) -> PriceMessage:
    """A trade; `number` is its price in cents and its second of the evening."""
    return PriceMessage(
        symbol=symbol,
        timestamp=rfc3339(EVENING + number * 1_000_000_000),
        price=number / 100,
        volume=10,
        feed="iex",
        last_eligible=eligible,
        backfilled=False,
    )


def order(symbol: str = "AAPL", number: int = 1) -> OrderMessage:
    return OrderMessage(
        symbol=symbol,
        timestamp=rfc3339(EVENING + number * 1_000_000_000),
        event="fill",
        order_data={"id": f"order-{number}", "symbol": symbol, "limit_price": "1.10"},
        update={"execution_id": f"execution-{number}"},
        account_id="PA1",
        paper=True,
        source="stream",
    )


class Recorder:
    """A handler that keeps what it got."""

    def __init__(self) -> None:
        self.messages: list[object] = []

    def __call__(self, message: object) -> None:
        self.messages.append(message)

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def seqs(self) -> list[int]:
        return [message.seq for message in self.messages if not isinstance(message, GapMessage)]  # type: ignore[attr-defined]

    @property
    def gaps(self) -> list[GapMessage]:
        return [message for message in self.messages if isinstance(message, GapMessage)]


@pytest.fixture
def config(redis_config: RedisConfig) -> RedisConfig:
    return redis_config


@pytest.fixture
def own_config(own_valkey: EmbeddedValkey) -> RedisConfig:
    return RedisConfig(host="127.0.0.1", port=own_valkey.port)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


class Gate:
    """A handler that blocks until it is opened."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.recorder = Recorder()

    def __call__(self, message: object) -> None:
        self.entered.set()
        assert self.opened.wait(20)
        self.recorder(message)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


Publishers = Callable[..., RedisPublisher]
Subscribers = Callable[..., RedisSubscriber]


@pytest.fixture
def publisher_on() -> Iterator[Publishers]:
    """Makes publishers with an open epoch, and closes them."""
    made: list[RedisPublisher] = []

    def make(config: RedisConfig, bounds: JournalBounds | None = None) -> RedisPublisher:
        publisher = RedisPublisher(config, bounds)
        made.append(publisher)
        publisher.open_epoch()
        return publisher

    yield make
    for publisher in made:
        publisher.close()


@pytest.fixture
def subscriber_on() -> Iterator[Subscribers]:
    """Makes subscribers, and closes them."""
    made: list[RedisSubscriber] = []

    def make(config: RedisConfig, **options: float) -> RedisSubscriber:
        made.append(RedisSubscriber(config, **options))
        return made[-1]

    yield make
    for subscriber in made:
        subscriber.close()
