"""The market-data streams, seen from a plain websocket client."""

from __future__ import annotations

import socket
import threading
from itertools import pairwise
from typing import Any

import msgpack
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from main.alpaca_sim import LocalAlpaca

from .conftest import MakeSim
from .orders_client import OrdersClient
from .stream_client import DEADLINE_S, StreamClient, eventually

pytestmark = pytest.mark.integration

FULL_ACK: dict[str, Any] = {
    "T": "subscription",
    "trades": [],
    "quotes": [],
    "bars": [],
    "updatedBars": [],
    "dailyBars": [],
    "statuses": [],
    "lulds": [],
    "corrections": [],
    "cancelErrors": [],
}


def error(code: int, msg: str) -> dict[str, Any]:
    return {"T": "error", "code": code, "msg": msg}


def test_an_ack_lists_everything_and_adds_corrections_and_cancels(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url) as client:
        ack = client.subscribe(trades=["AAPL"], quotes=["MSFT"])
        assert ack == FULL_ACK | {
            "trades": ["AAPL"],
            "quotes": ["MSFT"],
            "corrections": ["AAPL"],
            "cancelErrors": ["AAPL"],
        }
        ack = client.subscribe(bars=["*"])
        assert ack["trades"] == ["AAPL"]
        assert ack["bars"] == ["*"]
        assert client.unsubscribe(trades=["AAPL"], quotes=["MSFT"], bars=["*"]) == FULL_ACK


def test_a_trade_travels_in_msgpack_with_nanoseconds_and_t_first(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url, packed=True) as client:
        client.subscribe(trades=["AAPL"])
        sim.trade("AAPL", 101.25, 7, timestamp_ns=1_700_000_000_123_456_789)
        trade = client.take(1)[0]
    assert next(iter(trade)) == "T"
    assert trade.pop("i") > 0
    assert trade.pop("t") == msgpack.Timestamp(1_700_000_000, 123_456_789)
    assert trade == {
        "T": "t",
        "S": "AAPL",
        "x": "V",
        "p": 101.25,
        "s": 7,
        "c": ["@"],
        "z": "C",
    }


def test_a_trade_travels_in_json_with_nanoseconds_and_t_first(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["AAPL"])
        sim.trade("AAPL", 101.25, timestamp_ns=1_700_000_000_123_456_789)
        trade = client.take(1)[0]
    assert next(iter(trade)) == "T"
    assert trade["t"] == "2023-11-14T22:13:20.123456789Z"


def test_crypto_has_its_own_keys_and_a_taker_side(sim: LocalAlpaca) -> None:
    with StreamClient(sim.crypto_stream_url) as client:
        ack = client.subscribe(trades=["BTC/USD"], orderbooks=["BTC/USD"])
        assert set(ack) == {
            "T",
            "trades",
            "quotes",
            "orderbooks",
            "bars",
            "updatedBars",
            "dailyBars",
        }
        sim.trade("BTC/USD", 95_000.5, 0.001)
        trade = client.take(1)[0]
    assert set(trade) == {"T", "S", "i", "p", "s", "t", "tks"}


def test_the_test_stream_has_fakepaca_and_no_other(sim: LocalAlpaca) -> None:
    with StreamClient(sim.stream_url("test")) as client:
        ack = client.subscribe(trades=["FAKEPACA", "AAPL"])
        assert ack == {
            "T": "subscription",
            "trades": ["FAKEPACA", "AAPL"],
            "quotes": [],
            "bars": [],
        }
        sim.trade("AAPL", 100.0)
        sim.trade("FAKEPACA", 130.0)
        assert [trade["S"] for trade in client.take(1)] == ["FAKEPACA"]


