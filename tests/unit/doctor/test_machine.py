"""Known defects by version."""

from __future__ import annotations

import pytest

from main.doctor.findings import Finding, Notebook, Severity, exit_code_of
from main.doctor.machine import (
    defects_of,
    examine_machine,
    judge_files,
    judge_packages,
    judge_python,
    numbers_of,
)


@pytest.fixture
def notebook() -> Notebook:
    return Notebook("machine")


def names(notebook: Notebook, least: Severity = Severity.WARNING) -> list[str]:
    return [finding.name for finding in notebook.findings if finding.severity >= least]


def test_redis_8_0_0_is_the_one_bad_version(notebook: Notebook) -> None:
    assert [d.severity for d in defects_of("redis", "8.0.0")] == [Severity.ERROR]
    assert not defects_of("redis", "8.0.1")
    assert not defects_of("redis", "7.4.0")
    judge_packages(notebook, {"redis": "8.0.0"})
    assert names(notebook) == ["machine.package_defect"]
    assert "redis 8.0.0" in notebook.findings[0].found


def test_good_packages_are_one_line_without_advice(notebook: Notebook) -> None:
    judge_packages(notebook, {"redis": "8.1.0", "alpaca-py": "0.44.0"})
    assert [(f.name, f.remedy) for f in notebook.findings] == [("machine.packages", "")]


def test_a_missing_package_is_named_with_how_to_install_it(notebook: Notebook) -> None:
    judge_packages(notebook, {"hiredis": None})
    assert names(notebook) == ["machine.package_missing"]
    assert notebook.findings[0].remedy == "pip install hiredis"


def test_an_old_python_and_a_low_limit_of_files_are_told(notebook: Notebook) -> None:
    judge_python(notebook, (3, 10, 2))
    judge_files(notebook, 256)
    judge_files(notebook, None)
    assert names(notebook) == ["machine.python", "machine.open_files"]


def test_versions_with_words_in_them_are_read() -> None:
    assert numbers_of("8.0.0rc1") == (8, 0, 0)
    assert numbers_of("unknown") == ()


def test_this_machine_as_the_tests_find_it_has_no_defect(notebook: Notebook) -> None:
    examine_machine(notebook)
    assert names(notebook, Severity.ERROR) == []


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], 0),
        ([Severity.FINE, Severity.NOTE], 0),
        ([Severity.WARNING, Severity.NOTE], 1),
        ([Severity.WARNING, Severity.ERROR], 2),
    ],
)
def test_the_gravest_finding_decides_the_exit_code(severities: list[Severity], code: int) -> None:
    findings = [Finding(name="a.b", severity=severity, found="") for severity in severities]
    assert exit_code_of(findings) == code
