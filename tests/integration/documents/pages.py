"""The code blocks of a page, and the shell script that they make together."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
LANGUAGES: Final = frozenset({"sh", "python", "json", "yaml", "ini", "js", "text"})
MARKER: Final = re.compile(r"<!-- not run: (?P<why>\S.*) -->")
UNTIL_CTRL_C: Final = re.compile(r"^(?P<command>[^#]*\S)\s+# .*Ctrl-C")
HELPER: Final = Path(__file__).with_name("until_ctrl_c.py")


@dataclass(frozen=True, kw_only=True)
class Block:
    """`line` is where its text begins, counted from 1; `why_not` why it is not run, "" if it is."""

    language: str
    text: str
    line: int
    why_not: str


def pages() -> list[Path]:
    """Everything that a user reads."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    return sorted(found)


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks, in their order."""
    found, marked, opened = [], "", None
    text: list[str] = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if opened is None and line.startswith("```"):
            opened, text = (line[3:].strip(), number + 1), []
        elif opened is not None and line.startswith("```"):
            language, first = opened
            body = "".join(f"{each}\n" for each in text)
            found.append(Block(language=language, text=body, line=first, why_not=marked))
            opened, marked = None, ""
        elif opened is not None:
            text.append(line)
        else:
            match = MARKER.fullmatch(line.strip())
            marked = match["why"] if match else ""
    assert opened is None, f"{page.name}: a block is not closed"
    return found


def script_of(page: Path) -> str:
    """All that is run of a page, as one bash script; empty if there is nothing."""
    runnable = [b for b in blocks_of(page) if b.language == "sh" and not b.why_not]
    if not runnable:
        return ""
    parts = ["set -eu -o pipefail\n"]
    for block in runnable:
        parts.append(f"echo '=== {page.name}, line {block.line}' >&2\n")
        parts += [_line(line) for line in block.text.splitlines(keepends=True)]
    return "".join(parts)


def _line(line: str) -> str:
    match = UNTIL_CTRL_C.match(line)
    if match is None:
        return line
    return shlex.join([sys.executable, str(HELPER), match["command"]]) + "\n"
