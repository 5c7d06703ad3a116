"""A connection's shell around its session, with a fake socket in place of Alpaca."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from main.alpaca_broker.connection import ConversationBroken, Refusal
from main.alpaca_broker.connection_config import ConnectionConfig, StreamState
from main.alpaca_broker.frame_buffer import Break, Frame, FrameBuffer
from main.alpaca_broker.market_session import Phase
from main.alpaca_broker.order_buffer import OrderBuffer
from main.alpaca_broker.order_stream import OrderStream
from main.alpaca_broker.pending_change import PendingChange
from main.alpaca_broker.streams import MarketStream
from main.alpaca_broker.websocket import Inbox, Message
from tests.unit.alpaca_broker.wire import packed, trade

TRADES = frozenset({"trades"})
BOTH = frozenset({"trades", "quotes"})
CONFIG = ConnectionConfig(name="stocks", url="ws://nowhere", key="the-key", secret="the-secret")


class FakeSocket:
    """Alpaca's side by hand: `say` queues a frame, `sent` is what the broker wrote."""

    def __init__(self, shortcut: Callable[[list[Message]], bool] = lambda _: False) -> None:
        self.inbox = Inbox(shortcut)
        self.written: list[bytes] = []
        self.closed = False

    def say(self, *elements: dict[str, Any]) -> None:
        self.inbox.put([packed(*elements)])

    def send(self, message: bytes) -> None:
        if self.closed:
            raise ConnectionResetError
        self.written.append(message)

    def close(self) -> None:
        self.closed = True

    @property
    def sent(self) -> list[dict[str, Any]]:
        written, self.written = self.written, []
        return [msgspec.msgpack.decode(message) for message in written]


class Line:
    """A market stream, driven step by step where its thread would drive it."""

    def __init__(self) -> None:
        self.buffer = FrameBuffer()
        self.lost: list[tuple[str, int]] = []
        self.stream = MarketStream(
            CONFIG, "iex", self.buffer, on_lost=lambda s, code, _m: self.lost.append((s, code))
        )
        self.socket = FakeSocket()

    def connect(self, *, sign_in: bool = True) -> FakeSocket:
        self.socket = FakeSocket(self.stream._take_directly)
        self.stream._set_state("CONNECTING")
        self.stream._begin(self.socket)  # type: ignore[arg-type]
        self.hear({"T": "success", "msg": "connected"})
        if sign_in:
            self.hear({"T": "success", "msg": "authenticated"})
        return self.socket

    def hear(self, *elements: dict[str, Any]) -> None:
        self.socket.say(*elements)
        self.stream._next_look_s = float("inf")  # deadlines have their own tests
        while self.socket.inbox._waiting:
            self.stream._read_once(self.socket)  # type: ignore[arg-type]

    def acknowledge(self, *symbols: str, **channels: list[str]) -> None:
        self.hear({"T": "subscription", "trades": list(symbols), **channels})

    def reject(self, code: int) -> None:
        self.hear({"T": "error", "code": code, "msg": "no"})

    def lose(self) -> None:
        self.socket.closed = True
        self.stream._socket = None
        self.stream._set_state("DOWN", "reset")

    def breaks(self) -> list[Break]:
        return [item for item in self.buffer.take(0) if isinstance(item, Break)]


@pytest.fixture
def line() -> Line:
    made = Line()
    made.connect()
    assert [m["action"] for m in made.socket.sent] == ["auth"]
    return made


def follow(line: Line, *symbols: str, channels: frozenset[str] = TRADES) -> PendingChange:
    change = line.stream.change("subscribe", dict.fromkeys(symbols, channels))
    line.socket.sent  # noqa: B018  (read away)
    line.acknowledge(*symbols, quotes=list(symbols))
    return change


def test_an_acknowledged_change_settles_and_is_followed(line: Line) -> None:
    change = line.stream.change("subscribe", {"AAPL": TRADES, "MSFT": TRADES})
    assert line.socket.sent == [{"action": "subscribe", "trades": ["AAPL", "MSFT"]}]
    assert not change.wait(0)
    line.acknowledge("AAPL", "MSFT")
    assert change.wait(0)
    assert (change.done, change.rejected) == ({"AAPL", "MSFT"}, {})
    assert line.stream.followed == {"AAPL": TRADES, "MSFT": TRADES}


def test_a_symbol_that_the_acknowledgement_lacks_is_rejected(line: Line) -> None:
    change = line.stream.change("subscribe", {"AAPL": TRADES, "MSFT": TRADES})
    line.acknowledge("AAPL")
    assert change.rejected == {"MSFT": (0, "missing from the acknowledgement")}
    assert line.stream.followed == {"AAPL": TRADES}


