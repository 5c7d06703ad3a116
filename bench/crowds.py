"""Many readers, and many tickers."""

from __future__ import annotations

from collections.abc import Callable

from main.utils.redis.constants import get_ticker_channel

from .cpu import Clockwork
from .limits import pipe_batches
from .readers import Expectation, read_plainly
from .rounds import Cells
from .stage import BUS_ID, PER_S, Sample, Stage, make_sample, names, plain_reader
from .worker import Worker

FIFTY, OTHER_FIFTY = names("H", 50), names("I", 50)
SUBSCRIBERS, EACH = 200, 10  # so every message is delivered 40 times
FAN_MESSAGES = 25_000
CROWD = names("M", 8_000)
FEW = names("N", 10)
CROWD_MESSAGES = 200_000
BUSIEST_PER_S = 60_000.0  # trades in the whole market's busiest second


def _shares(tickers: list[str]) -> list[list[str]]:
    """The channels of each subscriber: ten of the fifty, spread evenly."""
    channels = [get_ticker_channel(ticker) for ticker in tickers]
    return [
        [channels[(number + step * 5) % len(channels)] for step in range(EACH)]
        for number in range(SUBSCRIBERS)
    ]


def fan_out_cells(stage: Stage) -> Cells:
    """200 subscribers on 50 tickers: through the broker, and with bare PUBLISH on a Redis alone."""
    stage.follow(FIFTY)
    reader = stage.keep(Worker(read_plainly, stage.valkey.port, _shares(FIFTY)))
    alone = stage.another_valkey()
    deliveries = FAN_MESSAGES * SUBSCRIBERS * EACH // len(FIFTY)

    def through_broker() -> Sample:
        pids = {"broker": stage.broker_pid}
        expected = Expectation(deliveries=deliveries)
        return stage.blast(FIFTY, FAN_MESSAGES, 100, reader, pids, expected)[0]

    through_broker()
    pipe = stage.keep(Worker(pipe_batches, alone.port, stage.sample_trade(FIFTY[0])))
    other_reader = stage.keep(Worker(read_plainly, alone.port, _shares(OTHER_FIFTY)))

    def by_redis_alone() -> Sample:
        expected = Expectation(deliveries=deliveries)
        other_reader.tell(expected)
        clockwork = Clockwork({"Redis": alone.pid, "reader": other_reader.pid})
        pipe.ask("publish", OTHER_FIFTY, FAN_MESSAGES, 500, 0)
        return make_sample(other_reader.answer(), expected, FAN_MESSAGES, clockwork)

    return {"TickerBus, 200 subscribers": through_broker, "Redis alone, 200": by_redis_alone}


def crowd_cells(stage: Stage) -> Cells:
    """The same number of messages over 10 tickers and over 8,000: as fast as it goes, and as many
    a second as the whole market has at the most."""
    stage.follow([*FEW, *CROWD])
    expected = Expectation(deliveries=CROWD_MESSAGES, id_key=BUS_ID)
    pids = {"broker": stage.broker_pid}

    def cell(tickers: list[str], reader: Worker, per_s: float) -> Callable[[], Sample]:
        return lambda: stage.blast(
            tickers, CROWD_MESSAGES, 100, reader, pids, expected, per_s=per_s
        )[0]

    cells = {}
    for name, tickers in (("10 tickers", FEW), ("8,000 tickers", CROWD)):
        reader = stage.keep(plain_reader(stage.valkey.port, tickers))
        cells[name] = cell(tickers, reader, PER_S)
        cells[f"{name}, 60,000/s"] = cell(tickers, reader, BUSIEST_PER_S)
    return cells
