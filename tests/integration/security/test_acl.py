"""The printed ACL rules on a real server: enough for each role's work, and for nothing else."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from contextlib import closing
from typing import Any

import pytest
import redis

from main.acl import AclRequest, Role, acl_rule
from main.alpaca_sim import LocalAlpaca
from main.dashboard.config import DashboardConfig
from main.dashboard.registrar import Registrar
from main.dashboard.server import DashboardServer
from main.holders import read_holders
from main.scale_t.alone import TickerLease
from main.utils.redis.batch import JournalBounds
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS, BusNames
from main.utils.redis.errors import NotPermitted
from main.utils.redis.messages import PriceMessage, rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.ready import check_broker_redis, check_reader_redis
from main.utils.redis.registration import LeaseKeeper, RegistrationClient
from main.utils.redis.start import Start
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.cli.conftest import free_port
from tests.integration.security.conftest import StartBroker, Users

pytestmark = pytest.mark.integration

ORDER = {
    "symbol": "AAPL",
    "qty": "1",
    "side": "buy",
    "type": "limit",
    "limit_price": "1.00",
    "time_in_force": "day",
}


def price(cents: int) -> PriceMessage:
    return PriceMessage(
        symbol="AAPL",
        timestamp=rfc3339(1_790_000_000_000_000_000 + cents),
        price=cents / 100,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


# -- enough


@pytest.mark.parametrize(("secured", "prefix"), [(True, "PAPER_"), (False, "")])
def test_the_broker_does_all_its_work_as_its_user(
    users: Users, sim: LocalAlpaca, start_broker: StartBroker, secured: bool, prefix: str
) -> None:
    """Registration, price, order, hand-over to a standby, restart with what was held."""
    as_broker = users.grant("broker", secured=secured, prefix=prefix)
    as_strategy = users.grant("strategy", secured=secured, prefix=prefix)
    heard: list[Any] = []
    first = start_broker(as_broker, registration_secured=secured)
    assert first.state == "RUNNING"
    standby = start_broker(as_broker, registration_secured=secured)
    assert standby.state == "STANDBY"
    names = BusNames(prefix)
    with (
        RedisSubscriber(as_strategy) as bus,
        RegistrationClient(as_strategy, "strategy", secured=secured) as client,
    ):
        bus.subscribe(names.get_ticker_channel("AAPL"), heard.append)
        bus.start_listening()
        (reply,) = client.register(["AAPL"], data=["trades", "quotes"])
        assert (reply.status, reply.client_id) == ("accepted", "strategy")
        sim.trade("AAPL", 101.0)
        sim.order_by_hand(**ORDER)
        wait_for(lambda: {"price", "order"} <= {m.__struct_config__.tag for m in heard})
        first.stop()
        wait_for(lambda: standby.state == "RUNNING", what="the standby takes over")
        wait_for(lambda: "AAPL" in standby.following())
        count = len(heard)
        sim.trade("AAPL", 102.0)
        wait_for(lambda: any(getattr(m, "price", 0) == 102.0 for m in heard[count:]))
        wait_for(lambda: users.admin.get(names.BROKER_RECONCILED), what="orders reconciled")
        assert client.unregister(["AAPL"])[0].status == "accepted"
    standby.stop()
    assert users.refusals() == []


def test_a_broker_that_finds_rubbish_under_a_journals_name_sets_it_aside(users: Users) -> None:
    users.admin.set("TICKER_LOG_AAPL", "not a journal")
    with RedisPublisher(users.grant("broker"), JournalBounds()) as publisher:
        publisher.open_epoch()
        publisher.publish_batch([price(100)])
    assert users.admin.xlen("TICKER_LOG_AAPL") == 1
    assert users.refusals() == []


def test_a_strategy_joins_late_refills_and_keeps_its_lease(
    users: Users, start_broker: StartBroker
) -> None:
    as_strategy = users.grant("strategy", client_ids=("s1",), tickers=("AAPL",))
    start_broker(users.grant("broker"), registration_secured=True)
    publisher = RedisPublisher(users.grant("broker", user="journal"))
    epoch = publisher.open_epoch()
    publisher.publish_batch([price(100 + n) for n in range(3)])
    heard: list[Any] = []
    with (
        closing(publisher),
        RedisSubscriber(as_strategy) as bus,
        RegistrationClient(as_strategy, "s1", secured=True) as client,
    ):
        bus.subscribe("TICKER_UPDATES_AAPL", heard.append, start=Start.from_id(f"{epoch}-1"))
        bus.start_listening()
        wait_for(lambda: [m.seq for m in heard] == [2, 3])
        assert bus.last("AAPL").price == 1.02  # type: ignore[union-attr]
        users.admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        publisher.publish_batch([price(110)])
        wait_for(lambda: [m.seq for m in heard] == [2, 3, 4])
        keeper = LeaseKeeper(client, ["AAPL"], lease_s=3)
        keeper.start()
        wait_for(lambda: users.admin.hexists(CHANNELS.BROKER_LEASES, "AAPL|s1"))
        keeper.stop()
        assert not users.admin.hexists(CHANNELS.BROKER_LEASES, "AAPL|s1")
    assert users.refusals() == []


def test_an_observer_sees_everything_that_the_commands_show(users: Users) -> None:
    as_observer = users.grant("observer")
    users.admin.hset(
        CHANNELS.BROKER_LEASES,
        "AAPL|s1",
        '{"ticker":"AAPL","client_id":"s1","until_ms":null,"data":["trades"]}',
    )
    assert [holder.client_id for holder in read_holders(as_observer)] == ["s1"]
    heard: list[Any] = []
    with RedisSubscriber(as_observer) as bus, RedisPublisher(users.grant("broker")) as publisher:
        bus.subscribe("TICKER_UPDATES_*", heard.append)
        bus.start_listening()
        publisher.open_epoch()
        publisher.publish_batch([price(100)])
        wait_for(lambda: len(heard) == 1)
    assert users.refusals() == []


def test_the_page_shows_all_and_registers_as_its_user(
    users: Users, start_broker: StartBroker
) -> None:
    as_page = users.grant("dashboard", client_ids=("page@here",))
    start_broker(users.grant("broker"), registration_secured=True)
    config = DashboardConfig(redis=as_page, client_id="page@here", port=free_port(), secured=True)
    server = DashboardServer(config)
    server.start()
    try:
        registrar = Registrar(config)
        (answer,) = registrar.subscribe("AAPL", 3_600)
        assert answer.ok, answer
        assert users.admin.hexists(CHANNELS.BROKER_LEASES, "AAPL|page@here")
        (refused,) = registrar.unsubscribe("AAPL", "s1")
        assert "only the holder" in refused.words
        with urllib.request.urlopen(f"{config.url}/health", timeout=5) as page:
            assert "may not ask" not in page.read().decode()
    finally:
        server.stop()
    assert users.refusals() == []


@pytest.mark.parametrize("secured", [True, False])
def test_the_check_at_start_finds_nothing_wrong_with_the_brokers_user(
    users: Users, secured: bool
) -> None:
    with users.grant("broker", secured=secured).client() as client:
        assert check_broker_redis(client, CHANNELS, secured=secured) == []


def test_the_check_names_what_a_lesser_user_lacks(users: Users) -> None:
    with users.grant("broker", secured=False).client() as client:
        (problem,) = check_broker_redis(client, CHANNELS, secured=True)
    assert "may not run PSUBSCRIBE on BROKER_REGISTRATION.*" in problem
    with users.grant("strategy").client() as client:
        problems = "\n".join(check_broker_redis(client, CHANNELS))
        assert check_reader_redis(client, CHANNELS) == []
    for lack in ("XADD on TICKER_LOG_*", "PUBLISH on BROKER_STATUS", "FUNCTION LOAD", "+info"):
        assert lack in problems


# -- and nothing else

FORBIDDEN: list[tuple[Role, str]] = [
    ("strategy", "PUBLISH TICKER_UPDATES_AAPL {}"),
    ("strategy", "PUBLISH TICKER_QUOTES_AAPL {}"),
    ("strategy", "PUBLISH TICKER_BARS_AAPL {}"),
    ("strategy", "PUBLISH BROKER_STATUS {}"),
    ("strategy", "PUBLISH BROKER_REGISTRATION_REPLIES {}"),
    ("strategy", "PUBLISH BROKER_REGISTRATION {}"),
    ("strategy", "PUBLISH BROKER_REGISTRATION.other {}"),
    ("strategy", "PUBLISH BROKER_REGISTRATION.strategy2 {}"),
    ("strategy", "PUBLISH PAPER_BROKER_REGISTRATION.strategy {}"),
    ("strategy", "SUBSCRIBE BROKER_REGISTRATION.strategy"),
    ("strategy", "SUBSCRIBE BROKER_REGISTRATION.other"),
    ("strategy", "PSUBSCRIBE BROKER_REGISTRATION.*"),
    ("strategy", "SUBSCRIBE TICKER_UPDATES_MSFT"),
    ("strategy", "PSUBSCRIBE TICKER_UPDATES_*"),
    ("strategy", "SUBSCRIBE PAPER_TICKER_UPDATES_AAPL"),
    ("strategy", "PSUBSCRIBE *"),
    ("strategy", "SUBSCRIBE __keyspace@0__:BROKER_LEASES"),
    ("strategy", "XRANGE TICKER_LOG_MSFT - +"),
    ("strategy", "XREVRANGE ORDER_LOG_MSFT + -"),
    ("strategy", "XRANGE PAPER_TICKER_LOG_AAPL - +"),
    ("strategy", "XADD TICKER_LOG_AAPL * m forged"),
    ("strategy", "XDEL TICKER_LOG_AAPL 1-1"),
    ("strategy", "XTRIM TICKER_LOG_AAPL MAXLEN 0"),
    ("strategy", "DEL TICKER_LOG_AAPL"),
    ("strategy", "GET secret"),
    ("strategy", "GET BROKER_LEADER"),
    ("strategy", "SET BROKER_EPOCH 1"),
    ("strategy", "HGETALL BROKER_LEASES"),
    ("strategy", "HSET BROKER_LEASES AAPL|other x"),
    ("strategy", "KEYS *"),
    ("strategy", "SCAN 0"),
    ("strategy", "FCALL tickerbus_publish_3 2 BROKER_EPOCH BROKER_BATCH"),
    ("strategy", "FUNCTION LOAD x"),
    ("strategy", "FUNCTION FLUSH"),
    ("strategy", "EVAL return_1 0"),
    ("strategy", "FLUSHALL"),
    ("strategy", "FLUSHDB"),
    ("strategy", "CONFIG GET *"),
    ("strategy", "CONFIG SET maxmemory 1"),
    ("strategy", "ACL LIST"),
    ("strategy", "ACL SETUSER strategy +@all"),
    ("strategy", "CLIENT LIST"),
    ("strategy", "CLIENT KILL TYPE normal"),
    ("strategy", "CLIENT PAUSE 1000"),
    ("strategy", "MONITOR"),
    ("strategy", "INFO"),
    ("strategy", "REPLICAOF NO ONE"),
    ("strategy", "SHUTDOWN NOSAVE"),
    ("strategy", "SPUBLISH TICKER_UPDATES_AAPL {}"),
    ("observer", "PUBLISH BROKER_REGISTRATION {}"),
    ("observer", "PUBLISH BROKER_REGISTRATION.observer {}"),
    ("observer", "PUBLISH TICKER_UPDATES_AAPL {}"),
    ("observer", "XADD TICKER_LOG_AAPL * m forged"),
    ("observer", "SET BROKER_EPOCH 1"),
    ("observer", "HDEL BROKER_LEASES AAPL|s1"),
    ("observer", "GET secret"),
    ("observer", "FLUSHALL"),
    ("observer", "CONFIG GET *"),
    ("dashboard", "PUBLISH BROKER_REGISTRATION {}"),
    ("dashboard", "PUBLISH BROKER_REGISTRATION.other {}"),
    ("dashboard", "PUBLISH TICKER_UPDATES_AAPL {}"),
    ("dashboard", "SUBSCRIBE BROKER_REGISTRATION.dashboard"),
    ("dashboard", "HDEL BROKER_LEASES AAPL|s1"),
    ("dashboard", "XADD TICKER_LOG_AAPL * m forged"),
    ("dashboard", "SET BROKER_LEADER x"),
    ("dashboard", "GET secret"),
    ("dashboard", "CLIENT KILL TYPE normal"),
    ("dashboard", "CONFIG GET *"),
    ("dashboard", "KEYS *"),
    ("broker", "GET secret"),
    ("broker", "SET secret x"),
    ("broker", "DEL TICKER_LOG_AAPL"),
    ("broker", "XTRIM TICKER_LOG_AAPL MAXLEN 0"),
    ("broker", "RENAME ORDER_LOG_AAPL secret"),
    ("broker", "PUBLISH BROKER_REGISTRATION.other {}"),
    ("broker", "SUBSCRIBE TICKER_UPDATES_AAPL"),
    ("broker", "FLUSHALL"),
    ("broker", "FUNCTION FLUSH"),
    ("broker", "CONFIG SET maxmemory 1"),
    ("broker", "ACL LIST"),
    ("broker", "SHUTDOWN NOSAVE"),
    ("broker", "GET PAPER_BROKER_EPOCH"),
    ("broker", "XADD PAPER_TICKER_LOG_AAPL * m x"),
]


@pytest.fixture(scope="module")
def one_by_one(valkey_server: Any) -> Any:
    """A connection of each role, on the session's server. Refusals change nothing there."""
    server = Users.__new__(Users)
    server.port = valkey_server.port
    server.admin = redis.Redis(port=valkey_server.port)
    server.admin.set("secret", "42")
    clients = {
        "strategy": server.grant("strategy", tickers=("AAPL",)).client(),
        "observer": server.grant("observer").client(),
        "broker": server.grant("broker").client(),
        "dashboard": server.grant("dashboard").client(),
    }
    yield clients
    for role, client in clients.items():
        client.close()
        server.admin.acl_deluser(role)
    server.admin.delete("secret")
    server.admin.close()


