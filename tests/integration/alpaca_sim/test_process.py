"""The local Alpaca as a process, and what it carries."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import requests
from websockets.exceptions import ConnectionClosed

from main.alpaca_sim import LocalAlpaca, SimAddress, SimConfig

from .conftest import MakeSim
from .stream_client import DEADLINE_S, StreamClient, eventually

pytestmark = pytest.mark.integration
SERVE = """
import sys
from main.alpaca_sim import MarketRules, SimConfig, StreamRules, run_forever
rates = dict.fromkeys(sys.argv[2:], float(sys.argv[1]))
run_forever(
    SimConfig(
        market=MarketRules(
            rates=rates, default_rate=0.0, quotes_per_trade=0.0, history_per_symbol=100_000
        ),
        streams=StreamRules(connection_limit=0, symbol_limit=0, handshake_limit=0),
    ),
    lambda address: print(address.port, address.control_port, flush=True),
)
"""


class Served:
    """A process, and where it listens."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        port, control = process.stdout.readline().split()
        self.address = SimAddress(port=int(port), control_port=int(control))

    def control(self, path: str) -> Any:
        return requests.get(f"{self.address.control_url}{path}", timeout=DEADLINE_S).json()

    def do(self, verb: str, **parameters: Any) -> Any:
        url = f"{self.address.control_url}/do/{verb}"
        reply = requests.post(url, data=json.dumps(parameters), timeout=60)
        assert reply.status_code == 200, reply.text
        return reply.json()["result"]


@contextmanager
def served(rate: float, *symbols: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(rate), *symbols], stdout=subprocess.PIPE, text=True
    )
    try:
        yield Served(process)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_tells_every_client(number: signal.Signals) -> None:
    with served(10.0, "AAPL") as sim, StreamClient(sim.address.data_stream_url) as client:
        client.subscribe(trades=["AAPL"])
        client.take(1)
        sim.process.send_signal(number)
        with pytest.raises(ConnectionClosed):
            client.until(lambda _: False)
        assert client.ws.close_code == 1001
        assert sim.process.wait(DEADLINE_S) == 0


def test_a_taken_port_is_an_os_error(make_sim: MakeSim) -> None:
    sim = make_sim()
    with pytest.raises(OSError, match="in use"):
        make_sim(port=sim.address.port)


@pytest.mark.parametrize("field", ["scenario", "replay"])
def test_a_bad_file_is_told_at_the_start_and_leaves_nothing_open(
    tmp_path: Path, field: str
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("steps: [{do: dance}]", encoding="utf-8")
    config = SimConfig(replay_waits=False, **{field: str(path)})  # type: ignore[arg-type]
    sim = LocalAlpaca(config)
    with pytest.raises(ValueError, match=r"dance|not JSON"):
        sim.start()
    sim.stop()


def test_the_address_says_which_hours_the_market_keeps(sim: LocalAlpaca) -> None:
    assert sim.address.session == "virtual session, always open"


def test_it_listens_on_the_loopback_only(sim: LocalAlpaca) -> None:
    addresses = sim.call(lambda script: script.server.listens_on())
    assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert len(addresses) == 2


def test_prepared_frames_arrive_whole_and_in_order() -> None:
    with served(0.001, "SPY") as sim:
        for packed, per_frame in ((True, 1), (True, 100), (False, 50)):
            with StreamClient(sim.address.data_stream_url, packed=packed) as client:
                client.subscribe(trades=["AAPL", "MSFT"])
                report = sim.do(
                    "blast",
                    symbols=["AAPL", "MSFT"],
                    count=60_000,
                    per_s=500_000,
                    per_frame=per_frame,
                )
                got = client.take(60_000)
                print(f"prepared, {per_frame} a frame: {60_000 / report['seconds']:,.0f}/s")
            for series in report["series"]:
                ids = [m["i"] for m in got if m["S"] == series["symbol"]]
                first = series["first_id"]
                assert ids == list(range(first, first + series["count"]))
        sent = sim.control("/oracle/sent?symbol=AAPL")
        assert sent["serials"][-1] == 90_000


class Seen(msgspec.Struct):
    """The part of a message that tells trades apart."""

    T: str
    S: str = ""
    i: int = 0


async def read_ids(address: SimAddress, symbols: list[str], last: dict[str, int]) -> int:
    """Reads until it has seen the `last` id of every ticker; checks that none was skipped."""
    decode = msgspec.msgpack.Decoder(list[Seen]).decode
    headers = {
        "Content-Type": "application/msgpack",
        "APCA-API-KEY-ID": "local",
        "APCA-API-SECRET-KEY": "local-secret",
    }
    seen: dict[str, int] = {}
    count = 0
    # aiohttp's other resolver, where it is installed, leaves a thread of its own behind.
    connector = aiohttp.TCPConnector(resolver=aiohttp.ThreadedResolver())
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.ws_connect(address.data_stream_url, headers=headers, max_msg_size=0) as ws,
    ):
        await ws.send_bytes(msgspec.msgpack.encode({"action": "subscribe", "trades": symbols}))
        while not last or any(seen.get(symbol, 0) < last[symbol] for symbol in symbols):
            for message in decode(await ws.receive_bytes()):
                if message.T == "t":
                    symbol, number = message.S, message.i
                    assert number == seen.get(symbol, number - 1) + 1, "a trade was lost"
                    seen[symbol] = number
                    count += 1
    return count


def test_ten_clients_at_20_000_messages_a_second_lose_nothing() -> None:
    symbols = ["AAPL", "MSFT", "TSLA", "NVDA", "F", "SPY", "QQQ", "AMD", "BAC", "T"]
    with served(2_000.0, *symbols) as sim:
        last: dict[str, int] = {}

        async def run() -> list[int]:
            readers = [asyncio.create_task(read_ids(sim.address, symbols, last)) for _ in range(10)]
            await asyncio.sleep(1.0)  # how long the load lasts, not a synchronisation
            ends = await asyncio.to_thread(stop_and_look)
            last.update(ends)
            await asyncio.to_thread(one_more_each)
            async with asyncio.timeout(60):
                return await asyncio.gather(*readers)

        def stop_and_look() -> dict[str, int]:
            for symbol in symbols:
                sim.do("set_rate", symbol=symbol, trades_per_s=0)
            trades = {s: sim.control(f"/oracle/trades?symbol={s}")["trades"] for s in symbols}
            return {symbol: rows[-1]["trade_id"] for symbol, rows in trades.items()}

        def one_more_each() -> None:
            for symbol in symbols:
                sim.do("burst", symbol=symbol, count=1)

        counts = asyncio.run(run())
    print(f"ten clients, messages each: {counts}")
    assert min(counts) > 0


def test_a_thousand_tickers_move_at_once(make_sim: MakeSim) -> None:
    symbols = [f"T{a}{b}{c}" for a in "ABCDEFGHIJ" for b in "ABCDEFGHIJ" for c in "ABCDEFGHIJ"]
    sim = make_sim(any_ticker=True, streams={"symbol_limit": 0}, market={"default_rate": 2.0})
    with StreamClient(sim.data_stream_url, packed=True) as client:
        for first in range(0, len(symbols), 100):
            client.subscribe(trades=symbols[first : first + 100])
        eventually(lambda: all(sim.oracle.serial(symbol) for symbol in symbols), "every ticker")
        client.take(1_000)
