"""A queue that whoever reads takes from."""

from __future__ import annotations

import asyncio
import threading

import pytest

from main.utils.redis.errors import IllegalUse
from main.utils.redis.inbox import Finished, Inbox
from main.utils.redis.outlet import Undecoded
from tests.conftest import wait_for


def test_what_was_put_in_before_the_end_is_taken_after_it() -> None:
    inbox = Inbox("all", 10)
    inbox.post("a")
    inbox.post("b")
    inbox.finish()
    assert [inbox.take(), inbox.take()] == ["a", "b"]
    with pytest.raises(Finished):
        inbox.take()


def test_nothing_in_time_is_said_so() -> None:
    with pytest.raises(TimeoutError):
        Inbox("all", 10).take(0.01)


def test_a_sleeping_reader_is_woken_by_a_message_and_by_the_end() -> None:
    inbox = Inbox("all", 10)
    taken: list[object] = []

    def read() -> None:
        taken.append(inbox.take())
        with pytest.raises(Finished):
            inbox.take()

    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: inbox._asleep)
    inbox.post("a")
    wait_for(lambda: taken == ["a"] and inbox._asleep)
    inbox.finish()
    reader.join(5)
    assert not reader.is_alive()


def test_a_second_reader_is_refused_while_the_first_waits() -> None:
    inbox = Inbox("all", 10)
    reader = threading.Thread(target=inbox.take)
    reader.start()
    wait_for(lambda: inbox._asleep)
    with pytest.raises(IllegalUse, match="one reader a stream"):
        inbox.take(0.01)
    inbox.post("a")
    reader.join(5)
    assert inbox.taken == 1


def test_an_exception_that_was_put_in_is_raised_in_its_place() -> None:
    inbox = Inbox("all", 10)
    inbox.post("a")
    inbox.post(KeyError("b"))
    inbox.post("c")
    assert inbox.take() == "a"
    with pytest.raises(KeyError):
        inbox.take()
    assert inbox.take() == "c"


def test_raw_payloads_are_decoded_where_they_are_taken_and_what_is_none_is_left_out() -> None:
    inbox = Inbox("all", 10)
    inbox.post(Undecoded("c", b"7", lambda _channel, _payload: None))
    inbox.post(Undecoded("c", b"8", lambda channel, payload: (channel, payload)))
    assert inbox.take() == ("c", b"8")
    assert inbox.undecodable == 1


def test_an_event_loop_goes_on_while_it_waits_and_is_woken_from_another_thread() -> None:
    async def main() -> None:
        inbox = Inbox("all", 10)
        waiting = asyncio.create_task(inbox.take_async())
        while not inbox._asleep:
            await asyncio.sleep(0)
        threading.Thread(target=inbox.post, args=("a",)).start()
        assert await asyncio.wait_for(waiting, 5) == "a"

    asyncio.run(main())


def test_a_cancelled_wait_leaves_the_inbox_usable() -> None:
    async def main() -> None:
        inbox = Inbox("all", 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(inbox.take_async(), 0.01)
        inbox.post("a")
        assert await inbox.take_async() == "a"

    asyncio.run(main())


def test_a_message_for_a_closed_event_loop_hurts_nobody() -> None:
    inbox = Inbox("all", 10)
    loop = asyncio.new_event_loop()
    waiting = loop.create_task(inbox.take_async())
    loop.run_until_complete(asyncio.sleep(0))
    alarm = inbox._alarm
    waiting.cancel()
    loop.run_until_complete(asyncio.gather(waiting, return_exceptions=True))
    loop.close()
    inbox._alarm, inbox._asleep = alarm, True
    inbox.post("a")
    assert inbox.take() == "a"
