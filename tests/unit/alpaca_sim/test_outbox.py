"""Messages on their way to one reader."""

from __future__ import annotations

from main.alpaca_sim.encoding import JSON, MSGPACK
from main.alpaca_sim.messages import Timestamp, Trade
from main.alpaca_sim.outbox import Outbox, Published


def item(serial: int) -> Published:
    trade = Trade(symbol="AAPL", trade_id=serial, price=1.0, size=1, timestamp=Timestamp(0))
    return Published(trade, "trades", serial)


def test_what_waits_goes_out_together_up_to_the_bound_of_a_frame() -> None:
    box = Outbox(bound=100, max_frame=3)
    for serial in range(5):
        box.add(item(serial))
    assert [i.serial for i in box.take()] == [0, 1, 2]
    assert [i.serial for i in box.take()] == [3, 4]
    assert not box.overflowed


def test_past_its_bound_the_reader_is_too_slow() -> None:
    box = Outbox(bound=2, max_frame=3)
    for serial in range(3):
        box.add(item(serial))
    assert box.overflowed
    assert len(box) == 2
    assert box.clear() == 2


def test_a_message_is_encoded_once_per_encoding() -> None:
    one = item(1)
    assert one.encoded(JSON) is one.encoded(JSON)
    assert one.encoded(MSGPACK) is one.encoded(MSGPACK)
    assert one.encoded(JSON) != one.encoded(MSGPACK)
