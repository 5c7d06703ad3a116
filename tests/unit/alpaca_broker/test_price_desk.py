"""After an interruption: `gap`, the refilled, the live, in this order and each once."""

from __future__ import annotations

import re
from typing import Any

import pytest

from main.alpaca_broker.frame_buffer import Break, Frame, Refill, Silence
from main.alpaca_broker.price_desk import PriceDesk
from main.alpaca_broker.translate import MarketTranslator
from main.utils.redis.batch import JournalBounds, Packer
from main.utils.redis.constants import BusNames
from main.utils.redis.messages import BusMessage, PriceMessage
from tests.unit.alpaca_broker.wire import NOON_NS, packed, trade

TRADES = frozenset({"trades"})
ALL_DATA = frozenset({"trades", "quotes", "bars"})


class Desk:
    """A price desk, what it asked to be refilled, and a clock by hand."""

    def __init__(self, **following: frozenset[str]) -> None:
        self.asked: list[Break] = []
        self.can_refill = True
        self.now_s = 1_000.0
        self.following = following or {"AAPL": TRADES}
        self.desk = PriceDesk(MarketTranslator(), self.ask, lambda: self.now_s)

    def ask(self, pause: Break) -> bool:
        self.asked.append(pause)
        return self.can_refill

    def take(self, *items: Any) -> list[BusMessage]:
        return self.desk.take_in(items, self.following)

    def trades(self, *numbers: int, symbol: str = "AAPL") -> list[BusMessage]:
        return self.take(frame(*numbers, symbol=symbol))


def frame(*numbers: int, symbol: str = "AAPL") -> Frame:
    return Frame("iex", packed(*(trade(S=symbol, i=n) for n in numbers)), NOON_NS)


def pause(*symbols: str, from_ns: int = NOON_NS, to_ns: int = NOON_NS + 10**9) -> Break:
    return Break(symbols=symbols or ("AAPL",), from_ns=from_ns, to_ns=to_ns)


def refill(asked: Break, *numbers: int) -> Refill:
    frame_of_them = Frame("iex", packed(*(trade(i=n) for n in numbers)), NOON_NS)
    messages = MarketTranslator().read_frame(frame_of_them) if numbers else []
    trades = {"AAPL": [m for m in messages if isinstance(m, PriceMessage)]}
    return Refill(symbols=asked.symbols, trades=trades, number=asked.number)


def kinds(messages: list[BusMessage]) -> list[Any]:
    """Trades by their id, all else by its type."""
    return [m.trade_id if isinstance(m, PriceMessage) else type(m).__name__ for m in messages]


def test_trades_of_what_is_followed_pass_and_others_wait_to_be_followed() -> None:
    desk = Desk()
    assert kinds(desk.take(frame(1, 2), frame(3, symbol="MSFT"))) == [1, 2]
    assert kinds(desk.desk.take_early({"MSFT": TRADES})) == [3]
    assert desk.desk.take_early({"MSFT": TRADES}) == []


def test_the_gap_the_refilled_and_the_live_come_in_this_order() -> None:
    desk = Desk()
    assert kinds(desk.take(pause())) == []
    assert kinds(desk.trades(5, 6)) == [], "live trades wait for the refill"
    assert kinds(desk.take(refill(desk.asked[0], 3, 4))) == ["GapMessage", 3, 4, 5, 6]
    assert kinds(desk.trades(7)) == [7]


def test_a_live_trade_that_the_refill_brought_is_dropped_before_and_after_it() -> None:
    desk = Desk()
    desk.take(pause())
    desk.trades(4)
    assert kinds(desk.take(refill(desk.asked[0], 3, 4, 5))) == ["GapMessage", 3, 4, 5]
    assert kinds(desk.trades(5, 6)) == [6]


def test_without_a_refill_the_gap_is_told_at_once() -> None:
    desk = Desk()
    desk.can_refill = False
    (gap,) = desk.take(pause())
    assert (gap.backfilled, gap.lost) == (False, None)  # type: ignore[union-attr]
    assert kinds(desk.trades(1)) == [1]


def test_only_the_answer_to_the_last_question_is_an_answer() -> None:
    """Interrupted again before the refill came: the first answer knows nothing of the second."""
    desk = Desk()
    desk.take(pause(from_ns=NOON_NS))
    desk.take(pause(from_ns=NOON_NS + 5 * 10**9, to_ns=NOON_NS + 6 * 10**9))
    first, second = desk.asked
    assert second.from_ns == NOON_NS, "asked from the first loss on"
    assert kinds(desk.take(refill(first, 3))) == []
    (gap, *trades) = desk.take(refill(second, 3, 4))
    assert kinds(trades) == [3, 4]
    assert gap.to > "2026-11-21T16:00:11"  # type: ignore[union-attr]


