"""Before each session: what is the same as when the ladder was last seen, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from main.scale_t.config import Hours
from main.scale_t.ladder import Ladder
from main.scale_t.saved import Saved, Split, StateFile, StateFileBroken
from main.scale_t.session import Session
from main.scale_t.session_check import Clock, Facts, Verdict, compare
from main.scale_t.start_state import remember, restore
from main.scale_t.terms import LadderTerms, Side
from tests.unit.scale_t.terms import terms
from tests.unit.scale_t.test_start_state import order

NOW = "2026-11-20T15:00:00Z"


def facts(account: object = 20, **others: Any) -> Facts:
    return Facts(session="2026-11-20", account_qty=Decimal(str(account)), **others)


def saved(own: int = 20, account: int = 20, last: str | None = "100", **others: Any) -> Saved:
    return Saved(
        saved_at="2026-11-19T21:00:00Z",
        own_qty=Decimal(own),
        account_qty=Decimal(account),
        last_price=None if last is None else Decimal(last),
        **others,
    )


def judged(
    now: Facts, before: Saved | None, own: int = 20, of: LadderTerms | None = None
) -> Verdict:
    return compare(of or terms(), Decimal(own), Decimal(100) if own else None, before, now)


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (facts(), saved()),
        (facts(520), saved(account=520)),  # other holdings do not count
        (facts(55), saved(account=20)),  # nor does what somebody else bought
        (facts(previous_close=Decimal("119.99")), saved()),
        (facts(latest_price=Decimal("80.01")), saved()),
        (facts(), None),
    ],
)
def test_what_is_as_it_was_begins_the_session(now: Facts, before: Saved | None) -> None:
    """No person is asked for nothing."""
    assert judged(now, before).problems == ()


@pytest.mark.parametrize(
    ("now", "before", "told", "ratio"),
    [
        (facts(19), saved(), "somebody else traded", None),
        (facts(0), None, "somebody else traded", None),
        (facts(-5), saved(), "somebody else traded", None),
        (facts(tradable=False), saved(), "not to be traded", None),
        (facts(status="inactive"), saved(), "AAPL is inactive", None),
        (facts(previous_close=Decimal(120)), saved(), "the previous close is 120, +20%", None),
        (facts(latest_price=Decimal(80)), saved(), "the last trade is 80, -20%", None),
        (facts(latest_price=Decimal(80)), None, "the last trade is 80, -20%", None),
        (facts(corporate=("NC",)), saved(), "a corporate action since it was last seen (NC)", None),
        (
            facts(200, corporate=("SPLIT",), split_change=Decimal(180)),
            saved(),
            "(SPLIT: 10 for 1)",
            Decimal(10),
        ),
        (facts(200), saved(), "looks like a split of 10 for 1", Decimal(10)),
        (facts(2), saved(), "looks like a split of 0.1 for 1", Decimal("0.1")),
        (facts(40), saved(), "looks like a split of 2 for 1", Decimal(2)),
    ],
)
def test_what_nothing_explains_holds_it(
    now: Facts, before: Saved | None, told: str, ratio: Decimal | None
) -> None:
    """In words that say what to look at."""
    verdict = judged(now, before)
    assert told in "; ".join(verdict.problems)
    assert verdict.ratio == ratio


def test_own_fills_while_it_was_away_explain_a_changed_quantity() -> None:
    """Ten of its exits filled meanwhile: the account has ten less, and nothing is wrong."""
    assert judged(facts(10), saved(own=20, account=20), own=10).problems == ()


@pytest.mark.parametrize(
    ("account", "own", "told"),
    [(5, 0, "the account is long by 5"), (-20, 20, None), (-10, 20, "somebody else traded")],
)
def test_a_short_ladder_never_sells_what_the_account_owns(
    account: int, own: int, told: str | None
) -> None:
    """No order crosses zero."""
    verdict = judged(facts(account), None, own, of=terms(side=Side.SHORT))
    found = "; ".join(verdict.problems)
    assert (told in found) if told else found == ""


def test_fractions_and_short_sales_need_an_asset_that_allows_them() -> None:
    """Alpaca's asset says it."""
    fractions = judged(facts(fractionable=False), saved(), of=terms(component="2.5"))
    assert "fractions" in "; ".join(fractions.problems)
    short = judged(facts(-20, shortable=False), None, of=terms(side=Side.SHORT))
    assert "cannot be sold short" in "; ".join(short.problems)


def owner() -> Ladder:
    """Twenty are owned, on two rungs."""
    ladder = Ladder(terms())
    restore(
        ladder,
        [order("entry:0:1", "100", filled=10), order("entry:1:1", "99.95", filled=10)],
        Decimal(100),
    )
    return ladder


def test_a_session_is_checked_once_and_again_when_the_market_opens_again() -> None:
    """Also on the same day."""
    session, ladder = Session(saved()), owner()
    assert not session.wants_check, "the market's clock is not known yet"
    session.see_clock(Clock(is_open=True, session="2026-11-20"))
    assert session.wants_check
    assert not session.is_open
    session.judge(ladder, facts())
    assert (session.is_open, session.wants_check) == (True, False)
    session.see_clock(Clock(is_open=False, session="2026-11-20"))
    assert not session.is_open
    session.see_clock(Clock(is_open=True, session="2026-11-20"))
    assert session.wants_check


