"""Pure: when a session begins for a ladder, and what has to be true before it sends anything."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from .config import Hours
from .ladder import Ladder
from .modes import Mode
from .saved import Saved, Split
from .session_check import Clock, Facts, Verdict, compare

NEW_YORK = ZoneInfo("America/New_York")


class Session:
    """Follows the market's clock, and judges the facts of each new session."""

    def __init__(
        self, saved: Saved | None, hours: Hours | None = None, *, adopts: bool = False
    ) -> None:
        """`adopts`: where the account holds less than the ladder owns, at the first check, the
        account is right."""
        self.saved = saved
        self._adopts = adopts
        self.clock: Clock | None = None
        self.verdict: Verdict | None = None  # what holds the ladder, until it is confirmed
        self._hours = hours
        self._checked = ""  # the session that the ladder may trade in
        self._judged = ""  # the session whose facts were looked at, with whatever outcome

    def see_clock(self, clock: Clock) -> None:
        """Alpaca's clock. What opens again is a new session, also on the same day."""
        self.clock = clock
        if not clock.is_open:
            self._checked = self._judged = ""

    @property
    def is_open(self) -> bool:
        """The market is, and the check was passed or confirmed."""
        clock = self.clock
        return clock is not None and clock.is_open and clock.session == self._checked

    @property
    def wants_check(self) -> bool:
        """A session has begun that was not looked at yet."""
        clock = self.clock
        if clock is None or not clock.is_open:
            return False
        return clock.session not in (self._checked, self._judged)

    def judge(self, ladder: Ladder, facts: Facts, *, sure: bool = True) -> Verdict:
        """The check itself. Without problems the session may begin.

        When the account has less than the ladder owns, an own fill may be on its way to us: unless
        `sure`, nothing follows from that yet, and the check is wanted again.
        """
        own_price = None if self.saved is not None else _newest_entry_price(ladder)
        verdict = compare(ladder.terms, ladder.position, own_price, self.saved, facts)
        if verdict.short_of and not sure:
            return verdict
        if verdict.short_of and self._adopts:
            ladder.adopt(max(Decimal(0), ladder.terms.side.sign * facts.account_qty))
            verdict = compare(ladder.terms, ladder.position, own_price, self.saved, facts)
        self._adopts, self._judged = False, facts.session
        self.verdict = verdict if verdict.problems else None
        if not verdict.problems:
            self._begin(ladder, facts.session)
        return verdict

    def confirm(
        self, ladder: Ladder, now: str, *, adopt: bool, ratio: Decimal | None
    ) -> str | None:
        """A person has looked: go on, with what follows from it. Returns why not, or None."""
        verdict = self.verdict
        if verdict is None or verdict.facts is None:
            return None
        ratio = ratio if ratio is not None else verdict.ratio
        owned = ladder.position * (ratio or 1)
        short_of = owned - ladder.terms.side.sign * verdict.facts.account_qty
        if ladder.terms.is_crypto and not verdict.short_of:
            short_of = Decimal(0)  # fees that are not listed yet
        if short_of > 0 and not adopt:
            return (
                f"it owns {owned:f}, but the account holds {verdict.facts.account_qty:f}: "
                "say --adopt to take the account's quantity over"
            )
        base = self.saved or Saved(saved_at=now)
        splits, last_price = base.splits, base.last_price
        if ratio is not None:
            ladder.rescale(ratio)
            splits = (*splits, Split(at=now, ratio=ratio))
            last_price = None if last_price is None else last_price / ratio
        if short_of > 0:
            ladder.adopt(max(Decimal(0), ladder.terms.side.sign * verdict.facts.account_qty))
        self.verdict = None
        self.saved = msgspec.structs.replace(base, splits=splits, last_price=last_price)
        self._begin(ladder, verdict.facts.session)
        return None

    def doubt(self) -> None:
        """Something says that the figures are wrong: check them again, as for a new session."""
        self._checked = self._judged = ""

    def in_hours(self, now: datetime) -> bool:
        """Whether entries are allowed at this moment (aware of its zone)."""
        if self._hours is None:
            return True
        time = now.astimezone(NEW_YORK).time()
        return self._hours.start <= time < self._hours.end

    def snapshot(self, ladder: Ladder, now: str, account_qty: Decimal | None) -> Saved:
        """What is to be remembered of the ladder as it is."""
        before = self.saved
        if account_qty is None:
            # Own fills are the only change that is known.
            own_before = before.own_qty if before is not None else Decimal(0)
            known = before.account_qty if before is not None else Decimal(0)
            account_qty = known + ladder.terms.side.sign * (ladder.position - own_before)
        self.saved = Saved(
            saved_at=now,
            session=self._checked,
            session_entered=ladder.session_entered,
            start_price=ladder.start_price,
            ratio=ladder.ratio,
            own_qty=ladder.position,
            account_qty=account_qty,
            last_price=self._price_to_keep(ladder),
            adopted={str(rung): qty for rung, qty in ladder.adopted.items()},
            splits=before.splits if before is not None else (),
            flattening=ladder.mode is Mode.FLATTENING and not ladder.is_flat,
        )
        return self.saved

    def _price_to_keep(self, ladder: Ladder) -> Decimal | None:
        """What the next session is compared with. Trades before the check has passed are what it
        judges, so they are never what it compares with."""
        before = self.saved.last_price if self.saved is not None else None
        return (ladder.last_price if self.is_open else None) or before

    def _begin(self, ladder: Ladder, session: str) -> None:
        if session == self._checked:
            return
        self._checked = session
        again = self.saved is not None and self.saved.session == session
        ladder.session_entered = (
            self.saved.session_entered if again and self.saved else ladder.book.entered
        )


def _newest_entry_price(ladder: Ladder) -> Decimal | None:
    held = [number for number, rung in ladder.book.rungs.items() if rung.held > 0]
    return ladder.book.basis(max(held), from_fill=True) if held else None
