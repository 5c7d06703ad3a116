"""What came of a request to trade: a value, for a business outcome is no exception."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..utils.submission import Stage, Submission

OutcomeStatus: TypeAlias = Literal["accepted", "refused", "absent", "unknown"]

_STATUS: dict[Stage, OutcomeStatus] = {
    Stage.SEEN: "accepted",
    Stage.REFUSED: "refused",
    Stage.ABSENT: "absent",
}


@dataclass(frozen=True, kw_only=True)
class OrderOutcome:
    """The fate of an order call.

    * `accepted`: Alpaca has the order; what it does then is told by events and `order`.
    * `refused`: Alpaca will not have it; `cause` names the row of the table, `reason` its words.
    * `absent`: the answer was lost, and the order never arrived: looked up until it was sure.
    * `unknown`: nobody told. It may work at Alpaca! It is looked up further, and an event comes.
    """

    status: OutcomeStatus
    client_order_id: str
    order_id: str | None = None
    cause: str | None = None
    reason: str | None = None

    def __bool__(self) -> bool:
        return self.status == "accepted"

    @classmethod
    def of(cls, submission: Submission) -> OrderOutcome:
        status = _STATUS.get(submission.stage, "unknown")
        order_id = None if submission.order_data is None else str(submission.order_data["id"])
        cause, reason = None, None
        if status != "accepted":
            cause = submission.rule.cause if submission.rule is not None else "no_answer"
            reason = submission.refused.reason if submission.refused else submission.lost
        return cls(
            status=status,
            client_order_id=submission.client_order_id,
            order_id=order_id,
            cause=cause,
            reason=reason,
        )
