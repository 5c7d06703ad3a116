"""Children never outlive their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from main.children import LIFELINE, Child, Guard

pytestmark = pytest.mark.integration

PATIENCE_S = 20.0


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_child_ends_when_its_lifeline_does() -> None:
    obeys = (
        "import time, sys; from main.children import obey_lifeline; obey_lifeline();"
        "print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        _python(obeys),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, LIFELINE: "stdin"},
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()
    assert child.wait(PATIENCE_S) == -15
    child.stdout.close()


def test_a_child_that_ignores_the_request_ends_nevertheless() -> None:
    stubborn = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "import main.children as c; c.PARTING_S = 0.1; c.obey_lifeline();"
        "print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        _python(stubborn),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, LIFELINE: "stdin"},
    )
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()
    assert child.wait(PATIENCE_S) == 1
    child.stdout.close()


def test_without_a_lifeline_stdin_means_nothing() -> None:
    free = (
        "from main.children import obey_lifeline; import threading; obey_lifeline();"
        "print([t.name for t in threading.enumerate()])"
    )
    ended = subprocess.run(
        _python(free), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    assert ended.stdout == "['MainThread']\n"


def test_a_guard_ends_its_process_when_we_are_gone() -> None:
    guarded = subprocess.Popen(_python("import time; time.sleep(60)"))
    guard = Guard(guarded.pid)
    assert guard._shell.stdin is not None
    guard._shell.stdin.close()  # what the end of our process does
    assert guarded.wait(PATIENCE_S) == -15
    guard._shell.wait(PATIENCE_S)


def test_a_dismissed_guard_ends_nothing() -> None:
    guarded = subprocess.Popen(_python("import sys; sys.stdin.read()"), stdin=subprocess.PIPE)
    guard = Guard(guarded.pid)
    guard.dismiss()
    assert guard._shell.returncode == -9
    assert guarded.poll() is None
    assert guarded.stdin is not None
    guarded.stdin.close()
    assert guarded.wait(PATIENCE_S) == 0


def test_a_child_is_heard_and_its_last_words_are_kept() -> None:
    heard: list[str] = []
    child = Child("typo", ["no-such-command"], os.environ, heard.append)
    child.start()
    deadline = time.monotonic() + PATIENCE_S
    while child.exit_code is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.stop(1)
    assert child.exit_code == 2
    assert "no-such-command" in "\n".join(heard)
    assert heard[-1] in child.obituary()
    assert "typo ended with exit code 2" in child.obituary()
    assert not [t for t in threading.enumerate() if t.name == "words-of-typo"]


def test_stop_makes_a_deaf_child_end() -> None:
    child = Child("sim", ["sim", "--port", "0"], os.environ)
    child._command = _python(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('up', flush=True); time.sleep(60)"
    )
    child.start()
    deadline = time.monotonic() + PATIENCE_S
    while child.last_words != ["up"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    child.stop(0.1)
    assert child.exit_code == -9
