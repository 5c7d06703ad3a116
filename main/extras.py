"""What to type to get the packages that only some commands need."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).absolute().parents[1]


def how_to_install(extra: str, root: Path = ROOT) -> str:
    """`pip install -e '.[record]'` in the repository, which need not be on any index; for who has
    installed the package its own name. With this Python's own pip."""
    if not (root / "pyproject.toml").is_file():
        return f"{_pip()} install 'tickerbus[{extra}]'"
    where = "." if Path.cwd() == root else root
    return f"{_pip()} install -e '{where}[{extra}]'"


def _pip() -> str:
    here, found = Path(sys.executable).absolute(), shutil.which("pip")
    if found and Path(found).absolute().parent == here.parent:
        return "pip"
    shown = here.relative_to(Path.cwd()) if here.is_relative_to(Path.cwd()) else here
    return f"{shown} -m pip"
