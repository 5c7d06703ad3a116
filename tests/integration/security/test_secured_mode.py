"""REGISTRATION_SECURED=true: who asks is who the channel's name, and so Redis, says."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_broker.leadership import Leadership, Standing
from main.alpaca_sim import LocalAlpaca
from main.demo import client_id_of
from main.holders import read_holders
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import RegistrationReply
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.cli.conftest import Person, read_until
from tests.integration.security.conftest import StartBroker, Users

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(users: Users, start_broker: StartBroker) -> AlpacaBroker:
    return start_broker(users.grant("broker"), registration_secured=True)


@pytest.fixture
def replies(users: Users, broker: AlpacaBroker) -> Any:
    heard: list[RegistrationReply] = []
    with RedisSubscriber(users.grant("observer")) as bus:
        bus.subscribe(CHANNELS.BROKER_REGISTRATION_REPLIES, heard.append)
        bus.start_listening()
        yield heard


def ask(users: Users, channel: str, **request: object) -> int:
    body = json.dumps({"action": "subscribe", "ticker": "AAPL"} | request)
    return int(users.admin.publish(channel, body))


def test_the_channels_name_says_who_asks_whatever_the_request_says(
    users: Users, replies: list[RegistrationReply]
) -> None:
    channel = CHANNELS.get_client_registration_channel
    ask(users, channel("honest"), request_id="plain")
    ask(users, channel("honest"), request_id="forged", client_id="victim", ticker="MSFT")
    envelope = {"data": {"action": "subscribe", "ticker": "SPY", "request_id": "enveloped"}}
    users.admin.publish(channel("honest"), json.dumps(envelope | {"sender": "victim"}))
    wait_for(lambda: len(replies) == 3)
    assert {reply.client_id for reply in replies} == {"honest"}
    assert {reply.status for reply in replies} == {"accepted"}
    held = users.admin.hkeys(CHANNELS.BROKER_LEASES)
    assert sorted(held) == [b"AAPL|honest", b"MSFT|honest", b"SPY|honest"]


def test_one_client_cannot_let_go_of_what_another_holds(
    users: Users, broker: AlpacaBroker, replies: list[RegistrationReply]
) -> None:
    ask(users, "BROKER_REGISTRATION.victim", request_id="1")
    ask(users, "BROKER_REGISTRATION.thief", action="unsubscribe", client_id="victim")
    wait_for(lambda: len(replies) == 2)
    assert (replies[1].client_id, replies[1].reason) == ("thief", "not_registered")
    assert "AAPL" in broker.following()


def test_the_shared_channel_is_ignored_and_counted(
    users: Users, broker: AlpacaBroker, replies: list[RegistrationReply]
) -> None:
    ask(users, CHANNELS.BROKER_REGISTRATION, client_id="anybody", request_id="ignored")
    ask(users, "BROKER_REGISTRATION.honest", ticker="MSFT")
    wait_for(lambda: replies)
    wait_for(lambda: broker.counters["registrations_unsecured"] == 1)
    assert [reply.ticker for reply in replies] == ["MSFT"]
    assert set(broker.following()) == {"MSFT"}


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "star*", "line\nfeed"])
def test_a_channel_that_names_no_client_is_answered_and_holds_nothing(
    users: Users, broker: AlpacaBroker, replies: list[RegistrationReply], name: str
) -> None:
    ask(users, f"BROKER_REGISTRATION.{name}", client_id="victim")
    wait_for(lambda: replies)
    assert replies[0].reason == "invalid_request"
    assert broker.following() == {}


def test_a_second_broker_sees_that_the_secured_one_is_alive(
    users: Users, broker: AlpacaBroker
) -> None:
    """It must not take a vanished key at once: the owner comes back for it."""
    assert broker.account is not None
    users.admin.delete(CHANNELS.BROKER_LEADER)
    second = Leadership(users.admin, CHANNELS, broker.account.id)
    assert second.seek() is Standing.WAITING
    wait_for(lambda: users.admin.get(CHANNELS.BROKER_LEADER), what="the owner takes it back")
    assert broker.state == "RUNNING"


def test_the_commands_register_where_the_settings_say(
    users: Users, broker: AlpacaBroker, sim: LocalAlpaca, tmp_path: Path
) -> None:
    """`register`, `watch` and `unregister`, as a user that may do nothing else."""
    ids = tuple(client_id_of(program) for program in ("cli", "watch"))
    person = Person(tmp_path)
    person.environment |= environment_of(users.grant("strategy", client_ids=ids))
    assert "accepted for 1 h" in person.types("register AAPL").out
    assert [h.client_id for h in read_holders(users.grant("observer"))] == [ids[0]]
    watching = person.starts("watch MSFT")
    wait_for(lambda: "MSFT" in broker.following(), 20)
    sim.trade("MSFT", 321.0)
    assert "321" in read_until(watching, "price")
    watching.send_signal(signal.SIGINT)
    said = watching.communicate(timeout=10)
    assert watching.returncode == 0, said
    wait_for(lambda: set(broker.following()) == {"AAPL"}, what="watch lets go")
    refused = person.types("unregister AAPL --client somebody-else")
    assert refused.code == 2
    assert "refuses BROKER_REGISTRATION.somebody-else" in refused.err
    assert person.types("unregister AAPL").code == 0
    wait_for(lambda: broker.following() == {})
    anonymous = person.types("register AAPL --forever")
    assert "there are no anonymous registrations" in anonymous.err
    assert users.refusals("strategy") == ["strategy: BROKER_REGISTRATION.somebody-else (toplevel)"]


def environment_of(config: RedisConfig) -> dict[str, str]:
    return {
        "REDIS_HOST": config.host,
        "REDIS_PORT": str(config.port),
        "REDIS_USERNAME": config.username or "",
        "REDIS_PASSWORD": config.password or "",
        "REGISTRATION_SECURED": "true",
    }
