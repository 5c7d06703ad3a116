"""How to install what a command lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from main.extras import ROOT, how_to_install


@pytest.fixture(autouse=True)
def activated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An environment whose programs are found."""
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("pip", "python"):
        (folder / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_who_has_the_package_installs_by_its_name(tmp_path: Path) -> None:
    assert how_to_install("record", tmp_path) == "pip install 'tickerbus[record]'"


def test_who_has_the_repository_installs_that_and_asks_no_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").touch()
    assert how_to_install("record", tmp_path) == "pip install -e '.[record]'"
    monkeypatch.chdir(tmp_path.parent)
    assert how_to_install("record", tmp_path) == f"pip install -e '{tmp_path}[record]'"


def test_in_an_environment_that_is_not_active_its_own_pip_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert how_to_install("record", tmp_path).startswith(".venv/bin/python -m pip install ")


def test_the_tests_run_from_the_repository() -> None:
    assert (ROOT / "main").is_dir()
    assert " -e " in how_to_install("record")
