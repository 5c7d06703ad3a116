"""What the bridge remembers, as the fields of a hash, and whose it is to write."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.events_bridge.memory import SymbolMemory
from main.events_bridge.ownership import _is_gone, this_process
from main.utils.redis.messages import OrderMessage
from tests.unit.order_events.test_maker import fill, message, order_data


def numbered(messages: list[OrderMessage]) -> list[OrderMessage]:
    return [
        msgspec.structs.replace(each, epoch=7, seq=number)
        for number, each in enumerate(messages, start=1)
    ]


def journal(draw: st.DrawFn) -> list[OrderMessage]:
    messages: list[OrderMessage] = []
    for number in range(draw(st.integers(1, 8))):
        order_id, side = f"o-{number}", draw(st.sampled_from(["buy", "sell"]))
        messages.append(message("new", order_data(order_id, side=side)))
        if draw(st.booleans()):
            messages.append(fill(4, 4, order_id, side=side))
        end = fill(10, 10 - 4 * (len(messages) % 2), order_id, side=side)
        canceled = message("canceled", order_data(order_id, side=side))
        messages.append(draw(st.sampled_from([end, canceled])))
    return numbered(messages)


@settings(max_examples=50)
@given(st.composite(journal)(), st.randoms(use_true_random=False))
def test_killed_anywhere_it_goes_on_as_if_it_had_not_been(
    messages: list[OrderMessage], chance: random.Random
) -> None:
    """It is killed before or after any write; what it told and did not remember it tells again,
    under the same ids, and nothing else is told."""
    whole = SymbolMemory("AAPL", {})
    expected = [event.event_id for each in messages for event in whole.take(each)]
    hash_fields, told = dict[str, bytes](), list[str]()
    memory, index = SymbolMemory("AAPL", {}), 0
    while index < len(messages):
        told += [event.event_id for event in memory.take(messages[index])]
        index += 1
        if chance.random() < 0.5:
            fields, gone = memory.unsaved()
            hash_fields |= fields
            for name in gone:
                del hash_fields[name]
        if chance.random() < 0.3:
            memory = SymbolMemory("AAPL", hash_fields)
            index = next((n for n, m in enumerate(messages) if m.id == memory.place), -1) + 1
    assert list(dict.fromkeys(told)) == expected


def test_only_what_changed_is_written() -> None:
    """And nothing at all when nothing did."""
    memory = SymbolMemory("AAPL", {})
    first, second = numbered([fill(10, 10), message("new", order_data("o-2"))])
    memory.take(first)
    assert set(memory.unsaved()[0]) == {"place", "o:o-1", "h:bot"}
    memory.take(second)
    assert set(memory.unsaved()[0]) == {"place", "o:o-2"}
    assert memory.unsaved() == ({}, [])
    assert set(memory.everything()) == {"place", "o:o-1", "o:o-2", "h:bot"}


def test_the_oldest_ended_orders_are_forgotten_and_open_ones_never() -> None:
    """Bounded, however many orders a symbol sees."""
    memory = SymbolMemory("AAPL", {}, keep_ended=5)
    memory.take(message("new", order_data("open")))
    for number in range(12):
        memory.take(message("canceled", order_data(f"o-{number}", status="canceled")))
    fields, gone = memory.unsaved()
    assert gone == [f"o:o-{number}" for number in range(7)]
    assert not set(gone) & set(fields)
    assert "o:open" in fields


def test_a_memory_that_cannot_be_read_is_refused() -> None:
    """Better to stop than to tell every position wrongly."""
    with pytest.raises(ValueError, match="cannot be read"):
        SymbolMemory("AAPL", {"h:bot": b'{"qty": []}'})


def with_part(process: str, place: int, text: str) -> str:
    parts = process.split(":")
    return ":".join([*parts[:place], text, *parts[place + 1 :]])


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system does not tell")
@pytest.mark.parametrize(
    ("owner", "gone"),
    [
        (f"{this_process(os.getppid())}:token", False),
        (f"{this_process()}:another bridge of this very process", False),
        (f"{this_process(2**22 + 1)}:token", True),
        (f"{with_part(this_process(), 2, '1')}:the number's earlier owner", True),
        (f"{with_part(this_process(2**22 + 1), 3, 'another container')}:token", False),
        (f"{with_part(this_process(2**22 + 1), 3, '')}:token", False),
        (f"{with_part(this_process(2**22 + 1), 0, 'another-machine')}:token", False),
        (f"{socket.gethostname()}:{2**22 + 1}:an older version's", False),
        ("junk", False),
    ],
    ids=range(9),  # not by the numbers of processes: every worker has to find the same tests
)
def test_only_a_dead_process_of_this_machine_is_not_waited_for(owner: str, gone: bool) -> None:
    """Of another machine's nothing is known but its lease."""
    assert _is_gone(owner) is gone
