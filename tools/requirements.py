"""`make requirements`: writes requirements.txt from pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
REQUIREMENTS = ROOT / "requirements.txt"


def requirements_text() -> str:
    """What requirements.txt has to hold."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    heading = [
        "# Written by `make requirements` from pyproject.toml. Change that, not this.",
        "-c constraints.txt",
    ]
    return "\n".join([*heading, *project["dependencies"]]) + "\n"


if __name__ == "__main__":
    REQUIREMENTS.write_text(requirements_text(), encoding="utf-8")
