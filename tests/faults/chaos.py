"""`python -m tests.faults.chaos --seconds 600 --seed 1`: a seeded mixture of faults that overlap.

Ten tickers with 200 trades a second together, and orders; every minute the faults rest, everything
has to recover, and all that happened since the last rest is judged. The broker's memory is sampled:
it must not grow. A failure prints the seed, with which the same schedule can be run again.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import time
from dataclasses import dataclass, field

import psutil

from .chaos_actions import ACTIONS, Action, Undo
from .judge import Counts
from .stage import NotInTime, Stage, StageConfig

TICKERS = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "GOOG", "META", "AMD", "INTC", "SPY")
ROUND_S = 60.0
RECOVER_S = 15.0  # several faults end at once
RECONCILED_S = 45.0
HABITS_S = 30.0  # what is usual for a ticker is known after this
JUDGED_FROM_S = 900.0  # before, a fresh process is still filling its bounded buffers
MAY_GROW = 1.10  # the median of the last quarter against that of the second
HERE = ("ordinary", "slow", "plain")


class ChaosFailed(AssertionError):
    """An invariant broke."""


@dataclass(kw_only=True)
class Report:
    """What was counted over the whole run."""

    actions: int = 0
    rests: int = 0
    expected: int = 0
    orders: int = 0
    signalled: int = 0
    recover_s: list[float] = field(default_factory=list)
    memory: list[tuple[float, int, int]] = field(default_factory=list)  # (moment, pid, bytes)
    log: list[str] = field(default_factory=list)


class Chaos:
    """One run. `run` raises ChaosFailed, or returns when the time is over."""

    def __init__(self, stage: Stage, seconds: float, seed: int) -> None:
        self.report = Report()
        self._stage, self._seconds, self._dice = stage, seconds, random.Random(seed)
        self._began = time.monotonic()
        self._in_force: list[tuple[float, Action, Undo | None]] = []
        self._judged_ids: dict[str, int] = {}
        self._judged_events = 0
        self._next_sample = 0.0
        self._calm_kills = False
        self._habits_from_s = HABITS_S
        self._worst = Counts()

    def run(self) -> None:
        while self._elapsed() < self._seconds:
            if not self._calm_kills and self._elapsed() > self._seconds / 4:
                self._end_of_kills()
            self._mix(min(ROUND_S, max(5.0, self._seconds - self._elapsed())))
            self._rest()
        self._judge_memory()

    # -- the mixture

    def _mix(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        next_action = time.monotonic()
        while time.monotonic() < deadline:
            self._sample_memory()
            self._undo(time.monotonic())
            if time.monotonic() >= next_action:
                self._begin_one(deadline - time.monotonic())
                next_action = time.monotonic() + self._dice.uniform(0.3, 5.0)
            self._stage.read()
            time.sleep(0.05)
        self._undo(float("inf"))

    def _begin_one(self, left_s: float) -> None:
        busy = frozenset().union(*(action.uses for _, action, _ in self._in_force))
        may = [
            action
            for action in ACTIONS
            if not action.uses & busy
            and not (action.kills and self._calm_kills)
            and not (action.needs_habits and self._elapsed() < self._habits_from_s)
            and not (action.needs_habits and left_s < action.lasts_s[1])  # else cut short below
        ]
        (action,) = self._dice.choices(may, [action.weight for action in may])
        lasts_s = self._dice.uniform(*action.lasts_s)
        self._note(f"{action.name} for {lasts_s:.1f} s")
        undo = action.begin(self._stage, lasts_s, self._dice)
        self._in_force.append((time.monotonic() + lasts_s, action, undo))
        self.report.actions += 1
        if action.kills:
            self._habits_from_s = self._elapsed() + lasts_s + HABITS_S

    def _undo(self, now: float) -> None:
        over = [each for each in self._in_force if each[0] <= now]
        self._in_force = [each for each in self._in_force if each[0] > now]
        for _, _, undo in over:
            if undo is not None:
                undo()

    def _end_of_kills(self) -> None:
        """From here on one broker process has to live to the end, alone."""
        self._calm_kills = True
        spare = "standby" if self._stage.owner() == "broker" else "broker"
        self._stage.ended_on_purpose.add(spare)
        self._stage.stop_broker(spare)
        if spare == "broker":  # actions know the owner's cable by this name
            self._stage.cables["broker"] = self._stage.cables["standby"]
        for name in ("data", "trading"):
            self._stage.cables[name].most_open = 0

    # -- the rests

    def _rest(self) -> None:
        stage = self._stage
        stage.sim.faults.heal()
        stage.cause_ends()
        # The slow one takes as long as its handler does: it only has to come there, below.
        recovered = self._wait(stage.recovered_at, RECOVER_S, "all recovered")
        self.report.recover_s.append(max(0.0, (recovered - stage.cause_ended) / 1e9))
        stage.orders.pause()
        stage.cutoff = stage.newest_ids()
        for name in HERE:
            self._wait(lambda name=name: stage.is_past(name, stage.cutoff), 30, f"{name} is past")
        self._wait(lambda: not self._orders_missing(), RECONCILED_S, "all order events", 0.5)
        self._judge()
        stage.orders.go_on()
        self.report.rests += 1

    def _orders_missing(self) -> int:
        stage = self._stage
        stage.read()
        events = stage.orders_happened(self._judged_events)
        return sum(stage.books[name].judge([], events).orders_missing for name in HERE[:2])

    def _compare(self) -> list[str]:
        """What is broken since the last rest."""
        stage, broken = self._stage, []
        events = stage.orders_happened(self._judged_events)
        self._worst = Counts()
        for name in HERE:
            trades = stage.happened(name, self._judged_ids)
            places = stage.books["ordinary"].order_places if name == "plain" else None
            counts = stage.books[name].judge(trades, events, told_by_holes=places)
            self._worst = max(self._worst, counts, key=lambda each: each.expected)
            self.report.signalled = max(self.report.signalled, counts.signalled_loss)
            broken += _broken(name, counts)
        return broken

    def _judge(self) -> None:
        stage, broken = self._stage, self._compare()
        worst, events = self._worst, stage.orders_happened(self._judged_events)
        self.report.expected += worst.expected
        self.report.orders += len(events)
        for name in ("data", "trading"):
            if self._calm_kills and stage.cables[name].most_open > 1:
                broken.append(f"{name}: {stage.cables[name].most_open} connections at once")
        for program in (*stage.readers.values(), *stage.brokers.values()):
            if program.exit_code is not None and program.name not in stage.ended_on_purpose:
                broken.append(f"{program.name} ended with {program.exit_code}")
        broken += stage.leaks()
        self._judged_ids, self._judged_events = stage.cutoff, self._judged_events + len(events)
        print(
            f"{self._elapsed():6.0f} s  {self.report.actions} faults, {worst.expected} trades, "
            f"{len(events)} order events since the last rest; recovered in "
            f"{self.report.recover_s[-1]:.1f} s; told {worst.signalled_loss}; "
            f"memory {self.report.memory[-1][2] / 1e6:.0f} MB",
            flush=True,
        )
        if broken:
            raise ChaosFailed("\n".join(broken))

    # -- memory

    def _sample_memory(self) -> None:
        if time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + 1.0
        program = self._stage.brokers[self._stage.owner()]
        if program.exit_code is None:
            resident = psutil.Process(program.pid).memory_info().rss
            self.report.memory.append((self._elapsed(), program.pid, resident))

    def _judge_memory(self) -> None:
        second, last = self._quarter(1), self._quarter(3)
        print(
            f"memory: median {second / 1e6:.1f} MB in the second quarter, {last / 1e6:.1f} MB last"
        )
        if self._seconds >= JUDGED_FROM_S and last > second * MAY_GROW:
            raise ChaosFailed(f"memory grew from {second / 1e6:.1f} to {last / 1e6:.1f} MB")

    def _quarter(self, number: int) -> float:
        begin, end = self._seconds * number / 4, self._seconds * (number + 1) / 4
        found = [size for moment, _, size in self.report.memory if begin <= moment < end]
        return statistics.median(found)

    # -- private

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _note(self, text: str) -> None:
        self.report.log.append(f"{self._elapsed():7.1f} s  {text}")

    def _wait(self, condition, timeout_s: float, what: str, every_s: float = 0.05):  # type: ignore[no-untyped-def]
        stage = self._stage
        try:
            return stage.wait_until(condition, timeout_s, what, every_s)
        except NotInTime as error:
            stage.cutoff = stage.cutoff or stage.newest_ids()
            raise ChaosFailed("\n".join([str(error), *self._compare()])) from error


def _broken(name: str, counts: Counts) -> list[str]:
    numbers = {
        "silent_loss": counts.silent_loss,
        "order_events_missing": counts.orders_missing,
        "duplicates": counts.duplicates,
        "reordered": counts.reordered,
    }
    found = [f"{name}: {what} {number}" for what, number in numbers.items() if number]
    return found + (counts.examples if found else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", metavar="FILE", help="what all processes said, if it fails")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing is left behind
    config = StageConfig(
        tickers=TICKERS,
        rate=20.0,
        orders_per_s=3.0,
        seed=options.seed,
        standby=True,
        slow_delay_s=0.002,
        slow_capacity=1_000,
    )
    with Stage(config) as stage:
        chaos = Chaos(stage, options.seconds, options.seed)
        report = chaos.report
        try:
            chaos.run()
        except AssertionError as error:
            print(f"FAILED with seed {options.seed}: {error}")
            print("the last faults were:", *report.log[-25:], sep="\n  ")
            if options.log:
                _write_words(stage, options.log, report)
            return 1
    recover = report.recover_s
    print(
        f"seed {options.seed}: {options.seconds:g} s, {report.actions} faults, {report.rests} "
        f"rests, {report.expected} trades, {report.orders} order events: nothing lost in silence, "
        f"nothing twice, nothing reordered; recovered in {statistics.median(recover):.1f} s "
        f"(median), {max(recover):.1f} s (most)"
    )
    return 0


def _write_words(stage: Stage, path: str, report: Report) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(report.log) + "\n")
        for who, words in stage.observer.words.items():
            file.write(f"---- {who}\n" + "\n".join(words) + "\n")


if __name__ == "__main__":
    sys.exit(main())