def test_what_still_waits_at_a_stop_is_told_as_a_gap_and_published() -> None:
    desk = Desk()
    desk.take(pause())
    desk.trades(1)
    assert kinds(desk.desk.give_up_refills()) == ["GapMessage", 1]


def test_an_interruption_of_what_nobody_follows_is_nobodys_gap() -> None:
    desk = Desk()
    assert desk.take(pause("MSFT")) == []
    assert desk.asked == []


@pytest.mark.parametrize(
    ("data", "channels"),
    [
        (TRADES, {"TICKER_UPDATES_AAPL"}),
        (frozenset({"trades", "quotes"}), {"TICKER_UPDATES_AAPL", "TICKER_QUOTES_AAPL"}),
        (frozenset({"bars"}), {"TICKER_UPDATES_AAPL", "TICKER_BARS_AAPL"}),
        (ALL_DATA, {"TICKER_UPDATES_AAPL", "TICKER_QUOTES_AAPL", "TICKER_BARS_AAPL"}),
    ],
)
def test_each_channel_that_is_followed_gets_a_gap_of_its_own(
    data: frozenset[str], channels: set[str]
) -> None:
    """Quotes and bars are not refilled: their readers have to be told."""
    desk = Desk(AAPL=data)
    desk.take(pause())
    messages = desk.take(refill(desk.asked[0], 1))
    packed_gaps = Packer(BusNames(), 1_700_000_000_000, JournalBounds()).pack(messages).call()
    named = set(re.findall(rb"TICKER_(?:UPDATES|QUOTES|BARS)_AAPL", packed_gaps))
    assert named == {channel.encode() for channel in channels}
    backfilled = [(m.backfilled, type(m).__name__) for m in messages if "Gap" in type(m).__name__]
    assert all(done == (name == "GapMessage") for done, name in backfilled)


def test_the_first_message_after_a_silence_waits_for_a_refill() -> None:
    desk = Desk()
    assert desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS)) == []
    assert desk.asked == [], "it may be silent still"
    assert kinds(desk.trades(5)) == []
    (asked,) = desk.asked
    assert (asked.symbols, asked.from_ns) == (("AAPL",), NOON_NS)
    assert kinds(desk.take(refill(asked, 3, 4))) == ["GapMessage", 3, 4, 5]
    assert kinds(desk.trades(6)) == [6]


def test_those_who_fell_silent_together_are_asked_for_together() -> None:
    desk = Desk(AAPL=TRADES, MSFT=TRADES)
    desk.take(Silence(symbols=("AAPL", "MSFT"), from_ns=NOON_NS))
    desk.trades(1, symbol="MSFT")
    assert [pause.symbols for pause in desk.asked] == [("AAPL", "MSFT")]


def test_a_second_silence_of_a_ticker_begins_with_the_first() -> None:
    desk = Desk()
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS))
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS + 5 * 10**9))
    desk.trades(1)
    assert [pause.from_ns for pause in desk.asked] == [NOON_NS]


def test_what_alpaca_repeats_is_dropped() -> None:
    desk = Desk()
    assert kinds(desk.trades(1, 1, 2, 1, 3)) == [1, 2, 3]
    assert desk.desk.counters["repeats_dropped"] == 2


def test_a_trade_of_another_exchange_with_the_same_id_is_another_trade() -> None:
    desk = Desk()
    frame_of_two = Frame("iex", packed(trade(i=1, x="V"), trade(i=1, x="D")), NOON_NS)
    assert kinds(desk.take(frame_of_two)) == [1, 1]
    assert desk.take(frame_of_two) == [], "both are known now"


def test_a_refill_repeats_nothing_that_was_published_though_the_journal_has_forgotten() -> None:
    desk = Desk()
    desk.trades(1, 2)
    desk.take(pause())
    assert kinds(desk.take(refill(desk.asked[0], 1, 2, 3))) == ["GapMessage", 3]


def test_the_interruption_of_a_ticker_that_alpaca_follows_again_waits_for_the_producers() -> None:
    """It lost its place at a reconnect; its gap comes between acknowledgement and restart."""
    desk = Desk()
    assert desk.take(pause("MSFT"), frame(7, symbol="MSFT")) == []
    assert desk.desk.take_early({"AAPL": TRADES, "MSFT": TRADES}) == []
    (asked,) = desk.asked
    assert asked.symbols == ("MSFT",)
    answer = Refill(symbols=("MSFT",), trades={"MSFT": []}, number=asked.number)
    desk.following = {"AAPL": TRADES, "MSFT": TRADES}
    assert kinds(desk.take(answer)) == ["GapMessage", 7]


