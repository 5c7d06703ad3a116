"""docs/doctor.md names every finding that can be made."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "doctor.md").read_text("utf-8")
WRITTEN = re.compile(r'\b(?:note|warn|error|write)\(\s*"([a-z_]+)"')
NAMED = re.compile(r"`(?:machine|settings|redis|broker|alpaca|…)\.([a-z_]+)`")


def test_the_page_names_every_finding_and_no_other() -> None:
    files = (ROOT / "main" / "doctor").glob("*.py")
    written = {name for file in files for name in WRITTEN.findall(file.read_text("utf-8"))}
    assert len(written) > 40
    assert set(NAMED.findall(PAGE)) == written
