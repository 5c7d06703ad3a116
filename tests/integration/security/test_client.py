"""What `acl` grants is enough for a TickerClient, and nearly for the recorder."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from main.recorder.errors import MayNotLook
from main.recorder.recorder import Recorder
from main.utils.redis.client import TickerClient
from main.utils.redis.errors import NotPermitted
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.security.conftest import Users
from tests.integration.utils.redis.conftest import order, price
from tests.integration.utils.redis.played_broker import PlayedBroker

pytestmark = pytest.mark.integration


def test_a_strategys_client_needs_no_more_than_its_rules(users: Users) -> None:
    """Last price, late joining, its order journal, leases, and the broker's heartbeat."""
    broker, strategy = users.grant("broker"), users.grant("strategy", "bot", secured=True)
    with (
        RedisPublisher(broker) as publisher,
        RedisSubscriber(broker) as bus,
        TickerClient(strategy, "bot", secured=True) as client,
    ):
        publisher.open_epoch()
        played = PlayedBroker(bus, publisher)
        publisher.publish_batch([order(), price(number=1)])
        users.refusals()
        stream = client.follow("AAPL", from_last=True)
        played.announce(publisher.epoch)
        wait_for(lambda: client.broker.ready)
        assert next(stream).seq == 2
        assert client.last("AAPL") is not None
    assert played.asked() == {("subscribe", "AAPL"): 1, ("unsubscribe", "AAPL"): 1}
    assert users.refusals("bot") == []


def test_a_ticker_that_the_user_may_not_hear_is_named(users: Users) -> None:
    broker = users.grant("broker")
    strategy = users.grant("strategy", "bot", tickers=("AAPL",))
    with (
        RedisPublisher(broker) as publisher,
        RedisSubscriber(broker) as bus,
        TickerClient(strategy, "bot") as client,
    ):
        PlayedBroker(bus, publisher)
        with pytest.raises(NotPermitted, match="refuses TICKER_UPDATES_MSFT"):
            client.follow("AAPL", "MSFT")
        assert client.tickers == ()


def test_the_recorder_says_which_right_it_lacks_and_needs_no_other(
    users: Users, tmp_path: Path
) -> None:
    broker, observer = users.grant("broker"), users.grant("observer")
    lacking = Recorder(observer, tmp_path)
    with pytest.raises(MayNotLook, match=r"grant \+scan beside the rules of `acl observer`"):
        lacking.run()
    users.admin.execute_command("ACL", "SETUSER", "observer", "+scan")
    users.refusals()
    with RedisPublisher(broker) as publisher:
        publisher.open_epoch()
        publisher.publish_batch([price(number=1)])
        recorder = Recorder(observer, tmp_path)
        thread = threading.Thread(target=recorder.run, name="recorder")
        thread.start()
        try:
            wait_for(lambda: recorder.listening)
            publisher.publish_batch([price(number=2), order()])
            wait_for(lambda: recorder.taken == 2)
        finally:
            recorder.stop()
            thread.join(20)
    assert recorder.counters["messages"] == 2
    assert users.refusals("observer") == []
