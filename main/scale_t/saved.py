"""What a ladder keeps between two runs, in one small file: what Alpaca's order list cannot tell.

Only a memory to compare with: orders and fills always come from Alpaca. Without the file the check
before the session compares with less, and nothing else changes.
"""

from __future__ import annotations

import os
import re
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec
import structlog

log: Final = structlog.get_logger("tickerbus.scale_t")


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """`ratio` new shares for one old, for orders submitted before `at`."""

    at: str
    ratio: Decimal


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The ladder when it was last seen. `adopted`: own quantity that somebody else undid, by rung.
    Quantities and `last_price` are of that moment. `ratio`: of the splits since the ladder's terms
    were given, `start_price` among them; it begins anew with a ladder that owns nothing."""

    saved_at: str
    session: str = ""
    session_entered: Decimal = Decimal(0)  # what had been entered when that session began
    start_price: Decimal | None = None
    ratio: Decimal = Decimal(1)
    own_qty: Decimal = Decimal(0)
    account_qty: Decimal = Decimal(0)
    last_price: Decimal | None = None
    adopted: dict[str, Decimal] = {}
    splits: tuple[Split, ...] = ()
    flattening: bool = False  # it was told to close all it owns, and was not done


class StateFileBroken(Exception):
    """The file is there and cannot be read or written. Says which, and what to do."""


class StateFile:
    """One ladder's file. One process at a time writes it, as one process trades a ladder."""

    def __init__(self, folder: Path | None, account: str, client_id: str, ticker: str) -> None:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{account}-{client_id}-{ticker}")
        self.path = (folder or default_folder()) / f"{name}.json"

    def read(self) -> Saved | None:
        """Raises:
        StateFileBroken: it cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StateFileBroken(
                f"{self.path} cannot be read ({error}): mend it, or move it away; then nothing is "
                "compared with the run before"
            ) from error

    def write(self, saved: Saved) -> None:
        """Whole or not at all; a disk that does not take it is logged, and trading goes on."""
        new = self._own_file()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(saved)))
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.path)
        except OSError as error:
            log.error("scale_t.state_not_saved", path=str(self.path), reason=str(error))

    def check(self) -> None:
        """Raises:
        StateFileBroken: nothing could be saved there.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            probe = self._own_file()
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StateFileBroken(
                f"{self.path.parent} cannot be written ({error}): give another with --state-dir"
            ) from error

    def _own_file(self) -> Path:
        return self.path.with_suffix(f".{os.getpid()}.new")


def default_folder() -> Path:
    """`$XDG_STATE_HOME/tickerbus/scale_t`, by default under `~/.local/state`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "tickerbus" / "scale_t"