def test_quotes_statuses_corrections_and_cancels_arrive(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["AAPL"], quotes=["AAPL"], statuses=["AAPL"])
        sim.quote("AAPL", 100.0, 100.02, bid_size=300)
        first = sim.trade("AAPL", 100.01, 50)
        second = sim.trade("AAPL", 100.02, 60)
        sim.halt("AAPL")
        sim.resume("AAPL")
        sim.correct("AAPL", first, 99.5)
        sim.cancel_trade("AAPL", second)
        got = {m["T"] + m.get("sc", ""): m for m in client.take(7)}
    assert got["q"]["bp"] == 100.0
    assert got["q"]["bs"] == 300
    assert (got["sH"]["rc"], got["sT"]["sm"]) == ("T1", "Trading Resumption")
    assert (got["c"]["op"], got["c"]["cp"]) == (100.01, 99.5)
    assert (got["x"]["p"], got["x"]["a"]) == (100.02, "C")


def test_quote_sizes_can_be_round_lots_on_the_stream(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"quote_size_unit": "round_lots"})
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(quotes=["AAPL"])
        sim.quote("AAPL", 100.0, 100.02, bid_size=300, ask_size=1200)
        [quote] = client.take(1)
    assert (quote["bs"], quote["as"]) == (3, 12)


def test_a_wildcard_brings_every_ticker(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"symbol_limit": 0})
    with StreamClient(sim.data_stream_url) as client:
        assert client.subscribe(trades=["*"])["trades"] == ["*"]
        sim.trade("AAPL", 1.5)
        sim.trade("F", 2.5)
        assert {m["S"] for m in client.take(2)} == {"AAPL", "F"}


def test_sign_in_works_by_header_and_a_second_one_is_403(sim: LocalAlpaca) -> None:
    headers = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}
    with StreamClient(sim.data_stream_url, headers=headers, sign_in=False) as client:
        assert client.receive() == [{"T": "success", "msg": "connected"}]
        assert client.receive() == [{"T": "success", "msg": "authenticated"}]
        assert client.auth() == error(403, "already authenticated")


def test_wrong_keys_are_402_and_too_early_a_subscribe_is_401(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url, sign_in=False) as client:
        client.receive()
        assert client.subscribe(trades=["AAPL"]) == error(401, "not authenticated")
        assert client.auth(secret="wrong") == error(402, "auth failed")
        assert client.auth() == {"T": "success", "msg": "authenticated"}


def test_no_sign_in_ends_with_404(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"auth_timeout_s": 0.2})
    with StreamClient(sim.data_stream_url, sign_in=False) as client:
        client.receive()
        assert client.receive() == [error(404, "auth timeout")]
        with pytest.raises(ConnectionClosed):
            client.receive()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"action": "dance"}, 400),
        ({"action": "subscribe", "trades": ["aapl"]}, 400),
        ({"action": "subscribe", "trades": ["AAPL", "BAD SYMBOL"]}, 400),
        ({"action": "subscribe", "trades": "AAPL"}, 400),
        ({"action": "subscribe", "corrections": ["AAPL"]}, 400),
        ({"action": "subscribe", "weather": ["AAPL"]}, 400),
        ({"action": "subscribe", "orderbooks": ["AAPL"]}, 410),
    ],
)
def test_a_bad_request_is_refused_as_a_whole(
    sim: LocalAlpaca, request_: dict[str, Any], code: int
) -> None:
    with StreamClient(sim.data_stream_url) as client:
        client.send(request_)
        assert client.control()["code"] == code
        assert client.subscribe() == FULL_ACK


def test_garbage_is_400_and_the_connection_lives_on(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url) as client:
        client.ws.send("{not json")
        assert client.control() == error(400, "invalid syntax")
        assert client.subscribe() == FULL_ACK


def test_the_symbol_limit_refuses_all_and_changes_nothing(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"symbol_limit": 2})
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["AAPL"])
        refusal = client.subscribe(trades=["MSFT", "TSLA"])
        assert refusal == error(405, "symbol limit exceeded")
        assert client.subscribe(trades=["MSFT"])["trades"] == ["AAPL", "MSFT"]


