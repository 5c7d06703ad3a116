"""Locks and leases, where the disk or the moment is unkind."""

from __future__ import annotations

import errno
import fcntl
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from main.scale_t.alone import AlreadyRuns, StateLock, TickerLease
from main.scale_t.saved import StateFileBroken
from main.utils.redis.config import RedisConfig

NOWHERE = RedisConfig(host="127.0.0.1", port=1)


def test_a_disk_that_knows_no_locks_is_not_taken_for_another_scale_t(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network disks."""

    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StateFileBroken, match=r"No locks available.*--state-dir"):
        StateLock(tmp_path / "a.json", "scale-t", "AAPL").take()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateFileBroken, match="--state-dir"):
        StateLock(tmp_path / "file" / "a.json", "scale-t", "AAPL").take()


@pytest.mark.parametrize(("left_ms", "is_free"), [(-2, True), (-1, False)])
def test_a_lease_that_ran_out_while_it_was_looked_at_is_free(
    monkeypatch: pytest.MonkeyPatch, left_ms: int, is_free: bool
) -> None:
    """Redis says -2 of a key that is gone, -1 of one that never runs out: that is no lease."""
    with closing(TickerLease(NOWHERE, "scale-t", "AAPL", pytest.fail)) as lease:
        found = iter([(b"{}", left_ms)])
        monkeypatch.setattr(lease, "_try", lambda _dead: next(found, None))
        if is_free:
            lease.take(pause=lambda _: None)
            return
        with pytest.raises(AlreadyRuns):
            lease.take(pause=lambda _: None)
