"""`demo` and `up` as a person uses them: the whole road, its verdict, and its end."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import pytest

from main.embedded_valkey import EmbeddedValkey

from .conftest import ENDS_WITHIN_S, PATIENCE_S, Person, ended, free_port, interrupt, read_until

pytestmark = pytest.mark.integration


def _ports() -> str:
    return f"--redis-port {free_port()} --sim-port {free_port()}"


def _wait_for_parts(person: Person, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(person.processes()) < count:
        assert time.monotonic() < deadline, person.processes()
        time.sleep(0.02)


def test_the_plain_demo_sees_the_whole_road_work(person: Person) -> None:
    mine = person.folder / "state"
    line = f"demo --seconds 8 --plain --tickers AAPL,MSFT,BTC/USD {_ports()}"
    demo = person.types(line, XDG_STATE_HOME=str(mine))
    assert demo.code == 0, demo.out + demo.err
    assert not mine.exists(), "a second demo beside this one would meet its ladder there"
    assert "PAPER account …" in demo.out.splitlines()[2]
    for part in ("parts", "broker", "prices", "order new", "order fill"):
        assert re.search(rf"^ok +{part} ", demo.out, re.M), demo.out
    assert "prices of 3 of 3 tickers came through Redis, 0 gaps" in demo.out


def test_the_demo_fails_and_says_where_when_no_price_comes(person: Person) -> None:
    demo = person.types(f"demo --seconds 2 --plain --tickers AAPL,MSFT --rate 0 {_ports()}")
    assert demo.code == 1
    assert re.search(r"^FAILED +prices .*none of AAPL, MSFT", demo.out, re.M), demo.out
    assert re.search(r"^FAILED +order fill", demo.out, re.M), demo.out
    assert "did not work: prices" in demo.err


def test_the_demo_fails_and_says_which_part_ended_by_itself(person: Person) -> None:
    process = person.starts(f"demo --plain --tickers AAPL {_ports()}")
    read_until(process, "scale_t: trades")
    broker = next(p for p in person.processes() if p.cmdline()[-2:] == ["main", "broker"])
    broker.kill()
    demo = ended(process)
    assert demo.code == 1
    assert "broker ended with exit code -9 (SIGKILL)" in demo.out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_of_it_cleanly_and_in_time(person: Person, number: int) -> None:
    process = person.starts(f"demo --plain --tickers AAPL {_ports()}")
    read_until(process, "scale_t: trades")
    _wait_for_parts(person, 5)
    asked_at = time.monotonic()
    demo = interrupt(process, number)
    assert time.monotonic() - asked_at < ENDS_WITHIN_S
    assert demo.code == 0, demo.err
    assert person.processes() == []
    assert "Traceback" not in demo.err


def test_an_end_during_the_start_leaves_nothing(person: Person) -> None:
    process = person.starts(f"demo --plain --tickers AAPL {_ports()}")
    read_until(process, "Redis:")
    asked_at = time.monotonic()
    demo = interrupt(process)
    assert demo.code == 0, demo.err
    # A part that was just being born ends with its parent, a moment later.
    while person.processes():
        assert time.monotonic() - asked_at < ENDS_WITHIN_S, person.processes()
        time.sleep(0.02)


def test_a_killed_demo_takes_everything_with_it(person: Person) -> None:
    process = person.starts(f"demo --plain --tickers AAPL {_ports()}")
    read_until(process, "scale_t: trades")
    _wait_for_parts(person, 5)
    process.kill()
    person.was_killed = True
    ended(process)
    deadline = time.monotonic() + ENDS_WITHIN_S
    while person.processes():
        assert time.monotonic() < deadline, person.processes()
        time.sleep(0.02)


def test_the_table_lives_in_a_terminal_and_ctrl_c_ends_it(person: Person) -> None:
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [*person.program, "demo", "--tickers", "AAPL,MSFT", *_ports().split()],
        env={**person.environment, "TERM": "xterm-256color"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509  (two system calls, nothing locked)
    )
    os.close(terminal)
    try:
        shown = _read_screen(
            screen,
            lambda text: (
                process.poll() is not None
                or bool("RUNNING" in text and re.search("(new|fill) (buy|sell)", text))
            ),
        )
        assert process.poll() is None, shown
        os.write(screen, b"\x03")
        asked_at = time.monotonic()
        shown += _read_screen(screen, lambda _: process.poll() is not None)
        assert time.monotonic() - asked_at < ENDS_WITHIN_S
    finally:
        process.kill()
        process.wait()
        os.close(screen)
    assert process.returncode == 0
    for words in ("PAPER", "AAPL", "MSFT", "msg/s", "last order event", "Ctrl-C ends it"):
        assert words in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l"), "the cursor is shown again"


def _take_terminal() -> None:
    import fcntl  # noqa: PLC0415
    import termios  # noqa: PLC0415

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    termios.tcsetwinsize(0, (40, 130))


def _read_screen(screen: int, is_enough: Callable[[str], bool]) -> str:
    os.set_blocking(screen, False)
    text = ""
    deadline = time.monotonic() + PATIENCE_S
    while not is_enough(text):
        assert time.monotonic() < deadline, text[-4000:]
        try:
            text += os.read(screen, 65_536).decode(errors="replace")
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other side is closed
            time.sleep(0.02)
    return text


def test_a_port_that_was_asked_for_and_is_taken_is_a_mistake(person: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        demo = person.types(f"demo --plain --redis-port {port}")
    assert demo.code == 2
    assert f"port {port} is taken: give --redis-port another one" in demo.err


def test_a_taken_default_port_moves_to_the_next_and_says_so(person: Person) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = person.starts(
            f"demo --plain --tickers AAPL --sim-port {free_port()}", REDIS_PORT=str(port)
        )
        printed = read_until(process, "Redis:")
        assert re.search(rf"an embedded Valkey on 127.0.0.1:\d+ \({port} is taken\)", printed)
        assert interrupt(process).code == 0


def test_a_given_redis_and_given_keys_are_used_and_nothing_trades_on_them(
    person: Person, own_valkey: EmbeddedValkey
) -> None:
    sim_port = free_port()
    sim = person.starts(f"sim --port {sim_port} --rate 20 --key mine --secret my-secret")
    printed = read_until(sim, "ALPACA_TRADING_URL")
    keys = dict(line.split()[1].split("=", 1) for line in printed.splitlines() if "export" in line)
    demo = person.types(
        "demo --seconds 4 --plain --tickers AAPL",
        REDIS_URL=f"redis://127.0.0.1:{own_valkey.port}",
        **keys,
    )
    assert demo.code == 0, demo.out + demo.err
    assert f"Redis: yours, 127.0.0.1:{own_valkey.port}/0" in demo.out
    assert "Alpaca: your keys" in demo.out
    assert re.search(r"^skipped order fill +nothing trades on your account", demo.out, re.M)
    assert interrupt(sim).code == 0