def test_a_second_connection_is_406_until_the_first_has_closed(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url, sign_in=False) as second:
        with StreamClient(sim.data_stream_url) as first:
            second.receive()
            assert second.auth() == error(406, "connection limit exceeded")
            with StreamClient(sim.stream_url("sip")):
                pass  # another endpoint has its own slot
            first.ws.close()
        eventually(lambda: second.auth()["T"] == "success", "sign-in on the same socket")


def test_an_unclean_drop_keeps_the_slot(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"zombie_slot_s": 60.0})
    first = StreamClient(sim.data_stream_url)
    first.ws.socket.shutdown(2)
    eventually(lambda: not sim.connections(), "the drop")
    with StreamClient(sim.data_stream_url, sign_in=False) as client:
        client.receive()
        assert client.auth()["code"] == 406
        sim.faults.heal()
        assert client.auth()["T"] == "success"


def test_a_feed_beyond_the_plan_is_409(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"refused_feeds": ("sip",)})
    with StreamClient(sim.stream_url("sip"), sign_in=False) as client:
        client.receive()
        assert client.auth() == error(409, "insufficient subscription")


def test_options_speak_msgpack_only_and_refuse_a_star_on_quotes(sim: LocalAlpaca) -> None:
    url = sim.url.replace("http", "ws") + "/v1beta1/indicative"
    with StreamClient(url, sign_in=False) as client:
        assert client.receive() == [
            error(412, "option messages are only available in MsgPack format")
        ]
    with StreamClient(url, packed=True) as client:
        refusal = client.subscribe(quotes=["*"])
        assert refusal == error(413, "star subscription is not allowed for option quotes")
        assert client.subscribe(bars=["AAPL261218C00200000"])["code"] == 410


def test_too_many_handshakes_are_http_429(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"handshake_limit": 2, "handshake_window_s": 60.0})
    for _ in range(2):
        with StreamClient(sim.data_stream_url):
            pass
    with pytest.raises(InvalidStatus) as refused:
        StreamClient(sim.data_stream_url)
    assert refused.value.response.status_code == 429


def test_an_unknown_stream_is_http_404(sim: LocalAlpaca) -> None:
    with pytest.raises(InvalidStatus) as refused:
        StreamClient(sim.url.replace("http", "ws") + "/v2/nowhere")
    assert refused.value.response.status_code == 404


def test_a_slow_reader_gets_407_and_is_cut(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"buffer_messages": 2_000, "max_frame_messages": 100})
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["AAPL"])
        sim.burst("AAPL", 5_000)  # more than may wait, in one moment
        assert client.control() == error(407, "slow client")
        with pytest.raises(ConnectionClosed):
            client.receive()


def test_a_client_that_does_not_read_is_cut(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"buffer_messages": 5_000})
    with StreamClient(sim.data_stream_url, max_queue=1) as client:
        client.subscribe(trades=["AAPL"])

        def gone() -> bool:
            sim.burst("AAPL", 2_000)
            return not sim.connections()

        eventually(gone, "the cut")


def test_a_slower_reader_gets_longer_arrays(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url, packed=True) as client:
        client.subscribe(trades=["AAPL"])
        sim.burst("AAPL", 500)
        client.take(500)
        assert max(len(frame) for frame in client.frames) > 100


def test_compression_is_negotiated_and_works(sim: LocalAlpaca) -> None:
    with StreamClient(sim.data_stream_url, compression="deflate") as client:
        assert "permessage-deflate" in client.ws.response.headers["Sec-WebSocket-Extensions"]
        client.subscribe(trades=["AAPL"])
        sim.burst("AAPL", 50)
        assert len(client.take(50)) == 50


def test_the_oracle_knows_what_was_put_on_the_wire(sim: LocalAlpaca) -> None:
    sim.trade("AAPL", 99.0)
    with StreamClient(sim.data_stream_url, packed=True) as client:
        client.subscribe(trades=["AAPL"])
        sim.burst("AAPL", 300)
        seen = [trade["i"] for trade in client.take(300)]
        assert [t.serial for t in sim.oracle.trades("AAPL")] == list(range(1, 302))
        eventually(lambda: len(sim.oracle.sent_serials("AAPL")) == 300)
        assert [t.trade_id for t in sim.oracle.sent_trades("AAPL")] == seen


