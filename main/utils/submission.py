"""Pure: one order's way to Alpaca, until its fate is known. Answers and times in, steps out.

An order call that times out is *unresolved*: the order may exist, or not, or come to exist a moment
later. It is neither sent again nor forgotten, but looked up by its `client_order_id`:

* found: it exists. That is final; no later silence makes it doubtful again.
* 404: not there *yet*. It proves absence only `absent_after_s` after the order was last sent, for
  until then Alpaca may still be working on it.
* no answer to the look: proves nothing. After `give_up_after_s` the fate stays UNKNOWN, and says
  so; whoever counts risk goes on counting it.

A refusal is an answer: `refusals.py` says whether the same order may be sent again, and when. It is
always sent by the same `client_order_id`, which Alpaca keeps unique, so it can exist only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias

from .answers import Accepted, Answer, Found, Lost, OrderData, Refused
from .refusals import NOT_CONNECTED, Holds, Remedy, Rule, rule_for
from .waits import GrowingWait


class Stage(Enum):
    """How far an order call has come. What the order does then is the tracker's truth."""

    READY = auto()
    SENDING = auto()  # handed to the shell, no answer yet
    UNRESOLVED = auto()  # the answer was lost: it may exist, and counts as if it did
    WAITING = auto()  # refused for now; it will be sent again
    SEEN = auto()  # Alpaca showed it
    REFUSED = auto()  # Alpaca will not have it
    ABSENT = auto()  # looked up for long enough: it never arrived
    UNKNOWN = auto()  # nobody answered for long enough: it may exist


# Any row may turn out to be SEEN: an order message that comes late proves that the order exists.
STAGE_MOVES: Final[dict[Stage, frozenset[Stage]]] = {
    Stage.READY: frozenset({Stage.SENDING, Stage.REFUSED, Stage.SEEN}),
    Stage.SENDING: frozenset({Stage.SEEN, Stage.UNRESOLVED, Stage.WAITING, Stage.REFUSED}),
    Stage.UNRESOLVED: frozenset({Stage.SEEN, Stage.ABSENT, Stage.REFUSED, Stage.UNKNOWN}),
    Stage.WAITING: frozenset({Stage.SENDING, Stage.REFUSED, Stage.SEEN}),
    Stage.SEEN: frozenset(),
    Stage.REFUSED: frozenset({Stage.SEEN}),
    Stage.ABSENT: frozenset({Stage.SEEN}),
    Stage.UNKNOWN: frozenset({Stage.SEEN, Stage.ABSENT, Stage.REFUSED}),  # told at last
}
FATES: Final = frozenset({Stage.SEEN, Stage.REFUSED, Stage.ABSENT, Stage.UNKNOWN})


class IllegalMove(Exception):
    """A stage that cannot follow; nothing was changed. A fault of ours."""

    retry = False

    def __init__(self, client_order_id: str, before: Stage, after: Stage) -> None:
        self.client_order_id, self.before, self.after = client_order_id, before, after
        super().__init__(f"{client_order_id}: {before.name} cannot become {after.name}")


@dataclass(frozen=True, kw_only=True)
class SubmissionPolicy:
    """When to look, and when to conclude; seconds.

    `patience_s` is how long refusals are waited out before the last of them is the outcome.
    """

    look_up_first_s: float = 0.5
    look_up_cap_s: float = 8.0
    absent_after_s: float = 30.0
    give_up_after_s: float = 120.0
    patience_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Send:
    """Send the order now."""


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """Ask Alpaca for the order by its `client_order_id` now."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Nothing to ask before `until`; `inf` while an answer is awaited."""

    until: float


@dataclass(frozen=True, kw_only=True)
class Done:
    """Its fate is known, or it is known that nobody tells it (UNKNOWN)."""

    stage: Stage


Step: TypeAlias = Send | LookUp | Wait | Done


