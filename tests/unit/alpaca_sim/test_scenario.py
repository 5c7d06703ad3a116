"""Fault scenarios."""

from __future__ import annotations

import pytest

from main.alpaca_sim.scenario import ScenarioError, parse_scenario


def test_steps_come_in_the_order_of_their_times() -> None:
    scenario = parse_scenario(
        """
        name: a bad morning
        steps:
          - {at: 5, do: heal}
          - {at: 2.5, do: cut, with: {endpoint: iex}}
          - {every: 2, times: 3, do: mute}
        """
    )
    assert scenario.name == "a bad morning"
    assert [(s.at_s, s.verb) for s in scenario.steps] == [
        (0.0, "mute"),
        (2.0, "mute"),
        (2.5, "cut"),
        (4.0, "mute"),
        (5.0, "heal"),
    ]
    assert scenario.steps[2].parameters == {"endpoint": "iex"}


def test_drawn_moments_repeat_with_the_seed() -> None:
    text = "seed: {}\nsteps: [{{between: [1, 9], do: cut}}, {{between: [1, 9], do: heal}}]"
    first, again, other = (parse_scenario(text.format(seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert all(1 <= step.at_s <= 9 for step in first.steps)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a list of `steps`"),
        ("steps: 3", "a list of `steps`"),
        ("steps: [{at: 1}]", "step 1: `do` is missing"),
        ("steps: [{do: cut, when: 3}]", "step 1: unknown when"),
        ("steps: [{do: cut, at: soon}]", "'soon' is no time"),
        ("steps: [{do: cut, at: -1}]", "-1 is no time"),
        ("steps: [{do: cut, with: [1]}]", "must be a mapping"),
        ("steps: [{do: cut, between: [1]}]", "takes two times"),
        ("steps: [{do: cut, every: 1, times: 1000000000}]", "more than"),
        ("{", "not YAML"),
    ],
)
def test_nonsense_is_refused_with_its_place(text: str, why: str) -> None:
    with pytest.raises(ScenarioError, match=why):
        parse_scenario(text)