def test_twenty_tickers_walk_at_their_rate_inside_their_quotes(make_sim: MakeSim) -> None:
    symbols = ["AAPL", "MSFT", "TSLA", "NVDA", "F", "SPY", "QQQ", "AMD", "BAC", "T"]
    sim = make_sim(market={"rates": dict.fromkeys(symbols, 100.0)})
    quotes: dict[str, tuple[float, float]] = {}
    with StreamClient(sim.data_stream_url, packed=True) as client:
        client.subscribe(trades=symbols, quotes=symbols)
        got = client.take(2_000)
    for message in got:
        if message["T"] == "q":
            quotes[message["S"]] = (message["bp"], message["ap"])
        elif message["S"] in quotes:
            bid, ask = quotes[message["S"]]
            assert bid <= message["p"] <= ask
    assert {m["S"] for m in got} == set(symbols)
    times = [m["t"] for m in got if m["T"] == "t" and m["S"] == "AAPL"]
    assert all(a.to_unix_nano() < b.to_unix_nano() for a, b in pairwise(times))


def test_iex_shows_its_own_trades_and_sip_all_of_them(make_sim: MakeSim) -> None:
    sim = make_sim(market={"exchanges": ("V", "Q", "P")})
    with StreamClient(sim.data_stream_url) as iex, StreamClient(sim.stream_url("sip")) as sip:
        iex.subscribe(trades=["AAPL"])
        sip.subscribe(trades=["AAPL"])
        sim.burst("AAPL", 100)
        everything = sip.take(100)
        assert {m["x"] for m in everything} == {"V", "Q", "P"}
        own = [m["i"] for m in everything if m["x"] == "V"]
        assert [m["i"] for m in iex.take(len(own))] == own


def test_a_quiet_client_that_answers_pings_stays(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"pong_timeout_s": 0.5})
    with StreamClient(sim.data_stream_url) as client:
        client.subscribe(trades=["AAPL"])
        assert client.silent_for(1.2)
        sim.trade("AAPL", 101.0)
        assert client.take(1)


def test_a_client_that_answers_no_ping_is_cut(make_sim: MakeSim) -> None:
    sim = make_sim(streams={"pong_timeout_s": 0.15})
    request = (
        f"GET /v2/iex HTTP/1.1\r\nHost: 127.0.0.1:{sim.address.port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", sim.address.port), DEADLINE_S) as raw:
        raw.sendall(request.encode())
        eventually(sim.connections, "the upgrade")
        eventually(lambda: not sim.connections(), "the cut")


def test_the_trading_stream_can_be_limited_with_http_429(make_sim: MakeSim) -> None:
    sim = make_sim(trading_connection_limit=1)
    with OrdersClient(sim), pytest.raises(InvalidStatus) as refused:
        OrdersClient(sim)
    assert refused.value.response.status_code == 429


def test_delayed_sip_holds_everything_back(sim: LocalAlpaca) -> None:
    with StreamClient(sim.stream_url("delayed_sip")) as client:
        client.subscribe(trades=["AAPL"])
        sim.trade("AAPL", 101.0)
        assert client.silent_for(0.1)
        sim.faults.step_clock(901.0)
        assert client.take(1)[0]["p"] == 101.0


def test_a_stop_closes_every_connection_and_leaves_no_thread(make_sim: MakeSim) -> None:
    sim = make_sim()
    client = StreamClient(sim.data_stream_url)
    sim.stop()
    with pytest.raises(ConnectionClosed):
        client.receive()
    assert client.ws.close_code == 1001
    assert not [t for t in threading.enumerate() if t.name == "local-alpaca"]
