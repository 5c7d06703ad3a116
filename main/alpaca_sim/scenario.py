"""Fault scenarios: a small YAML file with times. Pure.

    name: a bad morning
    seed: 7                      # for `between`
    repeat: 1                    # play it so often; 0 is for ever
    steps:
      - at: 2.0                  # seconds after the start
        do: cut
        with: {endpoint: iex}
      - between: [4, 6]          # a moment drawn with the seed
        do: mute
        with: {endpoint: iex, symbols: [AAPL], for_s: 3}
      - every: 5                 # again and again from here on, `times` times
        times: 3
        do: duplicate
        with: {count: 10}

The verbs are those of the control API. The same file with the same seed gives the same moments.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_STEP_KEYS = frozenset({"at", "between", "every", "times", "do", "with"})
_MAX_STEPS = 100_000


class ScenarioError(ValueError):
    """A scenario that makes no sense; the text says which step and why."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that happens."""

    at_s: float
    verb: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Steps in the order of their times."""

    name: str
    steps: tuple[Step, ...]
    repeat: int = 1


def parse_scenario(text: str) -> Scenario:
    """Raises ScenarioError."""
    import yaml  # noqa: PLC0415  (only where a scenario is played)

    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"not YAML: {error}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("steps"), list):
        raise ScenarioError("a scenario is a mapping with a list of `steps`")
    draw = random.Random(raw.get("seed", 0))
    steps = [step for n, item in enumerate(raw["steps"]) for step in _read(n + 1, item, draw)]
    if len(steps) > _MAX_STEPS:
        raise ScenarioError(f"more than {_MAX_STEPS} steps")
    return Scenario(
        name=str(raw.get("name", "scenario")),
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        repeat=_whole(raw.get("repeat", 1), "repeat"),
    )


def _read(number: int, item: Any, draw: random.Random) -> list[Step]:
    if not isinstance(item, dict) or not isinstance(item.get("do"), str):
        raise ScenarioError(f"step {number}: `do` is missing")
    unknown = set(item) - _STEP_KEYS
    if unknown:
        raise ScenarioError(f"step {number}: unknown {', '.join(sorted(map(str, unknown)))}")
    parameters = item.get("with") or {}
    if not isinstance(parameters, dict):
        raise ScenarioError(f"step {number}: `with` must be a mapping")
    return [
        Step(at_s=at_s, verb=item["do"], parameters=parameters)
        for at_s in _moments(number, item, draw)
    ]


def _moments(number: int, item: Mapping[str, Any], draw: random.Random) -> list[float]:
    where = f"step {number}"
    if "between" in item:
        bounds = item["between"]
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise ScenarioError(f"{where}: `between` takes two times")
        first = draw.uniform(_seconds(bounds[0], where), _seconds(bounds[1], where))
    else:
        first = _seconds(item.get("at", 0), where)
    if "every" not in item:
        return [first]
    pause = _seconds(item["every"], where)
    times = _whole(item.get("times", 1), where)
    if times > _MAX_STEPS:
        raise ScenarioError(f"{where}: more than {_MAX_STEPS} times")
    return [first + n * pause for n in range(times)]


def _seconds(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ScenarioError(f"{where}: {value!r} is no time in seconds")
    return float(value)


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ScenarioError(f"{where}: {value!r} is no count")
    return value
