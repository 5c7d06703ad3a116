"""The table: one row a fault, for a terminal and as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from .fault import LIBRARY, Row

HEADINGS = (
    "fault",
    "what",
    "silent_loss",
    "signalled_loss",
    "refilled",
    "duplicates",
    "reordered",
    "order_events_missing",
    "upstream_connections_open",
    "detect_s",
    "recover_s",
    "leaked_leases",
    "holds",
)


def cells(row: Row) -> tuple[str, ...]:
    """One row's cells. `signalled_loss`: the library's readers / the plain one."""
    plain = row.total("signalled_loss", ("plain",))
    return (
        row.number,
        row.title,
        str(row.total("silent_loss")),
        f"{row.total('signalled_loss', LIBRARY)} / {plain}",
        f"{row.total('backfilled')} / {row.total('from_journal', ('ordinary', 'slow'))}",
        str(row.total("duplicates")),
        str(row.total("reordered")),
        str(row.total("orders_missing")),
        str(row.connections),
        _seconds(row.detect_s),
        _seconds(row.recover_s),
        str(row.leaked_leases),
        "no" if row.failures else "yes",
    )


def line(row: Row) -> str:
    """One row for a terminal."""
    number, what, *rest = cells(row)
    named = " ".join(
        f"{name}={cell.replace(' ', '')}" for name, cell in zip(HEADINGS[2:-1], rest, strict=False)
    )
    verdict = "ok  " if not row.failures else "FAIL"
    return f"{verdict} {number:<4} {what}\n          {named} took={row.took_s:.0f}s"


def markdown(rows: Sequence[Row]) -> str:
    """The table, and below it the notes of its rows."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|" + "---|" * len(HEADINGS)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in rows]
    notes = [f"- {row.number}: {row.note}." for row in rows if row.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
