"""What strangers reach: one that floods the broker with requests, and one on another machine."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_broker.rate_limit import BURST
from main.alpaca_sim import LocalAlpaca, SimConfig
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.messages import RegistrationReply
from main.utils.redis.registration import RegistrationClient
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.security.conftest import StartBroker, Users

pytestmark = pytest.mark.integration

TOO_MANY = int(BURST) + 500


class Flood:
    """Publishes faster than anybody may; counts how it is answered."""

    def __init__(self, users: Users, bus: RedisSubscriber) -> None:
        self._users = users
        self.answers: Counter[tuple[str | None, str | None]] = Counter()
        # The replies' channel has no journal: the queue has to hold them all.
        bus.subscribe("BROKER_REGISTRATION_REPLIES", self._count, capacity=100_000)
        bus.start_listening()

    def _count(self, reply: RegistrationReply) -> None:
        self.answers[reply.client_id, reply.reason] += 1

    def ask(self, channel: str, body: object, times: int) -> None:
        pipeline = self._users.admin.pipeline(transaction=False)
        for _ in range(times):
            pipeline.publish(channel, json.dumps(body))
        pipeline.execute()


@pytest.fixture
def flood(users: Users) -> Iterator[Flood]:
    with RedisSubscriber(users.grant("observer")) as bus:
        yield Flood(users, bus)


def in_time_for(client: RegistrationClient) -> float:
    began = time.monotonic()
    assert client.register(["MSFT"])[0].status == "accepted"
    return time.monotonic() - began


@pytest.mark.parametrize("secured", [False, True])
def test_who_floods_is_limited_and_the_others_are_not(
    users: Users, start_broker: StartBroker, flood: Flood, secured: bool
) -> None:
    broker = start_broker(users.grant("broker"), registration_secured=secured)
    request = {"action": "subscribe", "ticker": "AAPL", "client_id": "flood", "lease_s": 60}
    channel = "BROKER_REGISTRATION.flood" if secured else "BROKER_REGISTRATION"
    as_other = users.grant("strategy", user="other", secured=secured)
    with RegistrationClient(as_other, "other", secured=secured) as other:
        flood.ask(channel, request, TOO_MANY)
        assert in_time_for(other) < 5
    wait_for(lambda: sum(flood.answers.values()) == TOO_MANY + 1, what="one reply to each")
    limited = flood.answers["flood", "rate_limited"]
    assert 0 < limited <= 500
    assert flood.answers["flood", None] == TOO_MANY - limited
    assert flood.answers["other", None] == 1
    assert set(broker.following()) == {"AAPL", "MSFT"}


def test_another_name_inside_the_request_does_not_help_in_secured_mode(
    users: Users, start_broker: StartBroker, flood: Flood
) -> None:
    start_broker(users.grant("broker"), registration_secured=True)
    for number in range(5):
        request = {"action": "subscribe", "ticker": "AAPL", "client_id": f"name-{number}"}
        flood.ask("BROKER_REGISTRATION.flood", request, TOO_MANY // 5)
    wait_for(lambda: flood.answers["flood", "rate_limited"] > 0)
    assert {client_id for client_id, _ in flood.answers} == {"flood"}


def test_a_flood_of_nonsense_is_not_answered_for_ever(
    users: Users, start_broker: StartBroker, flood: Flood
) -> None:
    broker: AlpacaBroker = start_broker(users.grant("broker", secured=False))
    flood.ask("BROKER_REGISTRATION", ["nonsense"], TOO_MANY)
    wait_for(lambda: broker.counters["registrations_invalid"] == TOO_MANY)
    as_other = users.grant("strategy", user="other", secured=False)
    with RegistrationClient(as_other, "other") as other:
        assert in_time_for(other) < 5
    assert flood.answers[None, "invalid_request"] < TOO_MANY


# -- from another machine


def listening(pid: int) -> set[tuple[str, int]]:
    connections = psutil.Process(pid).net_connections(kind="inet")
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def addresses_of_this_machine() -> list[str]:
    found = [address for each in psutil.net_if_addrs().values() for address in each]
    return [
        address.address
        for address in found
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]


def test_the_embedded_valkey_listens_on_loopback_only(own_valkey: EmbeddedValkey) -> None:
    assert listening(own_valkey.pid) == {("127.0.0.1", own_valkey.port)}
    check_that_no_other_address_reaches(own_valkey.port)


def test_the_local_alpaca_listens_on_loopback_only() -> None:
    before = listening(psutil.Process().pid)
    with LocalAlpaca(SimConfig(control_port=0)) as sim:
        opened = listening(psutil.Process().pid) - before
        ports = {sim.address.port, sim.address.control_port}
        assert opened == {("127.0.0.1", port) for port in ports}
        check_that_no_other_address_reaches(sim.address.port)


def check_that_no_other_address_reaches(port: int) -> None:
    for address in addresses_of_this_machine():
        with socket.socket() as caller:
            caller.settimeout(1)
            assert caller.connect_ex((address, port)) != 0, f"{address} reaches it"
