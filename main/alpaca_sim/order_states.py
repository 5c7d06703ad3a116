"""The life of an order, as one table: which event may follow which status, and what comes of it.

Why the rows are as they are:

- An order is born `accepted` (the session that it needs is closed), `pending_new` (sent to the
  venue, not yet acknowledged) or `held` (a leg that waits for its parent, or a stop-loss that waits
  for its price while its sibling works). Where Alpaca's paper venue does not tell `pending_new`, it
  is born `new`. A venue may also refuse it at once: `rejected`.
- `new` is the venue's acknowledgement. It also ends `held`, and it brings an order back on the next
  trading day after `done_for_day` and `calculated`, or when `suspended` is lifted (RESUME, below).
- A request to cancel or to replace is only a request. Until the venue answers, executions still
  come: `pending_cancel` and `pending_replace` take `partial_fill` and keep their status, and take
  `fill`. That is the race of which users must know, and the reason for the two rejections below.
- `order_cancel_rejected` and `order_replace_rejected` come after the order was filled in the
  meantime and change nothing then. If the venue refused for another reason, the order goes back to
  work (RESUME: `new`, or `partially_filled` if it has executions). A replacement can also lose
  against a sibling's fill or the end of the day, so `pending_replace` takes `canceled` and
  `expired`, and the rejection may follow these too.
- `replaced` needs `pending_replace` first. The order that replaces is another order with its own id
  and its own life.
- `stopped` promises a trade that has not happened yet: executions follow, but so may the end.
- `suspended` is not eligible to trade: no executions out of it.
- `calculated` follows the end of the day, filled or not.
- `restated` (a corporate action changed quantity or price) keeps the status.
- Nothing follows `canceled`, `expired`, `replaced` and `rejected`, but for a late rejection of a
  request that was under way, and but for one thing that real venues do: an execution that the venue
  had made before it canceled may be told after the cancel. It makes a `canceled` order `filled`, or
  leaves it `canceled` with more executions. Here only a test can cause it (`late_fill`).
- An order that is `filled` can only be `calculated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNBORN: Final = ""
RESUME: Final = "resume"

OPEN: Final = frozenset(
    {
        "accepted",
        "pending_new",
        "new",
        "partially_filled",
        "held",
        "done_for_day",
        "calculated",
        "pending_cancel",
        "pending_replace",
        "stopped",
        "suspended",
    }
)
CLOSED: Final = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
# Only from these does an order trade.
WORKING: Final = frozenset(
    {"new", "partially_filled", "pending_cancel", "pending_replace", "stopped"}
)

_RESTING = ("new", "partially_filled")
_WAITING = ("accepted", "pending_new", "held")
_ENDABLE = tuple(sorted(OPEN))


def _all_to(status: str, sources: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(sources, status)


TRANSITIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "accepted": _all_to("accepted", (UNBORN,)),
    "held": _all_to("held", (UNBORN,)),
    "pending_new": _all_to("pending_new", (UNBORN, "accepted")),
    "new": {
        **_all_to("new", (UNBORN, *_WAITING)),
        **_all_to(RESUME, ("done_for_day", "calculated", "suspended")),
    },
    "partial_fill": {
        **_all_to("partially_filled", (*_RESTING, "stopped")),
        "pending_cancel": "pending_cancel",
        "pending_replace": "pending_replace",
        "canceled": "canceled",
    },
    "fill": _all_to("filled", (*sorted(WORKING), "canceled")),
    "canceled": _all_to("canceled", _ENDABLE),
    "expired": _all_to("expired", _ENDABLE),
    "rejected": _all_to("rejected", (UNBORN, *_WAITING, "new")),
    "pending_cancel": _all_to(
        "pending_cancel",
        ("pending_new", *_RESTING, "done_for_day", "calculated", "stopped", "suspended"),
    ),
    "order_cancel_rejected": {
        "pending_cancel": RESUME,
        **{status: status for status in sorted(CLOSED)},
    },
    "pending_replace": _all_to("pending_replace", (*_RESTING, "held", "stopped", "done_for_day")),
    "order_replace_rejected": {
        "pending_replace": RESUME,
        **{status: status for status in sorted(CLOSED)},
    },
    "replaced": _all_to("replaced", ("pending_replace",)),
    "done_for_day": _all_to("done_for_day", (*_RESTING, "stopped")),
    "stopped": _all_to("stopped", _RESTING),
    "suspended": _all_to("suspended", ("accepted", "pending_new", *_RESTING)),
    "calculated": _all_to("calculated", ("filled", "done_for_day")),
    "restated": {status: status for status in _ENDABLE},
}


class IllegalTransition(Exception):
    """The venue tried to move an order as the table forbids. Our fault; nothing was changed."""

    retry = False

    def __init__(self, order_id: str, status: str, event: str) -> None:
        super().__init__(f"order {order_id}: {event!r} may not follow status {status!r}")
        self.order_id = order_id
        self.status = status
        self.event = event


def is_legal(status: str, event: str) -> bool:
    """Whether the table has this event after this status."""
    return status in TRANSITIONS.get(event, {})


def next_status(order_id: str, status: str, event: str, *, has_executions: bool) -> str:
    """The status after the event. Raises IllegalTransition, and then nothing has changed."""
    if not is_legal(status, event):
        raise IllegalTransition(order_id, status, event)
    following = TRANSITIONS[event][status]
    if following == RESUME:
        return "partially_filled" if has_executions else "new"
    return following
