"""Message to handler: CPU per message of the product's subscriber and of its peers.

All get the same bytes at full speed: batches as the broker sends them. Each handler decodes the
JSON (the product does it for the handler) and checks every `seq`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import get_ticker_channel
from main.utils.redis.messages import PriceMessage
from main.utils.redis.subscriber import RedisSubscriber

from .cpu import Clockwork
from .limits import pipe_batches
from .peers import subscribers
from .rounds import Cells
from .stage import RunFailed, Sample, Stage, names
from .worker import Worker, requests

MESSAGES, BATCH = 120_000, 500


def tickerbus(pipe: Connection, port: int, tickers: list[str]) -> None:
    """`RedisSubscriber`, with every check that it has."""
    tally = subscribers.Tally()

    def on_message(message: PriceMessage) -> None:
        tally.note(message.symbol, message.seq)

    with RedisSubscriber(RedisConfig(host="127.0.0.1", port=port)) as bus:
        for ticker in tickers:
            bus.subscribe(get_ticker_channel(ticker), on_message, capacity=1_000_000)
        bus.start_listening()
        for (count,) in requests(pipe):
            pipe.send(tally.wait_for(count))


READERS: dict[str, tuple[Callable[..., None], list[str]]] = {
    "RedisSubscriber": (tickerbus, names("S", 10)),
    "redis-py listen()": (subscribers.redis_py_listen, names("T", 10)),
    "redis-py get_message()": (subscribers.redis_py_get_message, names("U", 10)),
    "redis.asyncio listen()": (subscribers.redis_asyncio, names("V", 10)),
    "FastStream subscriber": (subscribers.faststream, names("W", 10)),
}


def subscriber_cell(
    valkey: EmbeddedValkey, pipe: Worker, reader: Worker, tickers: list[str], count: int
) -> Callable[[], Sample]:
    def run() -> Sample:
        clockwork = Clockwork({"subscriber": reader.pid, "Redis": valkey.pid})
        begun = time.monotonic()
        reader.tell(count)
        pipe.ask("fcall", tickers, count, BATCH, 0)
        ended_s, fault = reader.answer()
        if fault:
            raise RunFailed(f"{reader.name}: {fault}")
        spent = {name: s / count * 1e6 for name, s in clockwork.spent().items()}
        return Sample(per_s=count / (ended_s - begun), cpu_us=spent, body_bytes=0)

    return run


def subscriber_cells(stage: Stage, shape: PriceMessage) -> Cells:
    valkey = stage.another_valkey()
    pipe = stage.keep(Worker(pipe_batches, valkey.port, shape))
    cells = {}
    for name, (work, tickers) in READERS.items():
        reader = stage.keep(Worker(work, valkey.port, tickers))
        count = MESSAGES // 12 if work is subscribers.faststream else MESSAGES  # so slow is it
        cells[name] = subscriber_cell(valkey, pipe, reader, tickers, count)
    return cells
