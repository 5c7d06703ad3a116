"""RedisPublisher and the server-side function: every way a batch can go."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import msgspec
import pytest
import redis

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.batch import FUNCTION, JournalBounds
from main.utils.redis.config import RedisConfig, Wire
from main.utils.redis.constants import CHANNELS
from main.utils.redis.errors import Abandoned, Fenced, IllegalUse, InvalidTicker, RedisUnavailable
from main.utils.redis.messages import BusMessage, QuoteMessage, decode_typed, rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.replicas import ReplicaWatch
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import EVENING, Publishers, order, price

pytestmark = pytest.mark.integration

TICKER_LOG, ORDER_LOG = CHANNELS.ticker_log("AAPL"), CHANNELS.order_log("AAPL")
END = b"all until here"
UPDATES, QUOTES = CHANNELS.get_ticker_channel("AAPL"), CHANNELS.get_quotes_channel("AAPL")


def quote() -> QuoteMessage:
    return QuoteMessage(
        symbol="AAPL",
        timestamp=rfc3339(EVENING),
        bid_price=1.0,
        bid_size=1,
        ask_price=1.1,
        ask_size=2,
        feed="iex",
    )


class PlainSubscriber:
    """A subscriber without the library: what it sees is what Redis published."""

    def __init__(self, client: redis.Redis) -> None:
        self._client, self._pubsub = client, client.pubsub(ignore_subscribe_messages=True)
        self._pubsub.subscribe(UPDATES, QUOTES)
        self._pubsub.get_message(timeout=5)
        self._pubsub.get_message(timeout=5)

    def heard(self) -> list[bytes]:
        """All that was published since the last call: what comes before a mark that is now."""
        self._client.publish(UPDATES, END)
        bodies = []
        while (body := self._next()) != END:
            bodies.append(body)
        return bodies

    def _next(self) -> bytes:
        message = self._pubsub.get_message(timeout=10)
        assert message is not None, "a mark that was published comes"
        body: bytes = message["data"]
        return body

    def close(self) -> None:
        self._pubsub.close()


@pytest.fixture
def client(config: RedisConfig) -> Iterator[redis.Redis]:
    client = config.client()
    yield client
    client.close()


@pytest.fixture
def listener(client: redis.Redis) -> Iterator[PlainSubscriber]:
    with closing(PlainSubscriber(client)) as subscriber:
        yield subscriber


def ids(client: redis.Redis, key: str) -> list[str]:
    return [entry_id.decode() for entry_id, _ in client.xrange(key)]


def send_again(publisher: RedisPublisher, packed: bytes) -> object:
    """The same call byte for byte, as after a lost reply."""
    return publisher._exchange(packed)


def test_what_is_journalled_is_what_is_published_under_the_same_number(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=1), price(number=2)])
    epoch = publisher.epoch
    assert ids(client, TICKER_LOG) == [f"{epoch}-1", f"{epoch}-2"]
    bodies = [fields[b"m"] for _, fields in client.xrange(TICKER_LOG)]
    assert listener.heard() == bodies
    decoded = [decode_typed(body) for body in bodies]
    assert [(m.epoch, m.seq) for m in decoded] == [(epoch, 1), (epoch, 2)]  # type: ignore[union-attr]
    assert client.get(CHANNELS.BROKER_EPOCH) == str(epoch).encode()


def test_orders_are_in_both_journals_with_the_same_number_and_before_the_prices(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=1), order(number=2), price(number=3)])
    epoch = publisher.epoch
    assert ids(client, ORDER_LOG) == [f"{epoch}-1"]
    assert ids(client, TICKER_LOG) == [f"{epoch}-1", f"{epoch}-2", f"{epoch}-3"]
    assert client.xrange(ORDER_LOG) == client.xrange(TICKER_LOG, count=1)
    assert b'"type":"order"' in listener.heard()[0]
    assert 6 * 86_400 < client.ttl(ORDER_LOG) <= 7 * 86_400


def test_a_batch_that_is_sent_again_is_neither_written_nor_published_twice(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    assert publisher._packer is not None
    batch = publisher._packer.pack([order(), price(), quote(), price("MSFT")])
    for _ in range(3):
        assert send_again(publisher, batch.call()) == 4
    assert len(ids(client, TICKER_LOG)) == 2
    assert len(ids(client, ORDER_LOG)) == 1
    heard = listener.heard()
    assert len(heard) == 3, "two updates and one quote"
    assert sum(b'"quote"' in body for body in heard) == 1


def test_quotes_count_on_their_own_and_are_in_no_journal(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(), quote()])
    publisher.publish_batch([quote()])
    quotes = [decode_typed(body) for body in listener.heard() if b'"quote"' in body]
    assert [message.seq for message in quotes] == [1, 2]  # type: ignore[union-attr]
    assert publisher.seqs() == {"AAPL": 1}
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-1"]


def test_a_superseded_publisher_is_fenced_and_writes_nothing(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    old = publisher_on(config)
    new = publisher_on(config)
    assert new.epoch > old.epoch
    with pytest.raises(Fenced) as fenced:
        old.publish_batch([price(), quote()])
    assert (fenced.value.mine, fenced.value.theirs) == (old.epoch, str(new.epoch))
    assert not client.exists(TICKER_LOG)
    assert listener.heard() == []


def test_after_a_flushall_the_batch_goes_through_with_its_number(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=1)])
    client.flushall()
    publisher.publish_batch([price(number=2)])
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-2"]
    assert client.get(CHANNELS.BROKER_EPOCH) == str(publisher.epoch).encode()
    assert len(listener.heard()) == 2


def test_after_a_flushall_the_first_of_two_owns_the_epoch_and_the_other_is_fenced(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    old, new = publisher_on(config), publisher_on(config)
    client.flushall()
    new.publish_batch([price()])
    with pytest.raises(Fenced):
        old.publish_batch([price()])
    old.restore_epoch()
    assert client.get(CHANNELS.BROKER_EPOCH) == str(new.epoch).encode()


def test_a_server_that_forgot_the_function_gets_it_again(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config)
    client.function_flush()
    publisher.publish_batch([price()])
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-1"]


@pytest.mark.parametrize("key", [TICKER_LOG, ORDER_LOG])
def test_a_foreign_value_under_a_journals_name_is_set_aside(
    config: RedisConfig,
    publisher_on: Publishers,
    client: redis.Redis,
    listener: PlainSubscriber,
    key: str,
) -> None:
    publisher = publisher_on(config)
    client.set(key, "something else")
    publisher.publish_batch([price("MSFT"), order(), price()])
    (aside,) = client.keys(f"{key}.set_aside.*")
    assert client.get(aside) == b"something else"
    assert len(ids(client, TICKER_LOG)) == 2
    assert len(ids(client, ORDER_LOG)) == 1
    assert len(listener.heard()) == 2, "nothing was published twice by the retry"
    assert publisher.counters["journals_set_aside"] == 1
    assert client.ttl(aside) > 86_400, "for whoever looks into it, and not for ever"


def test_a_journal_whose_top_is_of_another_epoch_does_not_pass_for_done(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    later = publisher.epoch + 1_000_000
    client.xadd(TICKER_LOG, {"m": "from the future"}, id=f"{later}-9")
    assert publisher._packer is not None
    packed = publisher._packer.pack([price()]).call()
    reply = send_again(publisher, packed)
    assert isinstance(reply, list)
    assert reply[:2] == [b"FAILED", 1]
    publisher._packer._ticker("AAPL").seq = 0
    publisher.publish_batch([price()])
    (aside,) = client.keys(f"{TICKER_LOG}.set_aside.*")
    assert ids(client, aside.decode()) == [f"{later}-9"]
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-1"]
    assert len(listener.heard()) == 1


def test_a_failure_in_the_middle_says_where_and_the_retry_repeats_nothing(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    client.set(CHANNELS.ticker_log("MSFT"), "something else")
    assert publisher._packer is not None
    packed = publisher._packer.pack([price(number=1), price("MSFT"), price(number=2)]).call()
    reply = send_again(publisher, packed)
    assert isinstance(reply, list)
    assert reply[:2] == [b"FAILED", 2]
    assert reply[2].startswith(b"TICKER_LOG_MSFT: WRONGTYPE")
    assert len(ids(client, TICKER_LOG)) == 1
    client.delete(CHANNELS.ticker_log("MSFT"))
    assert send_again(publisher, packed) == 3
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-1", f"{publisher.epoch}-2"]
    assert len(listener.heard()) == 2


def test_the_journal_is_bounded_and_the_orders_are_not_pushed_out(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config, JournalBounds(max_per_ticker=100))
    publisher.publish_batch([order()])
    publisher.publish_batch([price(number=number) for number in range(1, 3_001)])
    assert 100 <= client.xlen(TICKER_LOG) < 300
    assert ids(client, ORDER_LOG) == [f"{publisher.epoch}-1"]


def test_epochs_rise_even_when_the_clock_steps_back(
    config: RedisConfig, publisher_on: Publishers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publisher_on(config)
    monkeypatch.setattr("main.utils.redis.publisher.time.time_ns", lambda: 1_000_000_000)
    assert publisher_on(config).epoch == first.epoch + 1


def test_more_than_a_thousand_messages_go_in_several_equal_steps(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=number) for number in range(1, 2_502)])
    assert publisher.counters["batches"] == 3
    assert publisher.counters["messages"] == client.xlen(TICKER_LOG) == 2_501
    sizes, _ = publisher.batch_sizes.read()
    assert dict(sizes)["500.0"] == 0, "no small one waits for a full one"


def test_a_read_only_replica_takes_nothing_and_the_batch_waits_for_a_primary(
    own_config: RedisConfig,
    config: RedisConfig,
    publisher_on: Publishers,
) -> None:
    publisher = publisher_on(own_config)
    admin = own_config.client()
    admin.replicaof("127.0.0.1", config.port)
    thread = threading.Thread(target=publisher.publish_batch, args=([price()],))
    thread.start()
    wait_for(lambda: publisher.trouble)
    assert publisher.trouble is not None
    assert publisher.trouble.startswith("READONLY")
    assert not admin.exists(TICKER_LOG)
    admin.replicaof("NO", "ONE")
    thread.join(10)
    assert not thread.is_alive()
    assert ids(admin, TICKER_LOG) == [f"{publisher.epoch}-1"]
    assert publisher.trouble is None
    admin.close()


@dataclass(frozen=True, kw_only=True)
class LimitedUser:
    """A publisher of a Redis user whose rights change."""

    publisher: RedisPublisher
    admin: redis.Redis
    listener: PlainSubscriber

    @contextmanager
    def publishes(self, batch: list[BusMessage], *, without: str, again: str) -> Iterator[None]:
        """Meanwhile it is tried in vain; in the end it went through."""
        self.admin.execute_command("ACL", "SETUSER", "broker", without)
        thread = threading.Thread(target=self.publisher.publish_batch, args=(batch,))
        thread.start()
        wait_for(lambda: self.publisher.counters["batch_retries"] > 2)
        yield
        self.admin.execute_command("ACL", "SETUSER", "broker", again)
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def limited(
    own_valkey: EmbeddedValkey, own_config: RedisConfig, publisher_on: Publishers
) -> Iterator[LimitedUser]:
    with (
        redis.Redis(port=own_valkey.port) as admin,
        closing(PlainSubscriber(admin)) as listener,
    ):
        admin.acl_setuser("broker", enabled=True, nopass=True, keys=["*"], categories=["+@all"])
        admin.execute_command("ACL", "SETUSER", "broker", "allchannels")
        publisher = publisher_on(replace(own_config, username="broker", password="any"))
        yield LimitedUser(publisher=publisher, admin=admin, listener=listener)


def test_a_batch_that_may_not_be_published_is_not_written_and_goes_out_whole_once_it_may(
    limited: LimitedUser,
) -> None:
    """Written but not published would count as done: those who only listen would never hear it."""
    batch = [price(number=1), price(number=2), quote(), price(number=3)]
    with limited.publishes(batch, without="resetchannels", again="allchannels"):
        assert ids(limited.admin, TICKER_LOG) == []
    epoch = limited.publisher.epoch
    assert ids(limited.admin, TICKER_LOG) == [f"{epoch}-{seq}" for seq in (1, 2, 3)]
    assert len(limited.listener.heard()) == len(batch)


def test_a_batch_that_waits_for_redis_can_be_given_up(
    own_valkey: EmbeddedValkey, own_config: RedisConfig, publisher_on: Publishers
) -> None:
    publisher = publisher_on(own_config)
    own_valkey.kill()
    outcome: list[BaseException] = []

    def publish() -> None:
        try:
            publisher.publish_batch([price(), price()])
        except Abandoned as abandoned:
            outcome.append(abandoned)

    thread = threading.Thread(target=publish)
    thread.start()
    wait_for(lambda: publisher.counters["batch_retries"])
    publisher.give_up()
    thread.join(5)
    assert not thread.is_alive()
    assert [error.messages for error in outcome] == [2]  # type: ignore[attr-defined]


def test_control_messages_survive_a_cut_connection_and_tell_how_many_heard(
    config: RedisConfig, client: redis.Redis
) -> None:
    with RedisPublisher(config) as publisher, client.pubsub() as pubsub:
        pubsub.subscribe("CONTROL")
        pubsub.get_message(timeout=5)
        client.client_kill_filter(_type="normal", skipme=True)
        assert publisher.publish("CONTROL", {"a": 1}, sender="me") == 1
        body = pubsub.get_message(timeout=5)["data"]
        assert body.startswith(b'{"data":{"a":1},"sender":"me","timestamp":"')
        assert publisher.counters["reconnects"] == 1


def test_no_redis_and_no_epoch_are_told_at_once(own_valkey: EmbeddedValkey) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    with RedisPublisher(config) as publisher:
        with pytest.raises(IllegalUse):
            publisher.publish_batch([price()])
        assert publisher.ping()
        own_valkey.kill()
        assert not publisher.ping()
        with pytest.raises(RedisUnavailable):
            publisher.publish("CONTROL", {})
    with pytest.raises(RedisUnavailable):
        RedisPublisher(config)


def test_the_function_is_called_by_the_name_that_it_is_registered_under(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher_on(config)
    listed = client.function_list()
    assert FUNCTION.encode() in repr(listed).encode()


# -- what is sent ahead, while its caller prepares more


def test_what_is_sent_ahead_is_confirmed_before_anything_else_goes_out(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    for number in range(1, 6):
        publisher.publish_batch([price(number=number)], more=True)
    publisher.publish(UPDATES, {"said": "in between"})
    assert publisher.seqs() == {"AAPL": 5}
    publisher.publish_batch([])
    assert publisher.counters["messages"] == client.xlen(TICKER_LOG) == 5
    heard = listener.heard()
    assert [decode_typed(body).seq for body in heard[:-1]] == [1, 2, 3, 4, 5]  # type: ignore[union-attr]
    assert heard[-1] == b'{"said":"in between"}'


def test_a_connection_that_is_cut_after_sending_ahead_loses_and_repeats_nothing(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    for number in range(1, 101):
        publisher.publish_batch([price(number=number)], more=number % 10 > 0)
        if number % 7 == 0:
            client.client_kill_filter(_type="normal", skipme=True)
    publisher.publish_batch([])
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in range(1, 101)]
    seqs = [decode_typed(body).seq for body in listener.heard()]  # type: ignore[union-attr]
    assert seqs == list(range(1, 101))
    assert publisher.counters["reconnects"] > 0


def test_what_was_sent_ahead_to_an_emptied_redis_is_sent_again(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config)
    client.flushall()
    publisher.publish_batch([price(number=1)], more=True)
    assert publisher.seqs() == {}, "no fact before it is confirmed"
    publisher.publish_batch([price(number=2)])
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-1", f"{publisher.epoch}-2"]
    assert publisher.seqs() == {"AAPL": 2}


def test_who_was_superseded_after_sending_ahead_learns_of_it_with_the_next_call(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    old = publisher_on(config)
    publisher_on(config)
    old.publish_batch([price()], more=True)
    with pytest.raises(Fenced):
        old.publish_batch([])
    assert not client.exists(TICKER_LOG)


@contextmanager
def frozen(server: EmbeddedValkey, publisher: RedisPublisher) -> Iterator[None]:
    """Number 2 was sent ahead and 3 is being published; all go through once it wakes."""
    publisher.publish_batch([price(number=1)])
    os.kill(server.pid, signal.SIGSTOP)
    try:
        publisher.publish_batch([price(number=2)], more=True)
        thread = threading.Thread(target=publisher.publish_batch, args=([price(number=3)],))
        thread.start()
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)
    thread.join(10)
    assert not thread.is_alive()
    with redis.Redis(port=server.port) as admin:
        assert ids(admin, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in (1, 2, 3)]


def test_what_was_sent_ahead_to_a_frozen_redis_goes_through_once_it_wakes(
    own_valkey: EmbeddedValkey, own_config: RedisConfig, publisher_on: Publishers
) -> None:
    publisher = publisher_on(own_config)
    with frozen(own_valkey, publisher):
        wait_for(lambda: publisher.trouble)


def test_a_batch_is_packed_while_redis_has_not_confirmed_the_one_before(
    own_valkey: EmbeddedValkey, own_config: RedisConfig, publisher_on: Publishers
) -> None:
    """And with it goes nothing: it is sent after that, in its order."""
    publisher = publisher_on(own_config)
    packer = publisher._packer
    assert packer is not None
    with frozen(own_valkey, publisher):
        wait_for(lambda: packer.seqs == {"AAPL": 3}, what="it is packed")
        assert publisher.counters["messages"] == 1, "the one before is not confirmed"


def test_what_cannot_be_packed_leaves_alone_what_was_sent_ahead(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=1)], more=True)
    with pytest.raises(InvalidTicker):
        publisher.publish_batch([price(), price("no ticker")])
    publisher.publish_batch([price(number=2)])
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in (1, 2)]
    assert publisher.seqs() == {"AAPL": 2}


def test_a_batch_whose_predecessor_was_refused_is_refused_too(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis, listener: PlainSubscriber
) -> None:
    """Its higher ids would make what is missing look as if it had been written."""
    publisher = publisher_on(config)
    assert publisher._packer is not None
    first, second = (publisher._packer.pack([price(), quote()]) for _ in range(2))
    assert send_again(publisher, second.call(after=first.number)) == [b"BEHIND", 0, b"0"]
    assert not client.exists(TICKER_LOG)
    assert listener.heard() == []
    assert send_again(publisher, first.call()) == 2
    assert send_again(publisher, second.call(after=first.number)) == 2
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in (1, 2)]


def test_whom_redis_has_lost_the_predecessor_of_goes_through_once_that_is_known(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    """As by a failover: the new primary lacks what the old one has confirmed."""
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=1)], more=True)
    publisher.ping()  # its reply is read
    client.delete(CHANNELS.BROKER_BATCH)
    publisher.publish_batch([price(number=2)])
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in (1, 2)]


@pytest.mark.parametrize("key", [CHANNELS.ticker_log("MSFT"), ORDER_LOG])
def test_what_stops_a_batch_stops_those_that_were_sent_behind_it(
    config: RedisConfig,
    publisher_on: Publishers,
    client: redis.Redis,
    listener: PlainSubscriber,
    key: str,
) -> None:
    publisher = publisher_on(config)
    client.set(key, "something else")
    publisher.publish_batch([order(), price("MSFT", number=1)], more=True)
    for number in range(2, 6):
        publisher.publish_batch([price(number=number)], more=True)
    publisher.publish_batch([])
    assert publisher.counters["journals_set_aside"] == 1
    assert publisher.counters["batch_retries"] == 0, "mended, and no trouble"
    assert ids(client, ORDER_LOG) == [f"{publisher.epoch}-1"]
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in range(1, 6)]
    assert ids(client, CHANNELS.ticker_log("MSFT")) == [f"{publisher.epoch}-1"]
    seqs = [decode_typed(body).seq for body in listener.heard()]  # type: ignore[union-attr]
    assert seqs == [1, 2, 3, 4, 5]


def test_a_refused_batch_is_seen_to_while_there_is_nothing_to_add(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    """As while a ticker's messages wait for their refill."""
    publisher = publisher_on(config)
    client.set(TICKER_LOG, "something else")
    publisher.publish_batch([price()], more=True)
    publisher.publish_batch([], more=True)
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-1"]
    assert publisher.seqs() == {"AAPL": 1}


