"""Pure: what came of a request to Alpaca, as a value. Of a lost answer nothing is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

OrderData: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Found:
    """Alpaca showed the order: its order object, verbatim."""

    order_data: OrderData


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """Alpaca took the request, and says no more than that (a cancel's 204)."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Alpaca answered, and did not do it. `status` is HTTP's, `code` Alpaca's.

    `facts` are the other keys of Alpaca's error body; `retry_after_s` is the time until its rate
    limit is lifted, where it says so.
    """

    status: int
    code: int = 0
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    retry_after_s: float | None = None

    @property
    def reason(self) -> str:
        """For a person: `HTTP 403 40310000: insufficient buying power`."""
        code = f" {self.code}" if self.code else ""
        return f"HTTP {self.status}{code}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Lost:
    """No answer, or none that says whether it was done.

    With `sent` False the connection was never made: then it surely was not done.
    """

    reason: str
    sent: bool = True


Answer: TypeAlias = Found | Accepted | Refused | Lost
