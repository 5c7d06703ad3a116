"""Several batches on their way to a Redis that refuses, is cut off, answers late or forgets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import hiredis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.utils.redis import publisher as module
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import PriceMessage
from main.utils.redis.publisher import WINDOW, RedisPublisher

EPOCH = 7
# What becomes of a call: done; refused; lost on its way; done, and the reply lost; kept back by the
# network, to come after a later call, when nobody waits for it any more.
FATES = ("done", "refused", "lost", "unanswered", "kept back")


@dataclass
class Server:
    """A model of Redis with the publishing function, of one ticker's journal."""

    fates: list[str]
    journal: list[int] = field(default_factory=list)
    published: list[int] = field(default_factory=list)
    done: int = 0
    most_at_once: int = 0
    kept_back: list[list[bytes]] = field(default_factory=list)

    def take(self, call: list[bytes]) -> Any:
        """Raises ConnectionResetError: whatever became of it, nobody hears of it."""
        if call[0] != b"FCALL":
            return {b"GET": b"%d" % EPOCH, b"PING": b"PONG"}.get(call[0], EPOCH)
        if call[1] == module.OPEN_EPOCH.encode():
            return EPOCH
        fate = self.fates.pop() if self.fates else "done"
        if fate == "refused":
            return hiredis.ReplyError("OOM command not allowed")
        if fate == "kept back":
            self.kept_back.append(call)
        reply = self.publish(call) if fate in ("done", "unanswered") else None
        while fate == "done" and self.kept_back:
            self.publish(self.kept_back.pop())
        if fate != "done":
            raise ConnectionResetError(fate)
        return reply

    def publish(self, call: list[bytes]) -> Any:
        """As functions.lua has it."""
        number, after = int(call[-5]), int(call[-4])
        _, _, ids, *_ = msgspec.msgpack.decode(call[-1])
        if self.done < after:
            return [b"BEHIND", 0, b"%d" % self.done]
        if number > self.done:
            for seq in (int(entry.split("-")[1]) for entry in ids):
                if not self.journal or seq > self.journal[-1]:
                    self.journal.append(seq)
                    self.published.append(seq)
            self.done = number
        return len(ids)


class FakeWire:
    """A connection to the model: a call is dealt with when its reply is wanted, or when the next
    has come to it, so that a fault meets those behind it too."""

    def __init__(self, server: Server) -> None:
        self._server, self._calls = server, hiredis.Reader()
        self._waiting: deque[list[bytes]] = deque()
        self.is_cut = False

    def send(self, packed: bytes) -> None:
        if self.is_cut:
            raise BrokenPipeError("cut")
        self._calls.feed(packed)
        while call := self._calls.gets():
            self._waiting.append(call)
        self._server.most_at_once = max(self._server.most_at_once, len(self._waiting))

    def receive(self) -> Any:
        try:
            return self._server.take(self._waiting.popleft())
        except ConnectionResetError:
            self.is_cut = True
            raise

    def close(self) -> None:
        """What it was sent and nobody waited for may still be dealt with."""
        for call in self._waiting:
            if self._server.fates and self._server.fates[-1] == "done":
                self._server.take(call)


def trade(number: int) -> PriceMessage:
    return PriceMessage(
        symbol="AAPL",
        timestamp="2026-11-21T14:30:05Z",
        price=1.0,
        volume=1,
        trade_id=number,
        exchange="V",
        conditions=(),
        tape="C",
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


def publisher_to(server: Server, patch: pytest.MonkeyPatch) -> RedisPublisher:
    patch.setattr(module, "Wire", lambda _config: FakeWire(server))
    patch.setattr(module, "backoff_delays", lambda: iter(lambda: 0.0, 1.0))
    publisher = RedisPublisher(RedisConfig())
    publisher.open_epoch()
    return publisher


@given(
    fates=st.lists(st.sampled_from(FATES), max_size=30),
    batches=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30),
    looks=st.sets(st.integers(0, 30)),
)
def test_whatever_becomes_of_a_call_each_message_is_written_once_and_in_order(
    fates: list[str], batches: list[tuple[int, bool]], looks: set[int]
) -> None:
    server, sent = Server(fates), 0
    with pytest.MonkeyPatch.context() as patch:
        publisher = publisher_to(server, patch)
        for turn, (size, more) in enumerate(batches):
            publisher.publish_batch([trade(sent + n) for n in range(size)], more=more)
            sent += size
            if not more:
                assert server.journal == list(range(1, sent + 1)), "confirmed is written"
            if turn in looks:
                publisher.ping()  # by the same connection
                seqs = publisher.seqs()
                assert not seqs or seqs == {"AAPL": server.journal[-1]} == {"AAPL": sent}, "a fact"
        publisher.publish_batch([])
    assert server.journal == server.published == list(range(1, sent + 1))
    assert publisher.counters["messages"] == sent


def test_redis_has_the_next_batch_before_it_answers_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server([])
    publisher = publisher_to(server, monkeypatch)
    for number in range(5):
        publisher.publish_batch([trade(number)], more=True)
    assert server.most_at_once == WINDOW > 1
    publisher.publish_batch([])
    assert server.journal == [1, 2, 3, 4, 5]


def test_what_is_given_up_is_all_that_was_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server([])
    publisher = publisher_to(server, monkeypatch)
    publisher.publish_batch([trade(1), trade(2)], more=True)
    publisher.publish_batch([trade(3)], more=True)
    server.fates = ["refused"] * 100
    publisher.give_up()
    with pytest.raises(module.Abandoned) as abandoned:
        publisher.publish_batch([trade(4)])
    assert abandoned.value.messages == 4
    assert publisher.seqs() == {}, "no fact"