def test_a_rejected_symbol_settles_with_its_code_and_is_not_followed(line: Line) -> None:
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    line.reject(405)
    assert change.rejected == {"AAPL": (405, "no")}
    assert line.stream.followed == {}


def test_data_goes_to_the_buffer_and_control_does_not(line: Line) -> None:
    line.hear(trade(i=1))
    line.hear(trade(i=2), trade(i=3))
    line.hear({"T": "subscription", "trades": []})
    assert [type(item) for item in line.buffer.take(0)] == [Frame, Frame]


def test_data_never_overtakes_a_control_message_that_waits(line: Line) -> None:
    change = line.stream.change("subscribe", {"AAPL": TRADES}, on_acknowledged=lambda _: asked())
    asked = lambda: line.buffer.put_note(Break(symbols=("AAPL",), from_ns=1, to_ns=2))  # noqa: E731
    line.socket.inbox.put([packed({"T": "subscription", "trades": ["AAPL"]})])
    line.socket.inbox.put([packed(trade(i=1))])
    assert line.buffer.is_empty, "the acknowledgement is not read yet"
    line.hear(trade(i=2))
    assert change.wait(0)
    assert [type(item) for item in line.buffer.take(0)] == [Break, Frame, Frame]


def test_a_hostile_frame_ends_nothing(line: Line) -> None:
    for frame in (b"\x91\x81\xa1T\x90", b"\x91" * 5_000, b"\x91\x81\xa2\xff\xff\x01"):
        line.socket.inbox.put([frame])
    line.hear(trade(i=1))
    assert len(line.buffer.take(0)) == 4


# -- before and after the sign-in


def test_a_change_before_the_sign_in_is_asked_once_and_after_it() -> None:
    line = Line()
    line.connect(sign_in=False)
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    line.hear({"T": "success", "msg": "authenticated"})
    assert [m["action"] for m in line.socket.sent] == ["auth", "subscribe"]
    line.acknowledge("AAPL")
    assert line.socket.sent == []
    assert change.wait(0)


def test_a_change_without_a_connection_is_asked_when_there_is_one() -> None:
    line = Line()
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    line.connect()
    line.acknowledge("AAPL")
    assert change.wait(0)


def test_after_a_reconnect_those_who_were_followed_come_before_newcomers(line: Line) -> None:
    """Else a newcomer would take a place of the plan from one who had it."""
    follow(line, "AAPL")
    line.lose()
    line.stream.change("subscribe", {"MSFT": TRADES})
    line.connect()
    assert line.socket.sent[1:] == [{"action": "subscribe", "trades": ["AAPL"]}]
    line.acknowledge("AAPL")
    assert line.socket.sent == [{"action": "subscribe", "trades": ["MSFT"]}]


def test_a_change_without_an_answer_is_asked_again_after_a_reconnect(line: Line) -> None:
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    line.lose()
    line.connect()
    assert line.socket.sent[1:] == [{"action": "subscribe", "trades": ["AAPL"]}]
    line.acknowledge("AAPL")
    assert change.wait(0)


def test_what_was_left_is_not_followed_again_after_a_reconnect(line: Line) -> None:
    follow(line, "AAPL", "MSFT")
    line.stream.change("unsubscribe", {"AAPL": TRADES})
    line.acknowledge("MSFT")
    line.lose()
    line.connect()
    assert line.socket.sent[1:] == [{"action": "subscribe", "trades": ["MSFT"]}]


def test_leaving_one_channel_keeps_the_others(line: Line) -> None:
    follow(line, "AAPL", channels=BOTH)
    line.stream.change("unsubscribe", {"AAPL": frozenset({"quotes"})})
    line.acknowledge("AAPL")
    assert line.stream.followed == {"AAPL": TRADES}


# -- a caller that gave up


def test_a_subscribe_that_nobody_waits_for_is_not_asked_again(line: Line) -> None:
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    line.stream.forget(change)
    line.lose()
    line.connect()
    assert [m["action"] for m in line.socket.sent] == ["auth"]


def test_a_late_acknowledgement_that_nobody_waits_for_is_undone(line: Line) -> None:
    """Else the ticker would hold a place of the plan for nobody, for ever."""
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    line.stream.forget(change)
    line.socket.sent  # noqa: B018
    line.acknowledge("AAPL")
    assert line.socket.sent == [{"action": "unsubscribe", "trades": ["AAPL"]}]
    line.acknowledge()
    assert line.stream.followed == {}
    line.lose()
    line.connect()
    assert [m["action"] for m in line.socket.sent] == ["auth"]