class Submission:
    """One order call. `step` says what to do, `asked` that it is being done, `see_…` what came.

    `holds` may be shared, so that one order's 429 makes all the others wait too. `fits` says
    whether an order object that carries our id is the order that was meant: somebody else may have
    used the id before, with other terms. Not thread-safe: one owner.
    """

    def __init__(
        self,
        client_order_id: str,
        now: float,
        policy: SubmissionPolicy | None = None,
        holds: Holds | None = None,
        fits: Callable[[OrderData], bool] = lambda _: True,
    ) -> None:
        self.client_order_id = client_order_id
        self.stage = Stage.READY
        self.order_data: OrderData | None = None
        self.refused: Refused | None = None  # the newest refusal
        self.lost: str | None = None  # why an answer is missing
        self.sent_count = 0
        self._policy = policy or SubmissionPolicy()
        self._holds = holds if holds is not None else Holds()
        self._fits = fits
        self._began = now
        self._sent_at = self._doubtful_since = now
        self._looking = False
        self._look = GrowingWait(self._policy.look_up_first_s, self._policy.look_up_cap_s)

    @property
    def counts(self) -> bool:
        """Whether it may exist without having been seen: risk has to count it in full."""
        return self.stage in (Stage.SENDING, Stage.UNRESOLVED, Stage.UNKNOWN)

    @property
    def rule(self) -> Rule | None:
        """What its newest refusal means."""
        return None if self.refused is None else rule_for(self.refused)

    # -- out

    def step(self, now: float) -> Step:
        """What to do now."""
        if self.stage is Stage.UNRESOLVED and not self._looking:
            self._give_up(now)
        if self.stage in (Stage.READY, Stage.WAITING):
            return self._step_to_send(now)
        if self.stage in FATES:
            return Done(stage=self.stage)
        if self.stage is Stage.SENDING or self._looking:
            return Wait(until=math.inf)
        until = max(self._look.until, self._holds.account.until)
        return LookUp() if now >= until else Wait(until=until)

    def asked(self, step: Step, now: float) -> None:
        """`step` is in the shell's hands now.

        Raises:
            IllegalMove: the stage does not allow it.
        """
        if isinstance(step, Send):
            self._move(Stage.SENDING)
            self._sent_at = now
            self.sent_count += 1
        elif isinstance(step, LookUp):
            self._looking = True

    # -- in

    def see_answer(self, answer: Answer, now: float) -> None:
        """What came of sending it."""
        if self.stage is not Stage.SENDING:
            return  # an order message was quicker
        match answer:
            case Found(order_data=order_data):
                self.see_order(order_data)
            case Lost(sent=False):
                self._see_not_sent(answer, now)
            case Refused():
                self._see_refused(answer, now)
            case Lost(reason=reason):
                self._doubt(now, reason)
            case Accepted():
                self._doubt(now, "Alpaca's answer shows no order")

    def see_look_up(self, answer: Answer, now: float) -> None:
        """What came of looking it up."""
        self._looking = False
        if isinstance(answer, Found):
            self._see_found(answer.order_data)
            return
        if self.stage not in (Stage.UNRESOLVED, Stage.UNKNOWN):
            return
        if isinstance(answer, Refused) and answer.status == 429:
            self._holds.pause(now, answer.retry_after_s, answer)
        elif isinstance(answer, Refused) and answer.status == 404:
            self._see_absent(now)
        self._look.grow(now)

    def see_order(self, order_data: OrderData) -> None:
        """Alpaca showed the order: as an answer, on the stream, or in a list."""
        self.order_data = order_data
        if self.stage is not Stage.SEEN:
            self._move(Stage.SEEN)
            self._holds.clear(self.client_order_id)

    def see_unblocked(self) -> None:
        """The orders that stood in its way have ended: the wait is over early."""
        if self.stage is Stage.WAITING:
            self._holds.clear(self.client_order_id)

    # -- private

    def _step_to_send(self, now: float) -> Step:
        until = self._holds.until(self.client_order_id)
        if now >= until:
            return Send()
        if until > self._began + self._policy.patience_s:
            self._recall()
            self._refuse()
            return Done(stage=self.stage)
        return Wait(until=until)

    def _see_not_sent(self, lost: Lost, now: float) -> None:
        self.lost = lost.reason
        self._move(Stage.WAITING)
        self._holds.refuse(self.client_order_id, NOT_CONNECTED, now, None, lost)

    def _see_refused(self, refused: Refused, now: float) -> None:
        self.refused, rule = refused, rule_for(refused)
        if rule.remedy is Remedy.LOOK_UP:
            # Ours, sent before its answer was lost? Or another's? Looking tells.
            self._doubt(now, refused.reason)
            return
        told_s = refused.retry_after_s
        if self._holds.refuse(self.client_order_id, rule, now, told_s, refused) == math.inf:
            self._refuse()
        else:
            self._move(Stage.WAITING)

    def _refuse(self) -> None:
        """What still waits, waits also for whoever asks by the same id again; a stop is told with
        this order's end, and the next may be asked for: it may have become possible."""
        if self._holds.stopped(self.client_order_id):
            self._holds.clear(self.client_order_id)
        self._move(Stage.REFUSED)

    def _recall(self) -> None:
        """It was not even sent: what was said to an earlier one is why."""
        earlier = self._holds.reason(self.client_order_id)
        if isinstance(earlier, Refused):
            self.refused = self.refused or earlier
        elif earlier is not None:
            self.lost = self.lost or earlier.reason

    def _doubt(self, now: float, reason: str) -> None:
        self._move(Stage.UNRESOLVED)
        self._doubtful_since, self.lost = now, reason
        self._look.reset()
        if self.refused is None or self.rule is None or self.rule.remedy is not Remedy.LOOK_UP:
            self._look.grow(now)  # give Alpaca the time that the order needs to appear

    def _see_found(self, order_data: OrderData) -> None:
        if self._fits(order_data):
            self.see_order(order_data)
        elif self.stage in (Stage.UNRESOLVED, Stage.UNKNOWN):
            # The id was used before for something else, so ours cannot have been taken.
            self._move(Stage.REFUSED)

    def _see_absent(self, now: float) -> None:
        if now - self._sent_at >= self._policy.absent_after_s:
            duplicate = self.rule is not None and self.rule.remedy is Remedy.LOOK_UP
            self._move(Stage.REFUSED if duplicate else Stage.ABSENT)

    def _give_up(self, now: float) -> None:
        if now - self._doubtful_since >= self._policy.give_up_after_s:
            self._move(Stage.UNKNOWN)

    def _move(self, stage: Stage) -> None:
        if stage not in STAGE_MOVES[self.stage]:
            raise IllegalMove(self.client_order_id, self.stage, stage)
        self.stage = stage
