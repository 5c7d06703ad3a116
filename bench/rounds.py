"""Cells that are run in turns, A B C A B C …, so that ratios hold on a noisy machine."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .stage import Sample

Cells = Mapping[str, Callable[[], Sample]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """All rounds of one cell."""

    name: str
    samples: Sequence[Sample]

    @property
    def per_s(self) -> float:
        return statistics.median(sample.per_s for sample in self.samples)

    @property
    def spread(self) -> float:
        """Half of the range between the slowest and the fastest round, as a share of the median."""
        rates = [sample.per_s for sample in self.samples]
        return (max(rates) - min(rates)) / 2 / self.per_s

    def cpu_us(self, process: str) -> float:
        return statistics.median(sample.cpu_us[process] for sample in self.samples)

    @property
    def processes(self) -> list[str]:
        return list(self.samples[0].cpu_us)


def run_interleaved(
    cells: Cells, rounds: int, say: Callable[[str], None], warm_up: bool = True
) -> dict[str, Result]:
    """Every cell once in each round. The first round warms up and does not count."""
    found: dict[str, list[Sample]] = {name: [] for name in cells}
    for number in range(not warm_up, rounds + 1):
        for name, run in cells.items():
            sample = run()
            if number:
                found[name].append(sample)
            say(f"  round {number}  {name:<42} {sample.per_s:>10,.0f}/s")
    return {name: Result(name=name, samples=samples) for name, samples in found.items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios: what a round's noise did to both cancels out."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def rate_ratio(ours: Result, theirs: Result) -> float:
    return ratio([s.per_s for s in ours.samples], [s.per_s for s in theirs.samples])


def cpu_ratio(ours: Result, mine: str, theirs: Result, other: str) -> float:
    return ratio([s.cpu_us[mine] for s in ours.samples], [s.cpu_us[other] for s in theirs.samples])