def test_a_late_acknowledgement_takes_nothing_from_who_asked_meanwhile(line: Line) -> None:
    given_up = line.stream.change("subscribe", {"AAPL": BOTH})
    line.stream.forget(given_up)
    second = line.stream.change("subscribe", {"AAPL": TRADES})
    line.acknowledge("AAPL", quotes=["AAPL"])
    line.acknowledge("AAPL", quotes=["AAPL"])
    line.acknowledge("AAPL")
    assert second.wait(0)
    assert line.stream.followed == {"AAPL": TRADES}
    asked = [(m["action"], set(m) - {"action"}) for m in line.socket.sent]
    assert ("unsubscribe", {"trades"}) not in asked
    assert not any(action == "unsubscribe" and "trades" in kinds for action, kinds in asked)


def test_a_late_acknowledgement_takes_nothing_that_was_followed_before(line: Line) -> None:
    follow(line, "AAPL")
    change = line.stream.change("subscribe", {"AAPL": BOTH})
    line.stream.forget(change)
    line.socket.sent  # noqa: B018
    line.acknowledge("AAPL", quotes=["AAPL"])
    assert line.socket.sent == [{"action": "unsubscribe", "quotes": ["AAPL"]}]
    line.acknowledge("AAPL")
    assert line.stream.followed == {"AAPL": TRADES}


def test_an_unsubscribe_is_asked_until_it_is_answered(line: Line) -> None:
    """Else a reconnect in its middle would bring the ticker back for nobody."""
    follow(line, "AAPL", "MSFT")
    change = line.stream.change("unsubscribe", {"AAPL": TRADES})
    line.stream.forget(change)
    line.lose()
    line.connect()
    line.acknowledge("AAPL", "MSFT")
    assert line.socket.sent[-1] == {"action": "unsubscribe", "trades": ["AAPL"]}
    line.acknowledge("MSFT")
    assert line.stream.followed == {"MSFT": TRADES}


def test_two_equal_changes_are_two(line: Line) -> None:
    first = line.stream.change("subscribe", {"AAPL": TRADES})
    second = line.stream.change("subscribe", {"AAPL": TRADES})
    line.stream.forget(second)
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    assert first.wait(0)


# -- gaps


def test_every_ticker_that_is_resumed_is_told_of_the_gap(line: Line) -> None:
    follow(line, "AAPL", "MSFT")
    assert line.breaks() == [], "nothing is missing of a new ticker"
    line.hear(trade(i=1))
    before_ns = line.stream.last_received_ns
    line.lose()
    line.connect()
    line.acknowledge("AAPL", "MSFT")
    (pause,) = line.breaks()
    assert (pause.symbols, pause.cause) == (("AAPL", "MSFT"), "upstream_disconnected")
    assert pause.from_ns == before_ns
    assert pause.to_ns > pause.from_ns


def test_a_gap_lies_after_the_old_connections_frames_and_before_the_news(line: Line) -> None:
    follow(line, "AAPL")
    line.hear(trade(i=1))
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    line.hear(trade(i=2))
    assert [type(item) for item in line.buffer.take(0)] == [Frame, Break, Frame]


def test_lost_again_before_it_was_resumed_the_gap_begins_with_the_first_loss(line: Line) -> None:
    """Else what is missing between the two would be lost in silence."""
    follow(line, "AAPL")
    line.hear(trade(i=1))
    first_loss_ns = line.stream.last_received_ns
    line.lose()
    line.connect()
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    (pause,) = line.breaks()
    assert pause.from_ns == first_loss_ns
    line.hear(trade(i=2))
    second_ns = line.stream.last_received_ns
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    (pause,) = line.breaks()
    assert pause.from_ns == second_ns, "a later loss begins where it began"


def test_a_ticker_that_cannot_be_resumed_is_told(line: Line) -> None:
    follow(line, "AAPL", "MSFT")
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    assert line.lost == [("MSFT", 0)]
    assert line.stream.followed == {"AAPL": TRADES}
    assert [pause.symbols for pause in line.breaks()] == [("AAPL",)]


