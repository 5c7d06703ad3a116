"""The verbs of the control API and of scenarios: a name and its parameters become a call. Pure.

A verb is a public method of `Faults`, `MarketScript` or `AccountScript`; a wrong name or a wrong
parameter is refused before anything happens.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from .account_script import AccountScript
from .faults import Faults
from .script import MarketScript

_FAULTS = tuple(
    name
    for name, member in vars(Faults).items()
    if inspect.isfunction(member) and not name.startswith("_") and name != "active"
)
_MARKET = (
    "trade",
    "quote",
    "burst",
    "set_rate",
    "correct",
    "cancel",
    "halt",
    "resume",
    "set_session",
    "replay",
)
_ACCOUNT = ("order_by_hand", "inject_order_event", "lose_race", "split", "rename")


class UnknownVerb(LookupError):
    """There is no such verb. `known` lists those that exist."""

    def __init__(self, verb: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no such verb: {verb}; known: {', '.join(known)}")
        self.known = known


class Verbs:
    """Everything that can be made to happen, by name."""

    def __init__(self, faults: Faults, script: MarketScript) -> None:
        account: AccountScript = script.account
        owners: list[tuple[object, tuple[str, ...]]] = [
            (faults, _FAULTS),
            (script, _MARKET),
            (account, _ACCOUNT),
        ]
        self._calls: dict[str, Callable[..., Any]] = {
            name: getattr(owner, name)
            for owner, names in owners
            for name in names
            if hasattr(owner, name)
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Every verb."""
        return tuple(sorted(self._calls))

    def describe(self) -> dict[str, str]:
        """Every verb with its parameters and what it does."""
        return {
            name: f"{_parameters(call)} {inspect.getdoc(call) or ''}".strip()
            for name, call in sorted(self._calls.items())
        }

    def check(self, verb: str, parameters: Mapping[str, Any]) -> None:
        """Raises UnknownVerb, or TypeError for parameters that do not fit."""
        call = self._calls.get(verb)
        if call is None:
            raise UnknownVerb(verb, self.names)
        inspect.signature(call).bind(**parameters)

    def do(self, verb: str, parameters: Mapping[str, Any]) -> Any:
        """Make it happen. Raises as `check` does, and what the verb raises."""
        self.check(verb, parameters)
        return self._calls[verb](**parameters)


def _parameters(call: Callable[..., Any]) -> str:
    names = [
        name if value.default is inspect.Parameter.empty else f"{name}={value.default!r}"
        for name, value in inspect.signature(call).parameters.items()
    ]
    return f"({', '.join(names)})"
