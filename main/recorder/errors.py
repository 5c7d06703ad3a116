"""The recorder's errors: what the user can mend, and how."""

from __future__ import annotations

from pathlib import Path


class RecorderError(Exception):
    """The root of the recorder's errors."""


class FolderInUse(RecorderError):
    """Two recorders would write the same files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another recorder writes into {folder}: give this one --into elsewhere")


class MayNotLook(RecorderError):
    """Redis does not let this user find out which tickers there are."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(
            f"Redis refuses SCAN to this user, and so the tickers cannot be found ({cause}): "
            "grant +scan beside the rules of `acl observer`"
        )


class DayIsFinished(RecorderError):
    """A day's file was finished already, so nothing can be added to it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is a finished file: move it away, or give --into another folder")


class NotARecording(RecorderError):
    """Nothing there that a recorder wrote."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} is not a recording: {why}")


class BusInUse(RecorderError):
    """Somebody publishes on the bus onto which a recording was to be played."""

    def __init__(self, prefix: str, sign: str) -> None:
        self.prefix = prefix
        super().__init__(
            f"somebody publishes on the bus {prefix!r} already ({sign}): "
            "give --bus-prefix another name"
        )
