"""Many threads share few heaps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys, tempfile, threading

if sys.argv[1] == "limited":
    from main.alpaca_broker.heap import limit_arenas
    limit_arenas()
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