def test_two_interruptions_before_the_producers_follow_are_one_from_the_first_loss_on() -> None:
    """Redis was away so long that the connection was lost twice."""
    desk = Desk()
    desk.take(pause("MSFT", from_ns=NOON_NS), frame(7, symbol="MSFT"))
    desk.take(pause("MSFT", from_ns=NOON_NS + 5 * 10**9, to_ns=NOON_NS + 6 * 10**9))
    desk.following = {"MSFT": TRADES}
    assert desk.desk.take_early(desk.following) == []
    asked = desk.asked[-1]
    assert asked.from_ns == NOON_NS
    answer = Refill(symbols=("MSFT",), trades={"MSFT": []}, number=asked.number)
    (gap, *trades) = desk.take(answer)
    assert (gap.to > "2026-11-21T16:00:11", kinds(trades)) == (True, [7])  # type: ignore[union-attr]


def test_the_interruption_of_a_ticker_that_is_left_is_told_and_what_waited_for_its_refill() -> None:
    """Its lease may have lapsed though somebody listens; they would lack both in silence."""
    desk = Desk()
    desk.take(pause())
    desk.trades(1)
    assert kinds(desk.desk.take_early({"MSFT": TRADES})) == ["GapMessage", 1]
    assert desk.desk.take_early({"AAPL": TRADES}) == [], "told once; who follows begins anew"


def test_the_silence_of_a_ticker_that_is_left_is_told() -> None:
    desk = Desk()
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS))
    (gap,) = desk.desk.take_early({"MSFT": TRADES})
    assert (gap.symbol, gap.backfilled) == ("AAPL", False)  # type: ignore[union-attr]
    assert desk.desk.take_early({"AAPL": TRADES}) == []


def test_what_may_not_be_refilled_is_told_at_once_and_no_later_refill_reaches_behind_it() -> None:
    """Redis lost what was published: whoever has it must not get it again."""
    desk = Desk()
    untold = Break(symbols=("AAPL",), from_ns=NOON_NS - 1, to_ns=NOON_NS + 1, refill=False)
    assert kinds(desk.take(untold)) == ["GapMessage"]
    assert desk.asked == []
    desk.take(pause(from_ns=NOON_NS + 10**9))
    assert kinds(desk.take(refill(desk.asked[0], 3))) == ["GapMessage"]
    assert kinds(desk.trades(7)) == [7]


def test_who_is_still_mute_after_its_gap_is_told_of_what_came_after_it_too() -> None:
    """A new subscription, or connection, does not make a mute ticker speak."""
    desk = Desk()
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS))
    desk.take(pause(from_ns=NOON_NS + 10**9, to_ns=NOON_NS + 2 * 10**9))
    (first,) = desk.asked
    assert first.from_ns == NOON_NS, "one gap, from the silence on"
    assert kinds(desk.take(refill(first, 3))) == ["GapMessage", 3]
    assert kinds(desk.trades(9)) == []
    assert desk.asked[1].from_ns == NOON_NS + 2 * 10**9
    assert kinds(desk.take(refill(desk.asked[1], 5))) == ["GapMessage", 5, 9]
    assert kinds(desk.trades(10)) == [10]


def test_who_was_lost_and_is_followed_again_has_one_gap() -> None:
    desk = Desk()
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS))
    again = Break(symbols=("AAPL",), from_ns=NOON_NS, to_ns=NOON_NS + 10**9, ends_silence=True)
    desk.take(again)
    assert kinds(desk.take(refill(desk.asked[0], 3))) == ["GapMessage", 3]
    assert kinds(desk.trades(9)) == [9]


def test_what_comes_of_a_lost_ticker_before_its_acknowledgement_stands_behind_its_gap() -> None:
    """Alpaca followed it though its acknowledgement did not say so."""
    desk = Desk()
    desk.trades(1)
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS))
    assert kinds(desk.trades(9)) == []
    (asked,) = desk.asked
    assert kinds(desk.take(refill(asked, 5))) == ["GapMessage", 5, 9]


def test_a_silence_and_an_interruption_of_who_leaves_are_one_gap() -> None:
    desk = Desk(AAPL=ALL_DATA)
    desk.take(pause(from_ns=NOON_NS - 10**9, to_ns=NOON_NS))
    desk.take(Silence(symbols=("AAPL",), from_ns=NOON_NS))
    left = desk.desk.take_early({"MSFT": TRADES})
    assert kinds(left) == ["GapMessage", "QuotesGap", "BarsGap"]
    assert left[0].from_.startswith("2026-11-21T16:00:03")  # type: ignore[union-attr]
