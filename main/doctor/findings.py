"""What an examination finds. Every finding has a stable name, and says what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum


class Severity(IntEnum):
    """Ordered: the gravest finding decides the exit code."""

    FINE = 0
    NOTE = 1  # worth knowing, nothing to mend
    WARNING = 2  # works now, and will hurt
    ERROR = 3  # does not work


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`name` is `<area>.<what>` and stays the same; `remedy` is what to do, "" if nothing."""

    name: str
    severity: Severity
    found: str
    remedy: str = ""

    @property
    def area(self) -> str:
        return self.name.partition(".")[0]


@dataclass
class Notebook:
    """Where the checks of one area write down what they find."""

    area: str
    findings: list[Finding] = field(default_factory=list)

    def fine(self, what: str, found: str) -> None:
        self._write(what, Severity.FINE, found, "")

    def note(self, what: str, found: str, remedy: str = "") -> None:
        self._write(what, Severity.NOTE, found, remedy)

    def warn(self, what: str, found: str, remedy: str) -> None:
        self._write(what, Severity.WARNING, found, remedy)

    def error(self, what: str, found: str, remedy: str) -> None:
        self._write(what, Severity.ERROR, found, remedy)

    def _write(self, what: str, severity: Severity, found: str, remedy: str) -> None:
        name = f"{self.area}.{what}"
        self.findings.append(Finding(name=name, severity=severity, found=found, remedy=remedy))


def exit_code_of(findings: Iterable[Finding]) -> int:
    """0: nothing to mend. 1: the gravest is a warning. 2: something does not work."""
    gravest = max((finding.severity for finding in findings), default=Severity.FINE)
    return {Severity.WARNING: 1, Severity.ERROR: 2}.get(gravest, 0)