def test_a_refusal_that_was_read_early_is_not_believed_later(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config)
    client.config_set("maxmemory", 1)
    try:
        publisher.publish_batch([price(number=1)], more=True)
        publisher.publish_batch([price(number=2)], more=True)
        assert publisher.seqs() == {}, "its replies are read, and they are no facts"
    finally:
        client.config_set("maxmemory", 0)
    publisher.publish_batch([])
    assert publisher.counters["batch_retries"] == 0
    assert ids(client, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in (1, 2)]


@pytest.fixture
def moves(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whoever connects comes to the last of these ports."""
    ports: list[int] = []
    monkeypatch.setattr(
        "main.utils.redis.publisher.Wire",
        lambda config: Wire(replace(config, port=ports[-1], sentinels=()) if ports else config),
    )
    return ports


def test_what_one_primary_has_done_is_no_fact_of_the_next(
    config: RedisConfig,
    own_config: RedisConfig,
    publisher_on: Publishers,
    moves: list[int],
) -> None:
    publisher = publisher_on(config)
    with closing(own_config.client()) as other:
        other.set(CHANNELS.BROKER_EPOCH, publisher.epoch)
        publisher.publish_batch([price(number=1)], more=True)
        publisher.publish_batch([order(number=2)], more=True)
        assert publisher.seqs() == {"AAPL": 2}, "the replies are read"
        moves.append(own_config.port)
        publisher.reconnect()
        assert publisher.seqs() == {}
        publisher.publish_batch([price(number=3)])
        assert ids(other, TICKER_LOG) == [f"{publisher.epoch}-{seq}" for seq in (1, 2, 3)]
        assert ids(other, ORDER_LOG) == [f"{publisher.epoch}-2"]


def test_of_a_thousand_orders_and_more_a_failover_in_the_middle_loses_none(
    config: RedisConfig,
    own_config: RedisConfig,
    publisher_on: Publishers,
    moves: list[int],
) -> None:
    """The first part's replica became the primary, without it, while the second was on its way."""
    publisher = publisher_on(config)
    orders = [
        msgspec.structs.replace(order(), timestamp=rfc3339(time.time_ns())) for _ in range(1_500)
    ]

    class Promoted(ReplicaWatch):
        def is_kept(self, replicas: int) -> bool:
            was_moved = bool(moves)
            moves.append(own_config.port)
            return was_moved

    publisher._config = replace(publisher._config, sentinels=(("127.0.0.1", 1),))
    publisher._replicas = Promoted()
    with closing(own_config.client()) as promoted:
        promoted.set(CHANNELS.BROKER_EPOCH, publisher.epoch)
        publisher.publish_batch(orders)
        whole = [f"{publisher.epoch}-{seq}" for seq in range(1, 1_501)]
        assert ids(promoted, ORDER_LOG) == ids(promoted, TICKER_LOG) == whole
        promoted.flushall()
        publisher.restore_epoch()
        assert ids(promoted, ORDER_LOG) == whole, "remembered in their order"


def test_a_replica_is_waited_for_after_a_repetition_too(
    config: RedisConfig,
    own_valkey: EmbeddedValkey,
    own_config: RedisConfig,
    publisher_on: Publishers,
    client: redis.Redis,
) -> None:
    """WAIT counts from a connection's last write, and to be done before is a write as well."""
    publisher = publisher_on(config)
    assert publisher._packer is not None
    batch = publisher._packer.pack([order()])
    with closing(own_config.client()) as replica:
        client.config_set("repl-diskless-sync-delay", 0)
        replica.replicaof("127.0.0.1", config.port)
        wait_for(lambda: client.info("replication").get("slave0", {}).get("state") == "online")
        os.kill(own_valkey.pid, signal.SIGSTOP)
        try:
            assert send_again(publisher, batch.call()) == 1
            publisher.reconnect()
            assert send_again(publisher, batch.call()) == 1
            assert publisher._call("WAIT", 1, 100) == 0, "the replica has nothing of it"
        finally:
            os.kill(own_valkey.pid, signal.SIGCONT)
        wait_for(lambda: client.wait(1, 100) == 1 or None)


def test_quotes_are_not_repeated_while_redis_refuses_to_note_that_they_were_published(
    limited: LimitedUser,
) -> None:
    with limited.publishes([quote(), price()], without="-set", again="+set"):
        pass
    heard = [type(decode_typed(body)).__name__ for body in limited.listener.heard()]
    assert sorted(heard) == ["PriceMessage", "QuoteMessage"]


def test_a_foreign_value_under_the_marks_name_stops_nothing(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    publisher = publisher_on(config)
    client.lpush(CHANNELS.BROKER_BATCH, "something else")
    publisher.publish_batch([price()])
    assert client.get(CHANNELS.BROKER_BATCH) == b"%d-1" % publisher.epoch


# -- what comes late, and who else is there


def test_quotes_of_a_call_that_comes_after_its_successor_are_not_published_again(
    config: RedisConfig, publisher_on: Publishers, listener: PlainSubscriber
) -> None:
    publisher = publisher_on(config)
    assert publisher._packer is not None
    first, second = (publisher._packer.pack([quote()]) for _ in range(2))
    for batch in (first, second, first):
        assert send_again(publisher, batch.call()) == 1
    assert [decode_typed(body).seq for body in listener.heard()] == [1, 2]  # type: ignore[union-attr]


def test_an_older_release_on_the_same_redis_keeps_its_functions(
    config: RedisConfig, publisher_on: Publishers, client: redis.Redis
) -> None:
    older = "#!lua name=tickerbus_1\nredis.register_function('tickerbus_publish_1', function() end)"
    client.function_load(older, replace=True)
    publisher_on(config).publish_batch([price()])
    assert client.fcall("tickerbus_publish_1", 0) is None
    client.function_load(older, replace=True)
    publisher_on(config).publish_batch([price()])
    assert len(ids(client, TICKER_LOG)) == 2
