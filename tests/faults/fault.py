"""One fault: inflicted on a stage, recovered from, and judged. The row that comes of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .judge import Counts
from .stage import NotInTime, Stage, StageConfig

LIBRARY = ("ordinary", "slow", "late")
READERS = (*LIBRARY, "plain")
RECOVER_DEADLINE_S = 30.0
RECONCILED_S = 40.0  # a fill that a healthy stream lost is found at the next comparison, every 30 s


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is done, and what may follow from it. `inflict` marks where the cause begins and ends.

    `detect_s`, `recover_s`: the bounds; None where there is nothing to detect or to recover from.
    """

    number: str
    title: str
    inflict: Callable[[Stage], None]
    stage: StageConfig = field(default_factory=StageConfig)
    detect_s: float | None = 2.0
    recover_s: float | None = 5.0
    upstream_disorder: bool = False  # Alpaca itself sent trades out of order
    plain_may_repeat: bool = False
    most_connections: int = 1
    note: str = ""


@dataclass(kw_only=True)
class Row:
    """What was measured. `failures` is empty when everything holds."""

    number: str
    title: str
    note: str = ""
    counts: dict[str, Counts] = field(default_factory=dict)
    connections: int = 0
    detect_s: float | None = None
    detected_by: str = ""
    recover_s: float | None = None
    leaked_leases: int = 0
    stop_s: float | None = None
    took_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    words: dict[str, list[str]] = field(default_factory=dict)  # of the processes, when it failed

    def total(self, name: str, readers: tuple[str, ...] = READERS) -> int:
        """The worst reader's count."""
        found = [getattr(self.counts[r], name) for r in readers if r in self.counts]
        return int(max(found, default=0))


def run_fault(fault: Fault) -> Row:
    """Set up, inflict, wait for the recovery, judge, clear away."""
    row = Row(number=fault.number, title=fault.title, note=fault.note)
    began = time.monotonic()
    try:
        with Stage(fault.stage) as stage:
            try:
                _inflict(fault, stage, row)
                _settle(stage, row)
            except Exception as error:  # what the lab could not do fails the row
                row.failures.append(
                    str(error) if isinstance(error, AssertionError) else repr(error)
                )
                stage.cutoff = stage.cutoff or stage.newest_ids()
            _judge(fault, stage, row)
            row.failures += stage.leaks()
            _part(stage, row)
            row.connections = max(stage.cables[each].most_open for each in ("data", "trading"))
            _measure(fault, row)
            if row.failures:
                _keep_words(stage, row)
    except Exception as error:  # one row must not end the others
        row.failures.append(f"the stage: {error!r}")
    row.took_s = time.monotonic() - began
    return row


def _inflict(fault: Fault, stage: Stage, row: Row) -> None:
    fault.inflict(stage)
    assert stage.cause_ended, "the fault did not say when its cause ends"
    if fault.recover_s is not None:
        recovered = stage.wait_until(stage.recovered_at, RECOVER_DEADLINE_S, "recovered")
        row.recover_s = max(0.0, (recovered - stage.cause_ended) / 1e9)
    evidence = stage.observer.first_evidence(stage.cause_began)
    if evidence is not None and fault.detect_s is not None:
        row.detect_s = (evidence.at - stage.cause_began) / 1e9
        row.detected_by = f"{evidence.who}: {evidence.what}"


def _settle(stage: Stage, row: Row) -> None:
    """A late joiner comes, orders end, and every reader gets past the last trade that counts."""
    stage.start_reader("late", since=stage.began)
    stage.reader_is_there("late")
    stage.orders.stop()
    ids = stage.cutoff = stage.newest_ids()
    for name in LIBRARY:
        stage.wait_until(lambda name=name: stage.is_past(name, ids), 60, f"{name} has caught up")
    stage.wait_until(lambda: stage.is_past("plain", ids), 10, "plain hears again")
    stage.wait_until(
        lambda: not _orders_missing(stage), RECONCILED_S, "all order events came", every_s=0.1
    )


def _orders_missing(stage: Stage) -> int:
    stage.read()
    events = stage.orders_happened()
    return sum(stage.books[name].judge([], events).orders_missing for name in LIBRARY)


def _judge(fault: Fault, stage: Stage, row: Row) -> None:
    stage.read()
    events = stage.orders_happened()
    for name, book in stage.books.items():
        if name not in stage.since:
            row.failures.append(f"{name} never came")
            continue
        mine = [event for event in events if event.symbol in stage.follows[name]]
        places = stage.books["ordinary"].order_places if name == "plain" else None
        counts = book.judge(stage.happened(name), mine, told_by_holes=places)
        row.counts[name] = counts
        row.failures += _broken(fault, name, counts)
    for program in (*stage.readers.values(), *stage.brokers.values()):
        if program.exit_code is not None and program.name not in stage.ended_on_purpose:
            row.failures.append(f"{program.name} ended by itself with {program.exit_code}")


def _broken(fault: Fault, name: str, counts: Counts) -> list[str]:
    plain = name == "plain"
    broken = {
        "silent_loss": counts.silent_loss,
        "orders_missing": counts.orders_missing,
        "duplicates": 0 if plain and fault.plain_may_repeat else counts.duplicates,
        "reordered": counts.reordered,
        "disordered": 0 if fault.upstream_disorder else counts.disordered,
        "nothing expected": int(counts.expected == 0),
    }
    found = [f"{name}: {what} {number}" for what, number in broken.items() if number]
    return found + (counts.examples if found else [])


def _part(stage: Stage, row: Row) -> None:
    """Readers leave, and nothing may stay behind; then the brokers end."""
    for name, program in stage.readers.items():
        if name in stage.ended_on_purpose:
            continue
        code = program.end(10.0)
        if code != 0:
            row.failures.append(f"{name} left with exit code {code}")
    stage.read()
    for name, counts in row.counts.items():
        counts.from_journal = stage.books[name].counters.get("refilled", 0)
    try:
        stage.wait_until(
            lambda: not stage.leases_left() and not stage.followed_upstream(), 8, "leases end"
        )
    except NotInTime:
        left = [*stage.leases_left(), *sorted(stage.followed_upstream())]
        row.leaked_leases = len(left)
        row.failures.append(f"left behind: {left}")
    for name, program in stage.brokers.items():
        if program.exit_code is not None:
            continue
        stage.stop_broker(name)
        if stage.exit_codes[name] != 0 or stage.stop_s[name] > 5:
            row.failures.append(
                f"{name}: SIGTERM took {stage.stop_s[name]:.1f} s, code {stage.exit_codes[name]}"
            )
    row.stop_s = max(stage.stop_s.values(), default=None)


def _measure(fault: Fault, row: Row) -> None:
    if row.connections > fault.most_connections:
        row.failures.append(f"{row.connections} connections to one endpoint at once")
    if fault.detect_s is not None and (row.detect_s is None or row.detect_s > fault.detect_s):
        row.failures.append(f"detected after {row.detect_s} s, not within {fault.detect_s} s")
    if row.recover_s is not None and row.recover_s > (fault.recover_s or 0):
        row.failures.append(f"recovered after {row.recover_s:.1f} s, not {fault.recover_s} s")


def _keep_words(stage: Stage, row: Row) -> None:
    for name, words in stage.observer.words.items():
        row.words[name] = list(words)[-400:]
