"""Whether a process that left its number somewhere still lives: only its own machine can tell."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def machine() -> str:
    """Where a process id means something: this host, and on Linux this process namespace."""
    try:
        namespace = str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        namespace = "-"
    return f"{socket.gethostname()}/{namespace}"


def is_gone(of_machine: str, pid: int) -> bool:
    """Whether that was a process of this machine, and is none any more."""
    if of_machine != machine():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False  # it is there, and somebody else's
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"  # ended, and not yet reaped
