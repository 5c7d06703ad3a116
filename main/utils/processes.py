"""Whether a process that left its number somewhere still lives: only its own machine can tell."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def machine() -> str:
    """Where a process id means something: this host, and on Linux this process namespace."""
    return f"{socket.gethostname()}/{namespace() or '-'}"


def namespace() -> str:
    """Of process numbers, on Linux; elsewhere empty."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def is_gone(of_machine: str, pid: int) -> bool:
    """Whether that was a process of this machine, and is none any more."""
    return of_machine == machine() and has_ended(pid)


def has_ended(pid: int) -> bool:
    """Whether no process of this machine has that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False  # it is there, and somebody else's; or a number that no process can have
    return _stat(pid)[:1] == ["Z"]  # ended, and not yet reaped


def start_of(pid: int) -> str:
    """In clock ticks since the boot; empty if that is not told, or there is no such process."""
    return "".join(_stat(pid)[19:20])


def _stat(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on; nothing if it does not."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return told.rpartition(")")[2].split()  # a program's name may hold anything
