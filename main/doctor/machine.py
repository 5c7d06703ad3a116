"""This machine: Python, the installed packages with known defects, and its limits."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Final

from .findings import Notebook, Severity

LEAST_FILES: Final = 1_024

Version = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """Versions of a package that are known to be bad for what runs beside TickerBus."""

    package: str
    is_in: Callable[[Version], bool]
    severity: Severity
    what: str
    remedy: str


DEFECTS: Final = (
    Defect(
        package="redis",
        is_in=lambda version: version == (8, 0, 0),
        severity=Severity.ERROR,
        what="its sockets time out after 5 s, so a subscriber of a quiet ticker is ended",
        remedy="pip install 'redis>=7,!=8.0.0'",
    ),
    Defect(
        package="alpaca-py",
        is_in=lambda version: version < (0, 44),
        severity=Severity.WARNING,
        what="TickerBus was proven with 0.44.0, whose REST calls and models it uses",
        remedy="pip install alpaca-py==0.44.0",
    ),
    Defect(
        package="websockets",
        is_in=lambda version: not (17,) <= version < (18,),
        severity=Severity.ERROR,
        what="its threaded client is not the one that the broker's connections are built on",
        remedy="pip install 'websockets>=17,<18'",
    ),
    Defect(
        package="hiredis",
        is_in=lambda version: version < (3, 3),
        severity=Severity.ERROR,
        what="its parser lacks what the hot path needs",
        remedy="pip install 'hiredis>=3.3'",
    ),
)


def examine_machine(notebook: Notebook) -> None:
    """Everything about this machine that needs no network."""
    judge_python(notebook, sys.version_info[:3])
    installed = _installed(_watched_packages())
    judge_packages(notebook, installed)
    judge_files(notebook, _open_files_limit())


def judge_python(notebook: Notebook, version: Version) -> None:
    shown = ".".join(map(str, version))
    if version < (3, 11):
        notebook.error("python", f"Python {shown} is too old", "use Python 3.11 or newer")
    else:
        notebook.fine("python", f"Python {shown}")


def judge_packages(notebook: Notebook, installed: Mapping[str, str | None]) -> None:
    """`installed`: package to version, None where it is missing."""
    is_fine = True
    for package, version in installed.items():
        if version is None:
            is_fine = False
            notebook.error(
                "package_missing", f"{package} is not installed", f"pip install {package}"
            )
            continue
        for defect in defects_of(package, version):
            is_fine = False
            write = notebook.error if defect.severity is Severity.ERROR else notebook.warn
            write("package_defect", f"{package} {version}: {defect.what}", defect.remedy)
    if is_fine:
        shown = ", ".join(f"{package} {version}" for package, version in installed.items())
        notebook.fine("packages", shown)


def defects_of(package: str, version: str) -> list[Defect]:
    """The known defects of one package in that version."""
    numbers = numbers_of(version)
    return [d for d in DEFECTS if d.package == package and d.is_in(numbers)]


def numbers_of(version: str) -> Version:
    """`"8.0.0rc1"` to `(8, 0, 0)`."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def judge_files(notebook: Notebook, limit: int | None) -> None:
    """`limit`: how many files a process may open, None if that is not known."""
    if limit is not None and limit < LEAST_FILES:
        notebook.warn(
            "open_files",
            f"a process may open only {limit} files",
            f"raise it to {LEAST_FILES} or more: ulimit -n {LEAST_FILES}, or LimitNOFILE= in the "
            "systemd unit",
        )


def _watched_packages() -> tuple[str, ...]:
    return tuple(dict.fromkeys(defect.package for defect in DEFECTS))


def _installed(packages: Iterable[str]) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def _open_files_limit() -> int | None:
    try:
        import resource  # noqa: PLC0415  (not on every system)
    except ImportError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else int(limit)
