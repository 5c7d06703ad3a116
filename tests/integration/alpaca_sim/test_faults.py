"""Each upstream fault (U1 to U22), happening on the wire."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest
import requests
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from main.alpaca_sim import LocalAlpaca

from .conftest import MakeSim
from .orders_client import OrdersClient
from .stream_client import StreamClient, eventually

pytestmark = pytest.mark.integration
HEADERS = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}


def prices(messages: list[dict[str, Any]]) -> list[float]:
    return [m["p"] for m in messages if m["T"] == "t"]


def following(sim: LocalAlpaca, *symbols: str) -> StreamClient:
    client = StreamClient(sim.data_stream_url)
    client.subscribe(trades=list(symbols))
    return client


def test_u1_a_cut_connection_is_reset_without_a_close_frame(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.cut("iex")
        with pytest.raises(ConnectionClosedError):
            client.receive()
        assert client.ws.close_code == 1006


def test_u1_a_cut_can_also_close_properly(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.cut("iex", how="close", code=1012)
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert client.ws.close_code == 1012


def test_u2_a_frozen_connection_answers_no_ping_and_loses_nothing_when_thawed(
    sim: LocalAlpaca,
) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.freeze("iex")
        sim.trade("AAPL", 101.0)
        pong = client.ws.ping()
        assert client.silent_for(0.2)
        assert not pong.is_set()
        assert len(sim.connections()) == 1
        sim.faults.heal()
        assert prices(client.take(1)) == [101.0]
        assert pong.wait(5)


def test_u2_the_slot_of_a_frozen_connection_is_reaped_after_a_while(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"zombie_slot_s": 0.2})
    with following(sim, "AAPL"):
        sim.faults.freeze("iex")
        with StreamClient(sim.data_stream_url, sign_in=False) as client:
            client.receive()
            assert client.auth()["code"] == 406
            eventually(lambda: client.auth()["T"] == "success")
        sim.faults.heal()


def test_u3_a_mute_connection_still_answers_pings(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.mute("iex")
        sim.trade("AAPL", 101.0)
        assert client.ws.ping().wait(5)
        assert client.silent_for(0.2)
        sim.faults.heal()
        sim.trade("AAPL", 102.0)
        assert prices(client.take(1)) == [102.0]


def test_u4_one_ticker_is_mute_while_others_flow(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL", "MSFT") as client:
        sim.faults.mute("iex", symbols=["AAPL"])
        sim.trade("AAPL", 101.0)
        sim.trade("MSFT", 201.0)
        assert prices(client.take(1)) == [201.0]


def test_u5_lag_makes_messages_late_but_keeps_their_times_and_order(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.delay("iex", seconds=300.0)
        for price in (101.0, 102.0, 103.0):
            sim.trade("AAPL", price)
        assert client.silent_for(0.1)
        sim.faults.heal()
        assert prices(client.take(3)) == [101.0, 102.0, 103.0]


def test_u5_a_growing_lag_sends_long_arrays(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.delay("iex", growth=0.5, heap_s=0.4)
        sim.set_rate("AAPL", 500.0)
        client.take(200)
    assert max(len(frame) for frame in client.frames) > 50


def test_u6_a_slot_not_yet_reaped_gives_406_until_it_is_free(sim: LocalAlpaca) -> None:
    sim.faults.hold_slot("iex", for_s=0.3)
    with StreamClient(sim.data_stream_url, sign_in=False) as client:
        client.receive()
        assert client.auth() == {"T": "error", "code": 406, "msg": "connection limit exceeded"}
        eventually(lambda: client.auth()["T"] == "success")


@pytest.mark.parametrize("code", [401, 402, 406, 409, 411, 500])
def test_u7_sign_in_is_refused_with_a_code(sim: LocalAlpaca, code: int) -> None:
    sim.faults.refuse_sign_in(code=code, count=1)
    with StreamClient(sim.data_stream_url, sign_in=False) as client:
        client.receive()
        assert client.auth()["code"] == code
        assert client.auth()["T"] == "success"


def test_u8_the_symbol_limit_falls_and_a_first_subscribe_is_refused(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.set_symbol_limit(1)
        assert client.subscribe(trades=["MSFT"])["code"] == 405
    sim.faults.set_symbol_limit(30)
    sim.faults.refuse_subscribe(code=405, count=1)
    with StreamClient(sim.data_stream_url) as again:
        assert again.subscribe(trades=["AAPL"])["code"] == 405
        assert again.subscribe(trades=["AAPL"])["trades"] == ["AAPL"]


def test_u9_a_slow_client_is_told_and_closed(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.slow_client("iex")
        assert client.control() == {"T": "error", "code": 407, "msg": "slow client"}
        with pytest.raises(ConnectionClosed):
            client.receive()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_u10_the_handshake_is_refused_in_a_storm(sim: LocalAlpaca, status: int) -> None:
    sim.faults.refuse_handshake("iex", status=status, count=3)
    for _ in range(3):
        with pytest.raises(InvalidStatus) as refused:
            StreamClient(sim.data_stream_url)
        assert refused.value.response.status_code == status
    with StreamClient(sim.data_stream_url):
        pass


def test_u11_malformed_frames_arrive_as_they_are(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.malformed("iex", what="garbage")
        with pytest.raises(ValueError, match="delimiter"):
            client.receive()
        sim.faults.malformed("iex", what="unknown_type")
        assert client.receive()[0]["T"] == "zz"
        sim.faults.malformed("iex", what="null")
        assert client.receive()[0] is None
        sim.faults.malformed("iex", what="nan")
        assert math.isnan(client.receive()[0]["p"])
        sim.faults.malformed("iex", what="huge")
        assert len(client.raw()) > 5_000_000
        sim.trade("AAPL", 101.0)
        assert prices(client.take(1)) == [101.0]


def test_u11_malformed_frames_exist_in_msgpack_too(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url, packed=True) as client:
        for what in ("unknown_type", "null", "empty"):
            sim.faults.malformed("iex", what=what)
            client.receive()
        sim.faults.malformed("iex", what="nan")
        assert math.isnan(client.receive()[0]["p"])


def test_u11_data_null_on_the_order_stream(sim: LocalAlpaca) -> None:
    with OrdersClient(sim) as client:
        sim.faults.malformed("trading", what="null")
        assert client.receive() == {"stream": "trade_updates", "data": None}


def test_u12_trades_are_duplicated_and_reordered(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.duplicate("iex", count=1)
        sim.trade("AAPL", 101.0)
        assert prices(client.take(2)) == [101.0, 101.0]
        sim.faults.reorder("iex", count=1)
        sim.trade("AAPL", 102.0)
        sim.trade("AAPL", 103.0)
        assert prices(client.take(2)) == [103.0, 102.0]
        eventually(lambda: sim.oracle.sent_serials("AAPL", 1) == [1, 1, 3, 2])


def test_u12_lost_trades_are_known_to_the_oracle_as_not_sent(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.drop("iex", count=2)
        for price in (101.0, 102.0, 103.0):
            sim.trade("AAPL", price)
        assert prices(client.take(1)) == [103.0]
        eventually(lambda: sim.oracle.sent_serials("AAPL") == [3])
        assert sim.oracle.serial("AAPL") == 3


def test_u13_an_ack_lacks_a_ticker_and_it_stays_silent(sim: LocalAlpaca) -> None:
    sim.faults.omit_from_ack(["AAPL"])
    with StreamClient(sim.data_stream_url) as client:
        ack = client.subscribe(trades=["AAPL", "MSFT"])
        assert ack["trades"] == ack["corrections"] == ["MSFT"]
        sim.trade("AAPL", 101.0)
        sim.trade("MSFT", 201.0)
        assert prices(client.take(1)) == [201.0]
        assert client.subscribe(trades=["AAPL"])["trades"] == ["MSFT", "AAPL"]


def test_u14_nobody_listens_for_a_while(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.refuse_connections(for_s=0.3)

        def refused() -> bool:
            try:
                requests.get(sim.url + "/v2/clock", headers=HEADERS, timeout=5)
            except requests.ConnectionError:
                return True
            return False

        eventually(refused, "the refusal")
        eventually(lambda: not refused(), "the return")
        sim.trade("AAPL", 101.0)
        assert prices(client.take(1)) == [101.0]


def test_u14_a_tls_client_fails_at_the_handshake(sim: LocalAlpaca) -> None:
    with pytest.raises(OSError):  # noqa: PT011  (ssl.SSLError, or the reset that follows)
        StreamClient(sim.data_stream_url.replace("ws://", "wss://"))


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_u15_a_walk_goes_on_when_the_clock_steps(make_sim: MakeSim, seconds: float) -> None:
    sim = make_sim(market={"rates": {"AAPL": 200.0}}, data_rest_limit=1)
    with following(sim, "AAPL") as client:
        before = client.take(5)[-1]["t"]
        sim.faults.step_clock(seconds)
        client.until(lambda got: any((m["t"] < before) == (seconds < 0) for m in got))
        count = sim.oracle.serial("AAPL")
        client.take(5)
        assert sim.oracle.serial("AAPL") < count + 1_000


def test_u15_the_clock_steps(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.trade("AAPL", 101.0)
        sim.faults.step_clock(-3600)
        sim.trade("AAPL", 102.0)
        first, second = (m["t"] for m in client.take(2))
    assert second < first
    clock = requests.get(sim.url + "/v2/clock", headers=HEADERS, timeout=5).json()
    assert clock["is_open"] is True


def test_u16_orders_fill_while_the_order_stream_is_down(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    with OrdersClient(sim) as client:
        sim.faults.orders_down(for_s=0.3)
        with pytest.raises(ConnectionClosed):
            client.receive()
        order = client.buy("AAPL")
        eventually(lambda: client.order(order["id"])["status"] == "filled")
        fills = client.get("/v2/account/activities/FILL")
        assert [fill["order_id"] for fill in fills][-1] == order["id"]
        eventually(lambda: _connects(sim), "the return of the order stream")


def _connects(sim: LocalAlpaca) -> bool:
    try:
        with OrdersClient(sim):
            return True
    except InvalidStatus:
        return False


def test_u17_one_fill_is_lost_on_a_healthy_stream(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    with OrdersClient(sim) as client:
        sim.faults.drop("trading", event="fill", count=1)
        first, second = client.buy("AAPL"), client.buy("AAPL")
        events = client.until(lambda seen: any(e["event"] == "fill" for e in seen))
        filled = [e["order"]["id"] for e in events if e["event"] == "fill"]
        eventually(lambda: client.order(first["id"])["status"] == "filled")
        assert len(filled) == 1
        assert filled[0] in (first["id"], second["id"])
        lost = [e["order"]["id"] for e in sim.oracle.order_events if e["event"] == "fill"]
        assert len(lost) == 2


def test_u18_a_halt_stops_trades_and_fills_until_the_resume(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    with StreamClient(sim.data_stream_url) as client, OrdersClient(sim) as orders:
        client.subscribe(trades=["AAPL"], statuses=["AAPL"])
        sim.set_rate("AAPL", 200.0)
        sim.halt("AAPL")
        client.until(lambda got: any(m["T"] == "s" and m["sc"] == "H" for m in got))
        order = orders.buy("AAPL")
        serial = sim.oracle.serial("AAPL")
        sim.resume("AAPL")
        after = client.until(lambda got: any(m["T"] == "t" for m in got))
        assert after[0]["sc"] == "T"
        assert sim.oracle.serial("AAPL") > serial
        eventually(lambda: orders.order(order["id"])["status"] == "filled")


def test_u18_a_closed_market_is_silent_and_says_so(make_sim: MakeSim) -> None:
    sim = make_sim(market={"rates": {"AAPL": 200.0}})
    sim.set_session("closed")
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["AAPL"])
        assert client.silent_for(0.1)
        clock = requests.get(sim.url + "/v2/clock", headers=HEADERS, timeout=5).json()
        assert clock["is_open"] is False
        sim.set_session("pre")
        assert "T" in client.take(1)[0]["c"]
        sim.set_session(None)
        client.until(lambda got: any("T" not in m["c"] for m in got))


def test_u19_the_connection_dies_in_the_middle_of_a_subscribe(sim: LocalAlpaca) -> None:
    sim.faults.die_in_subscribe("iex")
    with StreamClient(sim.data_stream_url) as client:
        client.send({"action": "subscribe", "trades": ["AAPL"]})
        with pytest.raises(ConnectionClosedError):
            client.receive()
    with following(sim, "AAPL"):
        pass


def test_u20_a_split_changes_prices_and_positions_overnight(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 400.0, 400.04)
    with OrdersClient(sim) as orders:
        order = orders.buy("AAPL")
        eventually(lambda: orders.order(order["id"])["status"] == "filled")
        sim.split("AAPL", 4)
        assert orders.get("/v2/positions/AAPL")["qty"] == "4"
        quote = orders.get("/v2/stocks/AAPL/quotes/latest")["quote"]
        assert 99 < quote["bp"] < 101


def test_u20_a_renamed_ticker_falls_silent_until_asked_for_anew(sim: LocalAlpaca) -> None:
    with following(sim, "F") as client:
        sim.set_rate("F", 200.0)
        client.take(1)
        sim.rename("F", "FRD")
        sim.set_rate("FRD", 200.0)
        eventually(lambda: sim.oracle.serial("FRD") > 0)
        client.subscribe(trades=["FRD"])
        assert client.receive()[0]["S"] == "FRD"
        asset = requests.get(sim.url + "/v2/assets/F", headers=HEADERS, timeout=5).json()
        assert asset["tradable"] is False


def test_u21_an_order_by_hand_shows_up_on_the_stream(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    with OrdersClient(sim) as client:
        order_id = sim.order_by_hand(
            symbol="AAPL", qty="1", side="buy", type="market", time_in_force="day"
        )
        events = client.until(lambda seen: any(e["event"] == "fill" for e in seen))
        assert {e["order"]["id"] for e in events} == {order_id}


def test_u22_a_fill_comes_after_the_cancel(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    with OrdersClient(sim) as client:
        order = client.buy("AAPL", type="limit", limit_price="50")
        client.until(lambda seen: any(e["event"] == "new" for e in seen))
        sim.lose_race("late_fill")
        assert client.delete(f"/v2/orders/{order['id']}") == 204
        events = client.until(lambda seen: any(e["event"] == "fill" for e in seen))
        names = [e["event"] for e in events]
        assert names.index("canceled") < names.index("fill")


def test_u22_a_replace_loses_its_race(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    with OrdersClient(sim) as client:
        order = client.buy("AAPL", type="limit", limit_price="50")
        client.until(lambda seen: any(e["event"] == "new" for e in seen))
        sim.lose_race("fill")
        client.patch(f"/v2/orders/{order['id']}", limit_price="51")
        events = client.until(lambda seen: any(e["event"] == "fill" for e in seen))
        filled = next(e for e in events if e["event"] == "fill")
        assert filled["order"]["id"] == order["id"]
        assert client.order(order["id"])["status"] == "filled"


def test_acks_can_be_delayed_and_data_follows_the_ack(make_sim: MakeSim) -> None:
    sim = make_sim(market={"rates": {"AAPL": 500.0}}, streams={"ack_delay_s": 0.2})
    with StreamClient(sim.data_stream_url) as client:
        before = time.monotonic()
        client.send({"action": "subscribe", "trades": ["AAPL"]})
        assert client.receive()[0]["T"] == "subscription"
        assert time.monotonic() - before >= 0.2
        client.take(1)


def test_a_forgotten_subscription_is_silence(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.forget_subscriptions("iex")
        sim.trade("AAPL", 101.0)
        assert client.silent_for(0.1)
        assert client.subscribe(trades=["AAPL"])["trades"] == ["AAPL"]


def test_a_drip_keeps_to_its_pace(sim: LocalAlpaca) -> None:
    with following(sim, "AAPL") as client:
        sim.faults.drip("iex", messages_per_s=50.0)
        sim.burst("AAPL", 20)
        client.take(20)
    assert len([frame for frame in client.frames if frame[0]["T"] == "t"]) > 10


def test_rest_calls_fail_on_demand(sim: LocalAlpaca) -> None:
    sim.faults.rest_error("/v2/account", status=429, count=1)
    sim.faults.rest_error("/v2/clock", status=500, count=1)

    def status(path: str) -> tuple[int, Any]:
        reply = requests.get(sim.url + path, headers=HEADERS, timeout=5)
        return reply.status_code, reply.json()

    assert status("/v2/account") == (429, {"code": 42910000, "message": "rate limit exceeded"})
    assert status("/v2/account")[0] == 200
    assert status("/v2/clock")[0] == 500
    assert status("/v2/clock")[0] == 200


def test_the_control_api_does_the_same_and_tells_the_truth(sim: LocalAlpaca) -> None:
    assert sim.control_url is not None

    def do(verb: str, **parameters: Any) -> tuple[int, Any]:
        url = f"{sim.control_url}/do/{verb}"
        reply = requests.post(url, data=json.dumps(parameters), timeout=5)
        return reply.status_code, reply.json()

    with following(sim, "AAPL") as client:
        assert do("mute", endpoint="iex", symbols=["AAPL"]) == (200, {"result": None})
        assert do("trade", symbol="AAPL", price=101.0) == (200, {"result": 1})
        status = requests.get(sim.control_url + "/status", timeout=5).json()
        assert status["faults"][0]["fault"] == "mute"
        assert status["connections"][0]["subscriptions"]["trades"] == ["AAPL"]
        requests.post(sim.control_url + "/heal", timeout=5)
        do("trade", symbol="AAPL", price=102.0)
        assert prices(client.take(1)) == [102.0]

        def oracle(path: str) -> Any:
            return requests.get(f"{sim.control_url}/oracle/{path}", timeout=5).json()

        eventually(lambda: oracle("sent?symbol=AAPL")["serials"] == [2])
        assert [t["price"] for t in oracle("trades?symbol=AAPL")["trades"]] == [101.0, 102.0]
        assert oracle("symbols") == {"AAPL": 2}
    assert do("dance")[0] == 404
    assert do("cut", wrong=1)[0] == 400
    assert do("trade", symbol="NOPE", price=1.0)[0] == 400


def test_a_scenario_plays_its_steps_in_time(sim: LocalAlpaca) -> None:
    text = """
    name: short
    steps:
      - {at: 0.0, do: trade, with: {symbol: AAPL, price: 101.0}}
      - {at: 0.1, do: mute, with: {endpoint: iex}}
      - {at: 0.15, do: trade, with: {symbol: AAPL, price: 102.0}}
      - {at: 0.2, do: heal}
      - {at: 0.25, do: trade, with: {symbol: AAPL, price: 103.0}}
    """
    with following(sim, "AAPL") as client:
        reply = requests.post(f"{sim.control_url}/scenario", data=text, timeout=5)
        assert reply.json() == {"result": 5}
        assert prices(client.take(2)) == [101.0, 103.0]
    bad = requests.post(f"{sim.control_url}/scenario", data="steps: [{do: dance}]", timeout=5)
    assert bad.status_code == 400