@pytest.mark.parametrize(("role", "line"), FORBIDDEN, ids=lambda word: word.replace(" ", "_"))
def test_it_is_refused(one_by_one: dict[str, Any], role: Role, line: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        run(one_by_one[role], *line.split())


def run(client: Any, *words: str) -> None:
    if words[0] not in ("SUBSCRIBE", "PSUBSCRIBE"):
        client.execute_command(*words)
        return
    with client.pubsub() as pubsub:
        pubsub.execute_command(*words)
        pubsub.parse_response(timeout=5)


def test_a_function_cannot_be_used_to_publish_as_the_broker(users: Users) -> None:
    """What a function does is done as its caller."""
    with RedisPublisher(users.grant("broker")) as publisher:
        publisher.open_epoch()
    as_strategy = users.grant("strategy")
    users.admin.execute_command("ACL", "SETUSER", "strategy", "+fcall", "%RW~BROKER_*")
    with as_strategy.client() as client, pytest.raises(redis.ResponseError):
        client.fcall("tickerbus_lead_3", 1, CHANNELS.BROKER_LEADER, "stolen", "1000", "1")
    assert not users.admin.exists(CHANNELS.BROKER_LEADER)


def test_who_registers_in_anothers_name_is_told_that_redis_refuses(users: Users) -> None:
    as_strategy = users.grant("strategy", client_ids=("s1",))
    with (
        RegistrationClient(as_strategy, "s2", secured=True) as client,
        pytest.raises(NotPermitted, match=r"refuses BROKER_REGISTRATION\.s2: "),
    ):
        client.register(["AAPL"])


def test_a_channel_that_a_strategy_may_not_hear_is_named(users: Users) -> None:
    as_strategy = users.grant("strategy", tickers=("AAPL",))
    with RedisSubscriber(as_strategy) as bus:
        bus.start_listening()
        with pytest.raises(NotPermitted, match="TICKER_UPDATES_MSFT"):
            bus.subscribe("TICKER_UPDATES_MSFT", lambda message: None)


def test_rules_do_not_leak_through_a_server_that_opens_channels_by_default(
    users: Users,
) -> None:
    users.admin.config_set("acl-pubsub-default", "allchannels")
    as_strategy = users.grant("strategy")
    with as_strategy.client() as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.publish("TICKER_UPDATES_AAPL", "{}")
    users.grant("broker")
    users.grant("observer")


def test_a_config_can_say_who_it_is(users: Users) -> None:
    config: RedisConfig = users.grant("observer", user="eve")
    with config.client() as client, pytest.raises(redis.exceptions.NoPermissionError, match="eve"):
        client.execute_command("ACL", "WHOAMI")


# For REDIS_DB, for Sentinels, for a subscriber that doubts an epoch or leaves a channel.
SELDOM_NEEDED = {"select", "wait", "role", "unsubscribe", "punsubscribe"}
HASH = hashlib.sha256(b"broker-password").hexdigest()


def test_every_right_of_the_broker_is_missed_at_start_by_who_lacks_it(users: Users) -> None:
    """And so none is granted that the broker does not need."""
    config = users.grant("broker")
    granted = set(re.findall(r"\+\S+", acl_rule(AclRequest(role="broker", user="broker"))))
    not_missed = set()
    for right in granted:
        rules = acl_rule(AclRequest(role="broker", user="broker", password_hash=HASH)).split()
        # An unneeded command in its place, so that no selector is left without any.
        lesser = [re.sub(rf"^(\(?){re.escape(right)}$", r"\1+echo", word) for word in rules]
        users.admin.execute_command("ACL", "SETUSER", "broker", *lesser)
        try:
            with config.client() as client:
                complete = check_broker_redis(client, CHANNELS, secured=True) == []
        except redis.exceptions.NoPermissionError:
            complete = False  # it cannot even connect
        if complete:
            not_missed.add(right.removeprefix("+"))
    assert not_missed == SELDOM_NEEDED


def test_a_strategy_leases_its_own_tickers_and_nobody_elses(users: Users) -> None:
    """That no second process trades in its name, and that none can stop another's."""
    as_strategy = users.grant("strategy", tickers=("AAPL",))
    with closing(TickerLease(as_strategy, "strategy", "AAPL", pytest.fail)) as lease:
        lease.take()
        with closing(as_strategy.client()) as client:
            assert client.pttl(CHANNELS.get_consumer_lease("strategy", "AAPL")) > 0
            for theirs in (("another", "AAPL"), ("strategy", "MSFT")):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.set(CHANNELS.get_consumer_lease(*theirs), "mine")
