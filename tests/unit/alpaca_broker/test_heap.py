"""Many threads share few heaps, and what they no longer need goes back."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
