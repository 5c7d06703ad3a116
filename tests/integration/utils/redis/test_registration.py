"""Asking the broker, with a broker that is played by a handler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from main.utils.redis import registration
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import RegistrationReply
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.registration import LeaseKeeper, NoBroker, RegistrationClient
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import Subscribers
from tests.integration.utils.redis.played_broker import PlayedBroker

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(config: RedisConfig, subscriber_on: Subscribers) -> Iterator[PlayedBroker]:
    with RedisPublisher(config) as publisher:
        yield PlayedBroker(subscriber_on(config), publisher)


@pytest.fixture
def client_as(config: RedisConfig) -> Iterator[Callable[..., RegistrationClient]]:
    made: list[RegistrationClient] = []

    def make(client_id: str | None, **options: bool) -> RegistrationClient:
        made.append(RegistrationClient(config, client_id, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_each_ticker_gets_its_own_reply_in_order(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    client = client_as("me@here")
    replies = client.register(["AAPL", "BAD", "MSFT"], lease_s=60, data=["trades", "quotes"])
    assert [(r.ticker, r.status) for r in replies] == [
        ("AAPL", "accepted"),
        ("BAD", "rejected"),
        ("MSFT", "accepted"),
    ]
    first = broker.requests[0]
    assert (first["client_id"], first["lease_s"], first["data"]) == (
        "me@here",
        60,
        ["trades", "quotes"],
    )
    (reply,) = client.unregister(["AAPL"])
    assert (reply.action, reply.status) == ("unsubscribe", "accepted")
    assert "lease_s" not in broker.requests[-1]


def test_an_anonymous_client_has_no_lease(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    client_as(None).register(["AAPL"])
    (request,) = broker.requests
    assert set(request) == {"action", "ticker", "request_id"}


def test_a_secured_client_asks_on_its_own_channel(
    config: RedisConfig,
    subscriber_on: Subscribers,
    client_as: Callable[..., RegistrationClient],
) -> None:
    channels: list[str] = []
    bus = subscriber_on(config)
    bus.subscribe(
        CHANNELS.BROKER_REGISTRATION + "*",
        channels.append,
        decode=lambda channel, _payload: channel,
    )
    bus.start_listening()
    with pytest.raises(NoBroker):
        client_as("me", secured=True).register(["AAPL"], timeout_s=0.2)
    wait_for(lambda: channels == ["BROKER_REGISTRATION.me"])
    with pytest.raises(ValueError, match="client_id"):
        client_as(None, secured=True)


def test_nobody_listening_is_told_apart_from_nobody_answering(
    config: RedisConfig,
    subscriber_on: Subscribers,
    client_as: Callable[..., RegistrationClient],
) -> None:
    client = client_as("me")
    with pytest.raises(NoBroker, match="no broker is listening") as nobody:
        client.register(["AAPL"], timeout_s=0.3)
    assert not nobody.value.listening
    with RedisPublisher(config) as publisher:
        PlayedBroker(subscriber_on(config), publisher)
        with pytest.raises(NoBroker, match="did not answer") as dumb:
            client.register(["AAPL", "DUMB"], timeout_s=0.3)
    assert dumb.value.listening
    assert dumb.value.tickers == ("DUMB",)


def test_a_reply_that_was_lost_is_asked_for_again(
    broker: PlayedBroker,
    client_as: Callable[..., RegistrationClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that broke takes along what was on its way; the request is the same one."""
    monkeypatch.setattr(registration, "SILENCE_S", 0.2)
    broker.loses = 1
    replies = client_as("me").register(["AAPL", "MSFT"])
    assert [reply.status for reply in replies] == ["accepted", "accepted"]
    asked = [(request["ticker"], request["request_id"]) for request in broker.requests]
    assert set(asked) == {(reply.ticker, reply.request_id) for reply in replies}
    assert asked[2] == asked[0]


def test_a_broker_that_is_just_starting_is_waited_for(
    config: RedisConfig,
    subscriber_on: Subscribers,
    client_as: Callable[..., RegistrationClient],
) -> None:
    client, bus = client_as("me"), subscriber_on(config)
    with RedisPublisher(config) as publisher:
        threading.Timer(0.3, PlayedBroker, (bus, publisher)).start()
        (reply,) = client.register(["AAPL"], timeout_s=5)
        assert reply.status == "accepted"


def test_other_clients_replies_are_not_taken_for_ones_own(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    mine, other = client_as("me"), client_as("other")
    other.register(["MSFT"])
    (reply,) = mine.register(["AAPL"])
    assert (reply.client_id, reply.ticker) == ("me", "AAPL")


def test_a_keeper_renews_every_third_of_the_lease(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    begun = time.monotonic()
    keeper = LeaseKeeper(client_as("me"), ["AAPL"], lease_s=1)
    keeper.start()
    wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 4)
    assert 0.9 < time.monotonic() - begun < 3
    assert keeper.stop()
    assert broker.asked()["unsubscribe", "AAPL"] == 1


def test_a_keeper_renews_at_once_when_a_new_broker_runs(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    keeper = LeaseKeeper(client_as("me"), ["AAPL", "MSFT"], lease_s=3_600)
    keeper.start()
    wait_for(lambda: broker.asked()["subscribe", "MSFT"] == 1)
    broker.announce(7)
    broker.announce(7)
    broker.announce(8)
    wait_for(lambda: broker.asked()["subscribe", "MSFT"] == 2)
    assert keeper.stop(unregister=False)
    assert broker.asked()["unsubscribe", "AAPL"] == 0


def test_a_keeper_tells_a_rejection_once(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    rejected: list[RegistrationReply] = []

    def on_rejected(reply: RegistrationReply) -> None:
        rejected.append(reply)
        raise ValueError("user code")

    keeper = LeaseKeeper(client_as("me"), ["BAD", "AAPL"], lease_s=1, on_rejected=on_rejected)
    keeper.start()
    wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 3)
    assert keeper.stop()
    assert [reply.ticker for reply in rejected] == ["BAD"]


def test_a_keeper_outlives_the_absence_of_a_broker(
    config: RedisConfig,
    subscriber_on: Subscribers,
    client_as: Callable[..., RegistrationClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("main.utils.redis.leases.RETRY_S", 0.05)
    keeper = LeaseKeeper(client_as("me"), ["AAPL"], lease_s=3)
    keeper.start()
    with RedisPublisher(config) as publisher:
        broker = PlayedBroker(subscriber_on(config), publisher)
        wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 1)
        assert keeper.stop()


def test_a_keeper_that_waits_for_an_absent_broker_ends_at_once(
    config: RedisConfig, client_as: Callable[..., RegistrationClient]
) -> None:
    client = client_as("me")
    keeper = LeaseKeeper(client, ["AAPL"], lease_s=3_600)
    keeper.start()
    with pytest.raises(NoBroker):
        client.register(["AAPL"], timeout_s=0.1)  # by now the keeper waits, too
    begun = time.monotonic()
    assert keeper.stop(unregister=False)
    assert time.monotonic() - begun < 1.0


def test_a_keeper_that_was_never_started_can_be_stopped(
    broker: PlayedBroker, client_as: Callable[..., RegistrationClient]
) -> None:
    assert LeaseKeeper(client_as("me"), ["AAPL"]).stop()
    assert broker.asked() == {("unsubscribe", "AAPL"): 1}
