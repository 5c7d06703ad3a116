"""Many threads share few heaps, and what they no longer need goes back."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest

from main.alpaca_broker.heap import TIDY_S, Tidy

PROGRAM = """
import ctypes, sys, tempfile, threading

if sys.argv[1] == "limited":
    from main.alpaca_broker.heap import tame
    tame()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
done = threading.Barrier(17)

def use_the_heap():
    libc.malloc(100_000)
    done.wait(10)
    done.wait(10)

threads = [threading.Thread(target=use_the_heap) for _ in range(16)]
for thread in threads:
    thread.start()
done.wait(10)
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(open(file.name).read().count("<heap nr="))
done.wait(10)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has heaps for threads")
@pytest.mark.parametrize(("how", "at_most"), [("limited", 2), ("as it is", 100)])
def test_sixteen_threads_keep_two_heaps(how: str, at_most: int) -> None:
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    heaps = int(told.stdout)
    assert heaps <= at_most
    assert heaps > 2 or how == "limited", "without the limit there would be more"


WASTEFUL = """
import ctypes
from main.alpaca_broker.heap import give_back

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(100_000) for _ in range(500)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:  # the last one holds the heap's end where it is
    libc.free(block)
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps what is free")
def test_what_is_free_goes_back_to_the_system() -> None:
    told = subprocess.run([sys.executable, "-c", WASTEFUL], capture_output=True, check=True)
    assert int(told.stdout) > 30_000_000


@pytest.fixture
def only_when_told() -> Iterator[None]:
    """The collector looks for nothing by itself."""
    gc.disable()
    yield
    gc.enable()


class Ring:
    """What an ended connection is: it refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.mark.usefixtures("only_when_told")
def test_what_a_lost_connection_leaves_is_freed_when_it_is_time() -> None:
    now_s, lost = 100.0, 0
    tidy = Tidy(lambda: lost, lambda: now_s)
    tidy()
    ring = weakref.ref(Ring())
    lost = 1
    tidy()
    assert ring() is not None, "it is not time yet"
    now_s += TIDY_S
    tidy()
    assert ring() is None


@pytest.mark.usefixtures("only_when_told")
def test_nothing_is_looked_for_where_no_connection_was_lost() -> None:
    now_s = 100.0
    tidy = Tidy(lambda: 7, lambda: now_s)
    tidy()
    ring = weakref.ref(Ring())
    now_s += TIDY_S
    tidy()
    assert ring() is not None
