"""`doctor`: what keeps TickerBus from working here, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from .common import console, program

if TYPE_CHECKING:
    from ..doctor import Finding

MARKS: Final = {"FINE": ("✔", "green"), "NOTE": ("•", "cyan")} | {
    "WARNING": ("!", "bold yellow"),
    "ERROR": ("✘", "bold red"),
}
WORDS: Final = {"ERROR": "error", "WARNING": "warning", "NOTE": "note", "FINE": "fine"}


def doctor(
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Without a broker here: sign in to Alpaca's stream for a moment, to see whether "
            "its only connection is free.",
        ),
    ] = False,
    strategy: Annotated[
        bool, typer.Option("--strategy", help="Ask for a strategy's rights, not the broker's.")
    ] = False,
    problems: Annotated[
        bool, typer.Option("--problems", help="Only what is to be mended.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    timeout: Annotated[
        float, typer.Option(min=1, metavar="SECONDS", help="It never takes longer.")
    ] = 15.0,
) -> None:
    """Say what is wrong here, and what to do.

    Examines this machine, the settings, Redis, the broker and Alpaca. Changes nothing, and never
    disturbs a running broker. Exit code 0: nothing to mend. 1: there are warnings. 2: something
    does not work.
    """
    from ..doctor import Examination, Severity, examine, exit_code_of

    examination = Examination(
        env_file=Path(".env"),
        role="strategy" if strategy else "broker",
        probe=probe,
        timeout_s=timeout,
    )
    findings = examine(examination)
    exit_code = exit_code_of(findings)
    if problems:
        findings = [finding for finding in findings if finding.severity >= Severity.WARNING]
    if as_json:
        console.print(_json(findings, exit_code), markup=False)
    else:
        _print_report(findings)
    raise typer.Exit(exit_code)


def _json(findings: Sequence[Finding], exit_code: int) -> str:
    listed = [
        {
            "name": finding.name,
            "severity": WORDS[finding.severity.name],
            "found": finding.found,
            "remedy": _to_type(finding.remedy),
        }
        for finding in findings
    ]
    return json.dumps({"exit_code": exit_code, "findings": listed}, indent=2, ensure_ascii=False)


def _print_report(findings: Sequence[Finding]) -> None:
    if findings:
        # The console does not wrap its lines; a table has to.
        console.print(_table(findings), soft_wrap=False)
    console.print(_summary(findings))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=box.ROUNDED, border_style="dim", show_header=False, padding=(0, 1))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    for area, group in groupby(findings, key=lambda finding: finding.area):
        for finding in group:
            mark, style = MARKS[finding.severity.name]
            what = Text(area, "bold").append(f".{finding.name.partition('.')[2]}", "not bold")
            table.add_row(Text(mark, style), what, _words(finding))
        table.add_section()
    return table


def _words(finding: Finding) -> Text:
    is_fine = finding.severity.name in ("FINE", "NOTE")
    words = Text(finding.found, "dim" if finding.severity.name == "FINE" else "")
    if finding.remedy:
        words.append(f"\n→ {_to_type(finding.remedy)}", "cyan" if is_fine else "bold cyan")
    return words


def _to_type(remedy: str) -> str:
    """Commands as they are typed from here."""
    return remedy.replace("tickerbus ", f"{program()} ")


def _summary(findings: Sequence[Finding]) -> Text:
    line = Text(" ")
    for severity, word in WORDS.items():
        count = sum(finding.severity.name == severity for finding in findings)
        if count or severity in ("ERROR", "WARNING"):
            mark, style = MARKS[severity]
            plural = "s" if count != 1 and severity != "FINE" else ""
            line.append(f" {mark} {count} {word}{plural}  ", style if count else "dim")
    return line
