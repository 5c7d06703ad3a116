"""Plays one scenario at a time on the event loop. Thin shell."""

from __future__ import annotations

import asyncio

from .control import UnknownVerb, Verbs
from .scenario import Scenario, ScenarioError


class ScenarioPlayer:
    """Calls the verbs when their time has come."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._task: asyncio.Task[None] | None = None
        self._scenario: Scenario | None = None
        self._done = 0
        self._failure: str | None = None

    def play(self, scenario: Scenario) -> int:
        """Start it, instead of the one before; how many steps it has.

        Raises ScenarioError for a verb or a parameter that does not exist; nothing happens then.
        """
        for step in scenario.steps:
            try:
                self._verbs.check(step.verb, step.parameters)
            except (UnknownVerb, TypeError) as error:
                raise ScenarioError(f"{step.verb}: {error}") from error
        self.stop()
        self._scenario, self._done, self._failure = scenario, 0, None
        self._task = asyncio.create_task(self._play(scenario), name="scenario")
        return len(scenario.steps)

    def stop(self) -> None:
        """Play no more of it."""
        if self._task is not None:
            self._task.cancel()

    def progress(self) -> dict[str, object] | None:
        """The scenario that was started last: steps, how many were done, what went wrong."""
        if self._scenario is None:
            return None
        return {
            "name": self._scenario.name,
            "steps": len(self._scenario.steps),
            "done": self._done,
            "failure": self._failure,
        }

    async def _play(self, scenario: Scenario) -> None:
        loop, rounds = asyncio.get_running_loop(), 0
        while scenario.repeat == 0 or rounds < scenario.repeat:
            start = loop.time()
            for step in scenario.steps:
                await asyncio.sleep(max(0.0, start + step.at_s - loop.time()))
                try:
                    self._verbs.do(step.verb, step.parameters)
                except (LookupError, TypeError, ValueError) as error:
                    self._failure = f"{step.verb}: {error}"
                    return
                self._done += 1
            rounds += 1
            await asyncio.sleep(0.01)