def test_a_held_session_opens_when_a_person_confirms_it() -> None:
    """A split is applied: ten times the shares at a tenth of the price, and remembered."""
    session, ladder = Session(saved()), owner()
    session.see_clock(Clock(is_open=True, session="2026-11-20"))
    split = facts(200, corporate=("SPLIT",), split_change=Decimal(180))
    assert session.judge(ladder, split).problems
    assert (session.is_open, session.wants_check) == (False, False)
    assert session.confirm(ladder, NOW, adopt=False, ratio=None) is None
    assert session.is_open
    assert ladder.position == 200
    assert ladder.rungs[0].entry_price == 10
    kept = session.snapshot(ladder, NOW, Decimal(200))
    assert kept.splits == (Split(at=NOW, ratio=Decimal(10)),)


def test_trades_from_before_the_check_are_not_what_it_compares_with() -> None:
    """Kept as the last price, a fall before the open would explain itself away."""
    session, ladder = Session(saved()), owner()
    ladder.see_price(Decimal(10))
    assert session.snapshot(ladder, NOW, None).last_price == 100
    session.see_clock(Clock(is_open=True, session="2026-11-20"))
    assert session.judge(ladder, facts(latest_price=Decimal(10))).problems
    assert session.confirm(ladder, NOW, adopt=False, ratio=None) is None
    assert session.snapshot(ladder, NOW, None).last_price == 10, "a person has looked"


def test_a_confirmed_split_is_known_after_a_restart() -> None:
    """The orders from before it are of the old shares."""
    splits = (Split(at=NOW, ratio=Decimal(10)),)
    kept = saved(own=200, account=200, last="10", splits=splits, ratio=Decimal(10))
    orders = [
        order("entry:0:1", "100", filled=10) | {"submitted_at": "2026-11-19T15:00:00Z"},
        order("entry:1:2", "9.99", filled=10) | {"submitted_at": "2026-11-20T16:00:00Z"},
    ]
    ladder = Ladder(terms(max_position=60))
    remember(ladder, orders, kept)
    restore(ladder, orders, None, Decimal(100))
    assert ladder.position == 110
    assert [rung.entry_price for rung in ladder.rungs[:2]] == [Decimal("10.00"), Decimal("9.99")]


def test_a_shortfall_needs_to_be_adopted() -> None:
    """Confirmed alone it is refused, in words."""
    session, ladder = Session(saved()), owner()
    session.judge(ladder, facts(15))
    refusal = session.confirm(ladder, NOW, adopt=False, ratio=None)
    assert refusal is not None
    assert "--adopt" in refusal
    assert session.confirm(ladder, NOW, adopt=True, ratio=None) is None
    assert ladder.position == 15
    kept = session.snapshot(ladder, NOW, None)
    again, own = Ladder(terms()), order("entry:0:1", "100") | {"submitted_at": NOW}
    assert remember(again, [own], kept) is kept
    assert again.adopted == {1: -5}
    assert remember(Ladder(terms()), [], kept) is None, "without an order it is a new ladder"


def test_new_terms_after_a_split_are_not_scaled() -> None:
    """What was bought before it was sold after it: the next ladder is given today's prices."""
    splits = (Split(at=NOW, ratio=Decimal(10)),)
    kept = saved(own=0, account=0, last="10", splits=splits, ratio=Decimal(10))
    before = order("entry:0:1", "100", filled=10) | {"submitted_at": "2026-11-19T15:00:00Z"}
    after = order("profit:0:2", "10.05") | {
        "submitted_at": "2026-11-20T16:00:00Z",
        "qty": "100",
        "filled_qty": "100",
        "status": "filled",
    }
    ladder = Ladder(terms())
    remember(ladder, [before, after], kept)
    restore(ladder, [before, after], Decimal(10))
    assert (ladder.position, ladder.ratio) == (0, 1)
    assert ladder.rungs[0].size == 10


def test_hours_are_new_yorks() -> None:
    """Summer and winter."""
    session = Session(None, Hours(start=time(9, 45), end=time(15, 45)))
    for moment, inside in (
        (datetime(2026, 11, 20, 14, 44, tzinfo=UTC), False),
        (datetime(2026, 11, 20, 14, 45, tzinfo=UTC), True),
        (datetime(2026, 7, 20, 13, 45, tzinfo=UTC), True),
        (datetime(2026, 7, 20, 19, 45, tzinfo=UTC), False),
    ):
        assert session.in_hours(moment) is inside


def test_what_is_saved_is_read_again_and_a_broken_file_is_told(tmp_path: Path) -> None:
    """Whole or not at all."""
    file = StateFile(tmp_path / "deep", "PA1", "my@bot", "BTC/USD")
    assert file.read() is None
    file.check()
    kept = saved(adopted={"1": Decimal("-0.5")}, splits=(Split(at=NOW, ratio=Decimal(10)),))
    file.write(kept)
    assert file.read() == kept
    assert [each.name for each in file.path.parent.iterdir()] == ["PA1-my_bot-BTC_USD.json"]
    file.path.write_text("{")
    with pytest.raises(StateFileBroken, match="cannot be read"):
        file.read()