def test_a_mute_ticker_that_is_not_followed_again_is_told(line: Line) -> None:
    """Else nobody would ask for it any more, and it would stay mute for ever."""
    follow(line, "AAPL", "MSFT")
    line.stream.resubscribe("AAPL", 1_000)
    line.acknowledge("MSFT")  # left
    line.acknowledge("MSFT")  # and not followed again
    assert line.lost == [("AAPL", 0)]
    assert line.breaks() == []
    follow(line, "AAPL")
    (pause,) = line.breaks()
    assert (pause.symbols, pause.from_ns) == (("AAPL",), 1_000), "once it is back"


def test_a_mute_ticker_that_is_followed_again_is_told_of_the_gap_alone(line: Line) -> None:
    follow(line, "AAPL", "MSFT")
    line.stream.resubscribe("AAPL", 1_000)
    line.acknowledge("MSFT")
    line.acknowledge("MSFT", "AAPL")
    assert line.lost == []
    assert [(p.symbols, p.from_ns) for p in line.breaks()] == [(("AAPL",), 1_000)]


# -- deadlines


def test_a_missing_acknowledgement_breaks_the_conversation_also_while_data_flow(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy stream `recv` never times out."""
    now_s = [1_000.0]
    monkeypatch.setattr("main.alpaca_broker.streams.time.monotonic", lambda: now_s[0])
    line.stream.change("subscribe", {"AAPL": TRADES})
    line.stream._next_look_s = 0.0
    line.socket.say(trade(i=1))
    line.stream._read_once(line.socket)  # type: ignore[arg-type]
    now_s[0] += CONFIG.ack_timeout_s + 1
    line.socket.say(trade(i=2))
    with pytest.raises(ConversationBroken, match="acknowledgement"):
        line.stream._read_once(line.socket)  # type: ignore[arg-type]


def test_a_sign_in_without_an_answer_breaks_the_conversation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [1_000.0]
    monkeypatch.setattr("main.alpaca_broker.connection.time.monotonic", lambda: now_s[0])
    line = Line()
    line.connect(sign_in=False)
    now_s[0] += CONFIG.sign_in_timeout_s + 1
    line.stream._next_look_s = 0.0
    with pytest.raises(ConversationBroken, match="sign-in"):
        line.stream._read_once(line.socket)  # type: ignore[arg-type]


def test_a_taken_slot_is_asked_for_again_on_the_same_socket(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [1_000.0]
    monkeypatch.setattr("main.alpaca_broker.connection.time.monotonic", lambda: now_s[0])
    line = Line()
    line.connect(sign_in=False)
    line.hear({"T": "error", "code": 406, "msg": "connection limit exceeded"})
    assert line.stream.state.reason == "406 connection limit exceeded"
    assert [m["action"] for m in line.socket.sent] == ["auth"]
    now_s[0] += 5.0
    line.stream._next_look_s = 0.0
    line.stream._read_once(line.socket)  # type: ignore[arg-type]
    assert [m["action"] for m in line.socket.sent] == ["auth"]
    line.hear({"T": "success", "msg": "authenticated"})
    assert line.stream.state.state == "LIVE"
    assert line.stream.counters["slot_taken"] == 1


# -- refused and closing


def test_a_refusal_carries_its_code(line: Line) -> None:
    with pytest.raises(Refusal) as refusal:
        line.reject(409)
    assert (refusal.value.code, str(refusal.value)) == (409, "409 no")
    assert line.stream._session().phase is Phase.REFUSED


def test_a_refused_stream_answers_who_waits_and_who_will_ask(line: Line) -> None:
    waiting = line.stream.change("subscribe", {"BTC/USD": TRADES})
    line.stream._refused(409, "409 insufficient subscription")
    later = line.stream.change("subscribe", {"ETH/USD": TRADES})
    why = (409, "409 insufficient subscription")
    assert (waiting.rejected, later.rejected) == ({"BTC/USD": why}, {"ETH/USD": why})


def test_a_closing_stream_lets_nobody_wait(line: Line) -> None:
    """A stop in the middle of a round must not take the round's whole deadline."""
    waiting = line.stream.change("subscribe", {"AAPL": TRADES})
    line.stream.begin_close()
    assert waiting.wait(0)
    assert set(waiting.rejected) == {"AAPL"}
    assert line.stream.change("unsubscribe", {"MSFT": TRADES}).wait(0)


def test_a_broken_send_is_left_to_the_reader(line: Line) -> None:
    line.socket.closed = True
    change = line.stream.change("subscribe", {"AAPL": TRADES})
    assert not change.wait(0)
    line.connect()
    line.acknowledge("AAPL")
    assert change.wait(0)


def test_the_keys_never_show() -> None:
    assert "the-" not in repr(CONFIG)
    assert "the-" not in repr(Line().stream._session())


# -- orders


class OrderLine:
    def __init__(self) -> None:
        self.buffer, self.states = OrderBuffer(), list[StreamState]()
        self.stream = OrderStream(CONFIG, self.buffer, self.states.append)
        self.socket = FakeSocket()
        self.stream._begin(self.socket)  # type: ignore[arg-type]

    def hear(self, message: object) -> None:
        self.socket.inbox.put([msgspec.json.encode(message)])
        self.stream._next_look_s = float("inf")
        self.stream._read_once(self.socket)  # type: ignore[arg-type]


def test_the_order_stream_speaks_first_listens_and_keeps_every_update() -> None:
    line = OrderLine()
    assert [msgspec.json.decode(m)["action"] for m in line.socket.written] == ["auth"]
    line.hear({"stream": "authorization", "data": {"status": "authorized"}})
    line.hear({"stream": "listening", "data": {"streams": ["trade_updates"]}})
    assert line.states[-1].state == "LIVE"
    line.hear({"stream": "trade_updates", "data": {"event": "new", "order": {"id": "1"}}})
    line.hear({"stream": "trade_updates", "data": None})
    line.hear("garbage")
    line.hear({"stream": "trade_updates", "data": {"event": "fill", "order": {"id": "1"}}})
    assert [u["event"] for u in line.buffer.take(0)] == ["new", "fill"]  # type: ignore[index]
    assert line.stream.counters["malformed"] == 1
    assert line.stream.last_event_ns > 0


def test_a_ticker_that_lost_its_place_tells_the_time_between_once_it_is_followed_again(
    line: Line,
) -> None:
    follow(line, "AAPL", "MSFT")
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    assert line.lost == [("MSFT", 0)]
    assert [pause.symbols for pause in line.breaks()] == [("AAPL",)]
    went_down_ns = line.stream._went_down_ns
    follow(line, "MSFT")
    assert [(pause.symbols, pause.from_ns) for pause in line.breaks()] == [
        (("MSFT",), went_down_ns)
    ]
    follow(line, "MSFT", channels=BOTH)
    assert line.breaks() == [], "told once"


def test_a_ticker_that_comes_back_with_less_than_it_had_is_still_lost(line: Line) -> None:
    follow(line, "AAPL", "MSFT")
    line.lose()
    line.stream.change("subscribe", {"MSFT": frozenset({"quotes"})})
    line.connect()
    line.acknowledge("AAPL")  # of what was followed: without MSFT
    went_down_ns = line.stream._went_down_ns
    line.breaks()
    line.acknowledge("AAPL", quotes=["MSFT"])
    assert (line.breaks(), line.stream.lost) == ([], {"MSFT"})
    line.stream.change("subscribe", {"MSFT": TRADES})
    line.acknowledge("AAPL", "MSFT", quotes=["MSFT"])
    assert [(p.symbols, p.from_ns) for p in line.breaks()] == [(("MSFT",), went_down_ns)]
    assert line.stream.lost == frozenset()


def test_what_a_lost_ticker_lacks_is_told_to_who_stays_not_to_who_gave_up(line: Line) -> None:
    """Else a late acknowledgement, undone at once, would take the gap with it."""
    follow(line, "AAPL", "MSFT")
    line.lose()
    line.connect()
    line.acknowledge("AAPL")
    assert line.stream.lost == {"MSFT"}
    line.breaks()
    told: list[list[str]] = []
    given_up = line.stream.change("subscribe", {"MSFT": TRADES}, on_acknowledged=told.append)
    line.stream.forget(given_up)
    line.acknowledge("AAPL", "MSFT")
    assert (line.breaks(), told, line.stream.lost) == ([], [], {"MSFT"})
    line.acknowledge("AAPL")  # of the unsubscription
    line.stream.change("subscribe", {"MSFT": TRADES}, on_acknowledged=told.append)
    line.acknowledge("AAPL", "MSFT")
    (pause,) = line.breaks()
    assert (pause.symbols, pause.from_ns) == (("MSFT",), line.stream._went_down_ns)
    assert (told, line.stream.lost) == ([["MSFT"]], frozenset())


def test_a_ticker_that_nobody_wanted_meanwhile_begins_anew(line: Line) -> None:
    """Weeks later its first message must not be a gap since then."""
    follow(line, "AAPL", "MSFT")
    line.lose()
    line.connect()
    line.acknowledge("AAPL")  # and MSFT is missing
    line.breaks()
    line.stream.forget_losses({"AAPL"})
    follow(line, "MSFT")
    assert line.breaks() == []
