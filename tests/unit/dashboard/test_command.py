"""The command, where the page's packages are not installed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from main.__main__ import main


@pytest.mark.parametrize("line", ["dashboard", "up --dashboard", "demo --dashboard --plain"])
def test_without_its_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = importlib.util.find_spec
    lacking = ("fastapi", "uvicorn")
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name in lacking else found(name, *more),
    )
    monkeypatch.setattr(sys, "argv", ["tickerbus", *line.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "The page needs fastapi, uvicorn: " in said
    assert "[dashboard]'" in said


def test_the_page_is_not_imported_by_who_does_not_want_it() -> None:
    """The other commands start as fast as before."""
    code = "import sys, main.__main__; print(sorted({'fastapi', 'uvicorn'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
